"""One trial, from its claim to what the study is told: suggest, compose, run, report, tell.

A trial is one run of the task, or one a repeat. However it ends, ``OneTrial.run`` tells the study
once; ``claimed_trial`` has how that is written, ``task`` how the task itself runs.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig, open_dict
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from sweepmore.compose.frozen import Composer
from sweepmore.compose.overrides import override_text
from sweepmore.errors import Interrupted, StudyError, is_disk_failure
from sweepmore.process.signals import Stop, unbroken
from sweepmore.runs.names import run_stem, safe_name
from sweepmore.storage.opening import FAILURES, removed
from sweepmore.storage.patience import DatabaseAway, StudyGone
from sweepmore.study.attributes import TrialAttributes
from sweepmore.sweep import folders
from sweepmore.sweep.claimed_trial import ClaimedTrial, ObjectiveNames
from sweepmore.sweep.context import StudyContext
from sweepmore.sweep.suggesting import suggested
from sweepmore.sweep.task import TaskRunner, objectives
from sweepmore.trial import SweepTrial
from sweepmore.values import NoObjective


class _Pruned(Exception):
    """The pruner stopped a trial between two of its repeats."""


@dataclass(frozen=True)
class Workplace:
    """What all trials of one worker work with."""

    shared: StudyContext
    study: optuna.Study
    uid: str  # the study's
    composer: Composer
    runner: TaskRunner
    names: ObjectiveNames
    gone: Callable[[], StudyError | None]  # see worker.ParentHere
    stop: Stop  # what this process was told

    @property
    def objectives(self) -> int:
        return len(self.study.directions)

    def refuse_if_gone(self) -> None:
        """Raise where the study was removed: its number may be another's by now."""
        if (gone := self.gone()) is not None:
            raise gone


@dataclass(frozen=True)
class _Run:
    """One run of a trial's task."""

    number: int  # among the trial's runs, from 0
    repeat: Mapping[str, Any]  # the repeated settings; {} where nothing is repeated
    is_alone: bool  # the trial has no other run


