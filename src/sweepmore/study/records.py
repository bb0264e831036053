"""A study as a program reads it: frozen records, and the same as JSON.

``sweepmore.load_study`` returns one, and ``sweepmore show --json`` prints it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from sweepmore.errors import ConfigError
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import StudyAttributes, Winner
from sweepmore.study.noise import known_noise
from sweepmore.study.parts import application_of, confirmation_of
from sweepmore.study.view import StudyView, view

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class TrialRecord:
    """A trial, as its last attempt left it.

    ``number`` is that of its first attempt, and ``state`` Optuna's: COMPLETE, PRUNED, FAIL, RUNNING
    or WAITING. ``reason`` says why it failed. ``values`` are empty unless it is complete; a
    diverged trial's are infinite. ``repeats`` are the first objective's values where it ran several
    times (None: not finite), and ``std`` is their standard deviation. ``seconds`` are all that it
    took. ``result`` holds what the application stored. ``placed`` says which ``gpus`` its worker
    had, how many ``workers`` shared them, and its ``threads``; None where nobody gave it a share.
    """

    number: int
    state: str
    values: tuple[float, ...]
    params: Mapping[str, Any]
    reason: str | None
    repeats: tuple[float | None, ...]
    std: float | None
    seconds: float | None
    attempts: int
    folder: Path | None
    result: Mapping[str, Any]
    placed: Mapping[str, Any] | None

    @property
    def value(self) -> float | None:
        """The value of the first objective; None where there is none."""
        return self.values[0] if self.values else None


@dataclass(frozen=True)
class StudyRecord:
    """A study at one moment: its trials in order of their number, and its confirmed winner.

    ``directions`` and ``objectives`` have an entry for each value of a trial. ``n_trials`` is how
    many were asked for, None for a study of an older version. ``noise`` is the standard deviation
    of one run, where it is known. ``test`` is the result of a look at test, which the application
    has stored with the confirmation.
    """

    name: str
    directions: tuple[str, ...]
    objectives: tuple[str, ...]
    n_trials: int | None
    trials: tuple[TrialRecord, ...]
    ranking: tuple[int, ...]  # numbers of the complete trials with finite values, best first
    noise: float | None
    winner: Winner | None
    test: Mapping[str, Any] | None

    @property
    def best(self) -> TrialRecord | None:
        """The best complete trial by the first objective; None before any."""
        return self.trial(self.ranking[0]) if self.ranking else None

    def trial(self, number: int) -> TrialRecord:
        """Return the trial of this number. Raises ConfigError where there is none."""
        found = next((trial for trial in self.trials if trial.number == number), None)
        if found is None:
            numbers = [trial.number for trial in self.trials]
            cure = f"Its trials: {numbers[0]} to {numbers[-1]}." if numbers else "It has none."
            if numbers and numbers[0] < number < numbers[-1]:
                cure += f" {number} was a later attempt of one of them."
            raise ConfigError(f"{self.name} has no trial {number}.", value=number, cure=cure)
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the record as strict JSON holds it; a value that is not finite is null."""
        plain: dict[str, Any] = _plain(asdict(self))
        plain["winner"] = None if self.winner is None else _plain(self.winner.written())
        return plain

    def to_pandas(self) -> pandas.DataFrame:
        """Return a row for each trial, with its parameters in columns ``params.NAME``.

        Raises ConfigError where pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            cure = "pip install pandas"
            raise ConfigError("pandas is not installed.", value=None, cure=cure) from error
        several = len(self.directions) > 1
        rows = []
        for trial in self.trials:
            values = dict(zip(self.objectives, trial.values)) if several else {"value": trial.value}
            params = {f"params.{name}": value for name, value in trial.params.items()}
            told = {"state": trial.state, "reason": trial.reason, "seconds": trial.seconds}
            rows.append({"number": trial.number, **values, **params, **told})
        return pandas.DataFrame(rows)


def unnamed(number: int) -> list[str]:
    """Return a name for each of so many objectives of which nobody has said what they are."""
    return ["objective"] if number == 1 else [f"objective {k}" for k in range(number)]


def record_of(study: optuna.Study) -> StudyRecord:
    """Read a study that sweepmore ran, with its confirmation, from its storage."""
    seen, attrs = view(study), StudyAttributes.of(study)
    confirmed = confirmation_of(study)
    outcome = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
    application, noise = application_of(study), known_noise(study)
    names: Sequence[str] = () if application is None else application.objectives
    if len(names) != len(seen.directions):
        names = study.metric_names or unnamed(len(seen.directions))
    return StudyRecord(
        name=study.study_name,
        directions=seen.directions,
        objectives=tuple(names),
        n_trials=None if attrs.budget is None else attrs.budget.n_trials,
        trials=trials_of(seen),
        ranking=tuple(attempt.root for attempt in seen.ranked),
        noise=None if noise is None else noise.deviation,
        winner=outcome.winner,
        test=outcome.test,
    )


def trials_of(seen: StudyView) -> tuple[TrialRecord, ...]:
    """Return a record for each trial: of its last attempt, or of the one that counts."""
    by_root: dict[int, list[Attempt]] = {}
    for attempt in seen.attempts:
        by_root.setdefault(attempt.root, []).append(attempt)
    return tuple(_trial(attempts, seen) for _, attempts in sorted(by_root.items()))


def _trial(attempts: Sequence[Attempt], seen: StudyView) -> TrialRecord:
    last = next((attempt for attempt in attempts if attempt.counts), attempts[-1])
    return TrialRecord(
        number=last.root,
        state=last.state.name,
        values=last.values or (),
        params=dict(last.params or last.fixed),
        reason=last.reason,
        repeats=last.attrs.repeats or (),
        std=last.attrs.std,
        seconds=seen.seconds_of(last),
        attempts=len(attempts),
        folder=last.attrs.folder,
        result=last.attrs.result or {},
        placed=last.attrs.placed,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
