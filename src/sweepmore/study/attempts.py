"""One trial of Optuna's with our bookkeeping: an attempt at a slot of a study's budget.

A slot is trial k of ``n_trials``. The number of its first attempt is the root, which names the
trial; a retry after a death or an interruption has the same slot and root, and counts as the next
attempt. Where two trials have the same slot and attempt (two parents planned at once), the lower
number counts and the other is void.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweepmore.study.attributes import Reason, TrialAttributes
from sweepmore.wording import short


@dataclass(frozen=True)
class Attempt:
    """One trial of Optuna's, with our bookkeeping.

    ``started`` is in the local time of its host; ``seconds`` is its duration, None while it runs.
    """

    number: int
    slot: int
    root: int
    attempt: int
    deaths: int
    state: TrialState
    reason: Reason | None
    status: str | None
    values: tuple[float, ...] | None
    params: Mapping[str, Any]
    owner: Mapping[str, Any] | None
    started: datetime | None
    seconds: float | None
    attrs: TrialAttributes = field(repr=False)
    fixed: Mapping[str, Any] = field(
        default_factory=dict, repr=False
    )  # the values it was planned with

    @property
    def counts(self) -> bool:
        """Whether it uses up its slot: complete, pruned, or failed by itself.

        Who ran out of memory beside others has not failed yet: it is tried again alone.
        """
        if self.state is TrialState.FAIL:
            alone = bool(self.attrs.alone)
            return self.reason == "exception" or (self.reason == "out_of_memory" and alone)
        return self.state in (TrialState.COMPLETE, TrialState.PRUNED)

    @property
    def open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (TrialState.WAITING, TrialState.RUNNING)

    @property
    def last_sign(self) -> float:
        """When its worker claimed it or last renewed its lease (Unix time); now, if nobody did.

        Optuna's start is in the local time of its host, which may be in another zone: it counts
        only where there is no lease, as with another program's trial.
        """
        started = time.time() if self.started is None else self.started.timestamp()
        return started if self.attrs.lease is None else self.attrs.lease

    @property
    def infeasible(self) -> bool:
        """Whether it is complete without a finite value: it diverged."""
        return self.state is TrialState.COMPLETE and not all(map(math.isfinite, self.values or ()))


def attempt_of(trial: FrozenTrial) -> Attempt | None:
    """The attempt that a trial is; None for one that another program planned."""
    attrs = TrialAttributes.read(trial.user_attrs)
    if attrs.slot is None:
        return None
    seconds = trial.duration.total_seconds() if trial.duration is not None else None
    return Attempt(
        number=trial.number,
        slot=attrs.slot,
        root=trial.number if attrs.root is None else attrs.root,
        attempt=attrs.attempt or 0,
        deaths=attrs.deaths or 0,
        state=trial.state,
        reason=attrs.reason,
        status=attrs.status,
        values=None if trial.values is None else tuple(trial.values),
        params=trial.params,
        owner=attrs.owner,
        started=trial.datetime_start,
        seconds=seconds,
        attrs=attrs,
        fixed=trial.system_attrs.get("fixed_params", {}),
    )


def key_of(params: Mapping[str, Any]) -> str:
    """A key that is equal for equal parameters; 1, 1.0 and True are different ones."""
    return repr(sorted(params.items()))


def run_of(attempt: Attempt) -> Path:
    """The folder of a trial's run; of its first run where it is repeated."""
    folder = attempt.attrs.folder
    assert folder is not None  # a trial that began has one
    own = (folder / "result.json").exists() or not (folder / "0").is_dir()
    return folder if own else folder / "0"


def runs_each(repeats: Mapping[str, Sequence[Any]] | None) -> int:
    """How many runs a trial has: one for each combination of the repeated settings."""
    return math.prod(len(values) for values in (repeats or {}).values())


def words(params: Mapping[str, Any]) -> str:
    """Parameters as ``name=value`` words, floats with three significant digits."""
    named = " ".join(f"{name}={short(value)}" for name, value in params.items())
    return named or "its only configuration"