@dataclass
class OneTrial:
    """A claimed trial that this process runs."""

    place: Workplace
    claimed: ClaimedTrial
    folder: Path = field(default=Path(), init=False)  # the trial's; `_move_to` says where
    # the pruner stops it, or this worker is stopping: the task is asked to return
    is_asked_to_stop: bool = field(default=False, init=False)

    def run(self) -> None:
        """Run the trial and tell the study how it ended, whatever happens.

        Raises what ends the worker as well: a database that is away, a study or a folder that was
        removed, a disk that failed; UpdateFinishedTrialError where somebody else ended the trial.
        """
        place, claimed = self.place, self.claimed
        self._move_to(place.shared.folder / f"{claimed.attempt.root:04d}")
        claimed.write(TrialAttributes(code=place.shared.code))
        try:
            values = self._values()
        except Interrupted as interrupted:
            if place.stop.signum is None:
                place.stop.hear(interrupted.signum)
            place.refuse_if_gone()
            claimed.hand_back()
        except (DatabaseAway, StudyGone):
            raise  # nothing can be told, and the trial is tried again by another worker
        except (_Pruned, optuna.TrialPruned):
            self._end_early()
        except BaseException as error:
            if isinstance(error, UpdateFinishedTrialError) and claimed.is_taken:
                raise  # as above; of any other study of the task's own it is an error of the task
            self._fail(error)
        else:
            if self.is_asked_to_stop:
                self._end_early()
            else:
                claimed.complete(values)

    def _end_early(self) -> None:
        """Pruned, unless it was told to stop because this worker is stopping."""
        if self.place.stop.signum is not None and self.is_asked_to_stop:
            self.claimed.hand_back()
        else:
            self.claimed.write(TrialAttributes(status="pruned"))
            self.claimed.tell(TrialState.PRUNED)

    def _fail(self, error: BaseException) -> None:
        """Tell the task's error. One of the disk, the storage or a removed folder says nothing of
        the trial, and the next ones would fail: the trial is handed back, and it is raised."""
        shared, claimed = self.place.shared, self.claimed
        self.place.refuse_if_gone()
        if is_disk_failure(error) or is_storage_failure(error):
            claimed.hand_back()
            raise error
        if shared.is_without_folder:
            claimed.hand_back()
            raise removed([shared.folder]) from error
        claimed.write(TrialAttributes(status="error", reason="exception"))
        if isinstance(error, NoObjective):
            claimed.write(TrialAttributes(no_objective=True))
        claimed.keep_error(error, self.folder)
        claimed.tell(TrialState.FAIL)

    def _values(self) -> list[float]:
        """Suggest, then run once for each repeat; the mean over repeats of each objective."""
        shared = self.place.shared
        overrides = suggested(self.claimed.trial, shared, self.place.composer)
        repeats = shared.runs()
        values_of_runs: list[list[float]] = []
        for number, repeat in enumerate(repeats):
            run = _Run(number, repeat, is_alone=len(repeats) == 1)
            values = self._run(run, overrides)
            values_of_runs.append(values)
            # Between two repeats the pruner compares what each whole run gave.
            if not run.is_alone and not self.is_asked_to_stop:
                self.claimed.keep_repeats(values_of_runs)
                is_last = number + 1 == len(repeats)
                if self._should_prune(number, values) and not is_last:
                    raise _Pruned
            # After a run that diverged, the mean over all of them is known.
            if self.is_asked_to_stop or not all(map(math.isfinite, values)):
                break
        return [statistics.fmean(of_objective) for of_objective in zip(*values_of_runs)]

    def _should_prune(self, number: int, values: Sequence[float]) -> bool:
        if self.place.objectives > 1 or not math.isfinite(values[0]):
            return False
        self.claimed.trial.report(values[0], number)
        return bool(self.claimed.trial.should_prune())

    def _run(self, run: _Run, overrides: Sequence[str]) -> list[float]:
        """Compose one run's config, run the task in its folder, return its objectives."""
        runner = self.place.runner
        job = [*overrides, *(f"{key}={override_text(value)}" for key, value in run.repeat.items())]
        config = self.place.composer.compose(job)
        runner.take_callbacks(config)
        self._address(config, run)
        ended = runner.run(self._sweep_trial(run), config)
        return objectives(ended, self.place.objectives, self.is_asked_to_stop)

    def _address(self, config: DictConfig, run: _Run) -> None:
        """Say in Hydra's part of the config which job this is, and in which folder it runs."""
        shared, root = self.place.shared, self.claimed.attempt.root
        with open_dict(config):
            config.hydra.job.id = f"{safe_name(shared.study_name)}-{root}"
            config.hydra.job.num = root
        # Where trials lie in Hydra's sweep dir, only a composed config says which folder it is.
        if shared.sweep_dir is not None and run.number == 0:
            self._move_to(self._in_sweep_dir(config, shared.sweep_dir))
        parent = shared.sweep_dir or shared.folder
        subdir = os.path.relpath(self.folder, parent)
        with open_dict(config):
            config.hydra.sweep.dir = str(parent)
            config.hydra.sweep.subdir = subdir if run.is_alone else f"{subdir}/{run.number}"

    def _in_sweep_dir(self, config: DictConfig, sweep_dir: Path) -> Path:
        """A folder of this attempt's own, as ``hydra.sweep`` says of its first run."""
        study, attempt = self.place.study, self.claimed.attempt
        subdir = folders.first_subdir(study, attempt) or folders.subdir_of(config)
        self.claimed.write(TrialAttributes(subdir=subdir))
        folder = folders.new_folder(sweep_dir, subdir)
        folders.link(self.place.shared.folder / f"{attempt.root:04d}", folder)
        return folder

    def _move_to(self, folder: Path) -> None:
        """From here on this is the trial's folder."""
        self.folder = folder
        self.claimed.write(TrialAttributes(folder=folder))

    def _sweep_trial(self, run: _Run) -> SweepTrial:
        """What the task sees of the sweep during this run."""
        place, attempt = self.place, self.claimed.attempt
        names = [run_stem(place.shared.study_name, place.uid), f"{attempt.root:04d}"]
        names += [] if run.is_alone else [f"s{run.number}"]
        return SweepTrial(
            study=place.shared.study_name,
            root=attempt.root,
            attempt=attempt.attempt,
            run_id="-".join(names),
            repeat=run.repeat,
            earlier=tuple(
                folder if run.is_alone else folder / str(run.number)
                for folder in folders.earlier(place.study, attempt)
                if folder != self.folder
            ),
            _report=self._report if run.is_alone else self._ask_only,
            _set=self.claimed.set,
            _attach=self.claimed.attach,
            _name=place.names.keep,
        )

    def _report(self, step: int, value: float) -> bool:
        """The application's report: to the pruner, and back whether to stop."""
        self.place.refuse_if_gone()
        if self.place.objectives == 1 and math.isfinite(value):
            with unbroken():
                self.claimed.trial.report(value, step)
                if self.claimed.trial.should_prune():
                    self.is_asked_to_stop = True
        return self._ask_only(step, value)

    def _ask_only(self, step: int, value: float) -> bool:
        """Within a repeat nothing is reported: the pruner compares whole repeats."""
        self.place.runner.cooperates = True
        if self.place.stop.signum is not None:
            self.is_asked_to_stop = True
        return self.is_asked_to_stop


def is_storage_failure(error: BaseException) -> bool:
    """Optuna's storage failed (its disk, a lock that is held for long), not at what it was given,
    such as a text that is too long."""
    return isinstance(error, StorageInternalError) and type(error.__cause__) in FAILURES
