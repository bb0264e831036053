"""What sweepmore keeps with a study and with its trials: the schema of their attributes.

Optuna keeps attributes as JSON under keys. Each kind is a frozen record here, whose fields are the
keys; nothing else spells them. A record is written without the fields that are None, so one that
tells a part only (how a trial ended) leaves the rest as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

# How a trial ended, beside Optuna's state.
Reason = Literal["exception", "died", "handed_back", "void"]


@dataclass(frozen=True)
class TrialAttributes:
    """A trial's. ``slot`` is its place in the budget, and None where sweepmore did not plan it."""

    slot: int | None = None
    root: int | None = None  # number of its first attempt; None: this is the first
    attempt: int | None = None  # how many came before it
    deaths: int | None = None  # how many of these ended with their worker
    retry_of: int | None = None  # number of the attempt before
    owner: Mapping[str, Any] | None = None  # the worker, see process.identity
    lease: float | None = None  # when it claimed the trial or last said that it lives, Unix time
    folder: Path | None = None
    subdir: str | None = None  # hydra.sweep.subdir, where trials lie in hydra.sweep.dir
    code: str | None = None  # hash of the application's files
    status: str | None = None  # ok, diverged, pruned or error
    reason: Reason | None = None
    error: str | None = None
    traceback: str | None = None
    no_objective: bool | None = None  # the task gave something else than a number
    repeats: tuple[float | None, ...] | None = None  # the first objective of each; None: not finite
    std: float | None = None  # standard deviation of these
    result: Mapping[str, Any] | None = None  # what the application keeps with a trial

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Self:
        """Of what Optuna keeps; keys that other programs and the application set are left out."""
        values = {field.name: kept.get(field.name) for field in dataclasses.fields(cls)}
        folder, repeats = values["folder"], values["repeats"]
        values["folder"] = None if folder is None else Path(folder)
        values["repeats"] = None if repeats is None else tuple(repeats)
        return cls(**values)

    def written(self) -> dict[str, Any]:
        """What Optuna is to keep."""
        return _json(self)


def _json(record: Any) -> dict[str, Any]:
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {key: _plain(value) for key, value in fields.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
