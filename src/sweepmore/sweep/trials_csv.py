"""``trials.csv``: a study's attempts as a table for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweepmore.compose.overrides import override_text
from sweepmore.errors import writable
from sweepmore.runs.files import write_atomic
from sweepmore.study.view import StudyView


def write_csv(seen: StudyView, path: Path, as_text: Sequence[str] = ()) -> None:
    """All attempts as a table for other programs, one row each; what the application kept with a
    trial as ``result.…`` (of its last repeat). Parameters stand as Hydra writes them, so that null
    is no empty text and 1 no "1"; Optuna holds those of ``as_text`` so already."""
    kept = list(dict.fromkeys(key for a in seen.attempts for key in a.attrs.result or {}))
    names = list(dict.fromkeys(name for attempt in seen.attempts for name in attempt.params))
    values = [f"value_{k}" for k in range(len(seen.directions))]
    if len(values) == 1:
        values = ["value"]
    buffer = io.StringIO()
    rows = csv.writer(buffer)
    head = ["trial", "attempt", "state", "status", *values, "std", "seconds", *names]
    rows.writerow([*head, *(f"result.{key}" for key in kept)])
    for attempt in seen.attempts:
        told = list(attempt.values or [None] * len(values))
        rows.writerow(
            [attempt.root, attempt.attempt, attempt.state.name, attempt.status or attempt.reason]
            + told
            + [attempt.attrs.std, attempt.seconds]
            + [_written(attempt.params, name, name in as_text) for name in names]
            + [(attempt.attrs.result or {}).get(key) for key in kept]
        )
    write_atomic(path, writable(buffer.getvalue()))


def _written(params: Mapping[str, Any], name: str, is_text: bool) -> Any:
    """None where the trial had no such parameter."""
    value = params.get(name)
    return value if name not in params or is_text else override_text(value)
