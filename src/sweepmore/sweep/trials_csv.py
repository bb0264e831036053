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


def write_csv(snapshot: StudyView, path: Path, as_text: Sequence[str] = ()) -> None:
    """Write all attempts as a table for other programs, one row for each.

    Durations are in seconds. What the application stored with a trial appears as ``result.…``; of
    several repeats, the last one's. Parameters appear as Hydra writes them, which keeps null apart
    from an empty text, and 1 from "1". Optuna already holds the parameters in ``as_text`` that way.
    """
    # Collect the columns of all attempts: not every trial has every parameter or result.
    kept = list(dict.fromkeys(key for a in snapshot.attempts for key in a.attrs.result or {}))
    names = list(dict.fromkeys(name for attempt in snapshot.attempts for name in attempt.params))
    value_columns = [f"value_{k}" for k in range(len(snapshot.directions))]
    if len(value_columns) == 1:
        value_columns = ["value"]
    buffer = io.StringIO()
    rows = csv.writer(buffer)
    head = ["trial", "attempt", "state", "status", *value_columns, "std", "seconds", *names]
    rows.writerow([*head, *(f"result.{key}" for key in kept)])
    # Write a row for each attempt, failed ones too, which have no values.
    for attempt in snapshot.attempts:
        values = list(attempt.values or [None] * len(value_columns))
        rows.writerow(
            [attempt.root, attempt.attempt, attempt.state.name, attempt.status or attempt.reason]
            + values
            + [attempt.attrs.std, attempt.seconds]
            + [_written(attempt.params, name, name in as_text) for name in names]
            + [(attempt.attrs.result or {}).get(key) for key in kept]
        )
    write_atomic(path, writable(buffer.getvalue()))


def _written(params: Mapping[str, Any], name: str, is_text: bool) -> Any:
    """Return a parameter as Hydra writes it; None when the trial had no such parameter."""
    value = params.get(name)
    return value if name not in params or is_text else override_text(value)
