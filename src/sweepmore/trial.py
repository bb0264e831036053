"""What an application sees of a sweep: ``current_trial()``. No Optuna type in it.

trial = current_trial()                     # None outside a sweep
if trial is not None and trial.report(step, value):
    return value                            # the study asks this trial to stop
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepmore.values import reported
from sweepmore.wording import last_parts, short


@dataclass(frozen=True)
class SweepTrial:
    """The trial that the calling code runs for.

    ``root`` is the number of the trial's first attempt, and ``attempt`` counts the retries after
    a death or an interruption. ``repeat`` holds the repeated settings of this run (``{}`` without
    repeats). ``run_id`` is permanently unique and is a valid W&B id. ``earlier`` lists the folders
    of this run's earlier attempts, the latest first, where they differ from its own: an
    application that writes checkpoints finds them there. ``params`` are the values of the settings
    that the study searches.
    """

    study: str
    root: int
    attempt: int
    run_id: str
    repeat: Mapping[str, Any] = field(default_factory=dict)
    earlier: tuple[Path, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    _report: Callable[[int, float], bool] = lambda step, value: False
    _set: Callable[[str, Any], None] = lambda key, value: None
    _attach: Callable[[Path], None] = lambda path: None
    _name: Callable[[Sequence[str]], None] = lambda names: None

    @property
    def title(self) -> str:
        """What tells this run from the study's others: ``STUDY-52 emb=10 hidden=200 · s1``."""
        repeat = [f"s{v}" if k == "seed" else f"{k}={short(v)}" for k, v in self.repeat.items()]
        settings = [f"{name}={short(v)}" for name, v in last_parts(self.params).items()]
        return " · ".join([" ".join([f"{self.study}-{self.root}", *settings]), *repeat])

    def report(self, step: int, value: Any) -> bool:
        """Report the objective's value at ``step``; True asks the run to stop and return.

        The value may be any real number, such as a tensor of one element (see ``values``). A
        trial that was asked to stop counts as pruned, whatever the run returns. True is also the
        answer while the worker is being stopped. A multi-objective trial is never pruned.
        Raises NoObjective where ``value`` is not a real number.
        """
        return self._report(step, reported(value))

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value with the trial; the dashboard shows it."""
        self._set(key, value)

    def attach(self, path: Path) -> None:
        """Store a file with the trial; the dashboard shows an image."""
        self._attach(path)

    def name(self, *objectives: str) -> None:
        """Name the study's objectives, in order; the dashboard shows the names."""
        self._name(objectives)


_current: SweepTrial | None = None


def current_trial() -> SweepTrial | None:
    """The trial that this process is running now, or None outside a sweep."""
    return _current


@contextmanager
def entered(trial: SweepTrial) -> Iterator[None]:
    """Make ``trial`` the current one inside the block; only a worker calls this."""
    global _current
    before, _current = _current, trial
    try:
        yield
    finally:
        _current = before
