"""What a worker writes to the study about the trial that it runs.

Signals wait while something is written, so that no write is left half done.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from sweepmore.compose.overrides import fixed_values
from sweepmore.errors import described
from sweepmore.process.signals import unbroken
from sweepmore.statistics.directions import sign_of
from sweepmore.storage.optuna_internals import RunningTrial, as_running
from sweepmore.storage.patience import deleted
from sweepmore.study import slots
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import Reason, StudyAttributes, TrialAttributes
from sweepmore.study.view import directions_of, view
from sweepmore.sweep.context import StudyContext

# MySQL's TEXT, the smallest column that Optuna keeps an attribute in, holds 65,535 bytes.
LONGEST_ATTRIBUTE = 16_000


@dataclass(frozen=True)
class ClaimedTrial:
    """A claimed attempt, and everything that is written about it until it has ended.

    ``complete``, ``hand_back`` and ``tell`` end the trial, once; the other methods may be called
    while the task runs. They raise UpdateFinishedTrialError when somebody else has ended the trial
    in the meantime, and DatabaseAway or StudyGone when there is nothing left to write to.
    """

    attempt: Attempt
    study: optuna.Study
    uid: str  # the study's
    artifacts: Path  # the folder of what tasks attach
    trial: RunningTrial

    @classmethod
    def of(
        cls, attempt: Attempt, study: optuna.Study, uid: str, shared: StudyContext
    ) -> ClaimedTrial:
        """Wrap a claimed attempt as a trial of Optuna's, which knows what the command fixes."""
        trial = as_running(study, attempt.number, fixed_values(shared.space.fixed))
        return cls(attempt, study, uid, shared.artifacts, trial)

    @property
    def is_taken(self) -> bool:
        """Whether somebody else has ended the trial."""
        trials = self.study.get_trials(deepcopy=False)
        return trials[self.attempt.number].state.is_finished()

    def write(self, attributes: TrialAttributes) -> None:
        """Write those attributes that have a value, and leave the others as they are."""
        self.keep(attributes.written())

    def set(self, key: str, value: Any) -> None:
        """Write one attribute."""
        self.keep({key: value})

    def keep(self, attributes: Mapping[str, Any]) -> None:
        """Write attributes, all or none; of a text, the last ``LONGEST_ATTRIBUTE`` characters."""
        kept = {key: _end_of(value) for key, value in attributes.items()}
        with unbroken():
            self.trial.set_user_attrs(kept)

    def keep_repeats(self, values_of_runs: Sequence[Sequence[float]]) -> None:
        """Write each repeat's value of the first objective, and their standard deviation.

        A value that is not finite is written as null, because JSON has no infinity. The deviation
        needs at least two values, all of them finite.
        """
        firsts = [values[0] for values in values_of_runs]
        finite = tuple(value if math.isfinite(value) else None for value in firsts)
        self.write(TrialAttributes(repeats=finite))
        if len(firsts) > 1 and None not in finite:
            self.write(TrialAttributes(std=statistics.stdev(firsts)))

    def keep_error(self, error: BaseException, folder: Path) -> None:
        """Write an error with the trial, and its traceback as ``error.txt`` in the folder."""
        text, whole = described(error)
        self.write(TrialAttributes(error=text, traceback=whole))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(whole, encoding="utf-8")

    def attach(self, path: Path) -> None:
        """Store a copy of a file with the trial, for the dashboard."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        store = optuna.artifacts.FileSystemArtifactStore(base_path=str(self.artifacts))
        with unbroken():
            optuna.artifacts.upload_artifact(
                artifact_store=store, file_path=str(path), study_or_trial=self.trial
            )

    def complete(self, values: Sequence[float], told: Mapping[str, Any]) -> None:
        """End the trial with its values, one for each objective, and with attributes.

        When one of them is not finite, the trial has diverged, and that value becomes infinitely
        bad: Optuna would reject NaN, and the sampler has to learn that the point is no good.
        """
        diverged = not all(map(math.isfinite, values))
        status = TrialAttributes(status="diverged" if diverged else "ok")
        self.keep({**told, **status.written()})
        if diverged:
            values = [
                value if math.isfinite(value) else sign_of(direction) * math.inf
                for value, direction in zip(values, directions_of(self.study))
            ]
        self.tell(TrialState.COMPLETE, values)

    def hand_back(self, reason: Reason = "handed_back") -> None:
        """End this attempt, and let another worker begin the trial again.

        After ``out_of_memory`` the next attempt has its GPU for itself. Raises StudyGone when
        another study has taken this one's number in the database.
        """
        if StudyAttributes.of(self.study).uid != self.uid:
            raise deleted(f"The study {self.study.study_name}", "its database")
        now = next(a for a in view(self.study).attempts if a.number == self.attempt.number)
        # Enqueue the new attempt before this one ends: a death in between leaves one attempt too
        # many, which is noticed later; the other order would lose the trial.
        slots.retry(self.study, now, died=False, alone=reason == "out_of_memory")
        self.write(TrialAttributes(reason=reason))
        self.tell(TrialState.FAIL)

    def tell(self, state: TrialState, values: Sequence[float] | None = None) -> None:
        """End the trial in this state; nothing happens when it has ended already."""
        self.study.tell(self.trial, values, state=state, skip_if_finished=True)


def _end_of(value: Any) -> Any:
    """A value that fits into an attribute: the end of a traceback says most."""
    long = isinstance(value, str) and len(value) > LONGEST_ATTRIBUTE
    return f"… {value[-LONGEST_ATTRIBUTE:]}" if long else value


@dataclass
class ObjectiveNames:
    """The names of a study's objectives, which each worker writes only once."""

    study: optuna.Study
    are_kept: bool = field(default=False, init=False)

    def keep(self, names: Sequence[str]) -> None:
        """Write the names with the study, for the dashboard.

        Too many or too few names are ignored here: the task's return value then has the wrong
        number of values as well, and that error says more.
        """
        if self.are_kept or len(names) != len(self.study.directions):
            return
        with warnings.catch_warnings(), unbroken():
            warnings.simplefilter("ignore", ExperimentalWarning)  # since 3.2, and in the dashboard
            self.study.set_metric_names(list(names))
        self.are_kept = True
