"""One trial, from its claim to its end: suggest, compose, run, report, tell.

A trial is one run of the task, or one run for each repeat. However it ends, ``OneTrial.run`` tells
the study once. ``claimed_trial`` writes to the study, and ``task`` runs the task itself. The file
is longer than 250 lines because a trial is one story.
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
from sweepmore.process.memory import is_out_of_memory
from sweepmore.process.signals import Stop, unbroken
from sweepmore.runs.names import run_stem, safe_name
from sweepmore.runs.offline import sync_command
from sweepmore.runs.tracking import TRIAL_KEY
from sweepmore.storage.opening import FAILURES, removed
from sweepmore.storage.patience import DatabaseAway, StudyGone
from sweepmore.study.attributes import TrialAttributes
from sweepmore.sweep import folders
from sweepmore.sweep.claimed_trial import ClaimedTrial, ObjectiveNames
from sweepmore.sweep.context import StudyContext
from sweepmore.sweep.seat import Seat
from sweepmore.sweep.suggesting import suggested
from sweepmore.sweep.task import TaskRunner, objectives
from sweepmore.trial import SweepTrial
from sweepmore.values import NoObjective


class _Pruned(Exception):
    """The pruner stopped a trial between two of its repeats."""


@dataclass(frozen=True)
class Workplace:
    """What all trials of one worker share."""

    shared: StudyContext
    study: optuna.Study
    uid: str  # the study's
    composer: Composer
    runner: TaskRunner
    names: ObjectiveNames
    gone: Callable[[], StudyError | None]  # see worker.ParentHere
    stop: Stop  # the signals that this process has received
    seat: Seat  # what of its machine the worker may use

    @property
    def objectives(self) -> int:
        """How many objectives the study has."""
        return len(self.study.directions)

    def refuse_if_gone(self) -> None:
        """Raise when the study was removed: another study may have its number by now."""
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
        """Run the trial, and tell the study how it ended, whatever happens.

        Raises only what ends the worker as well: DatabaseAway, StudyGone, the error of a disk or of
        the storage, and UpdateFinishedTrialError when somebody else has ended the trial.
        """
        place, claimed = self.place, self.claimed
        self.folder = place.shared.folder / f"{claimed.attempt.root:04d}"
        try:
            values = self._values()
        # This process is stopping: another worker begins the trial again.
        except Interrupted as interrupted:
            if place.stop.signum is None:
                place.stop.hear(interrupted.signum)
            place.refuse_if_gone()
            claimed.hand_back()
        except (DatabaseAway, StudyGone):
            raise  # nothing can be written now; another worker will begin the trial again
        except (_Pruned, optuna.TrialPruned):
            self._end_early()
        except BaseException as error:
            if isinstance(error, UpdateFinishedTrialError) and claimed.is_taken:
                raise  # this trial is another's; from a study of the task's own it is a failure
            self._fail(error)
        # The task returned: with its result, or early because `report` asked it to.
        else:
            if self.is_asked_to_stop:
                self._end_early()
            else:
                claimed.complete(values, self._sync_command())

    def _end_early(self) -> None:
        """End a trial that stopped early: pruned, unless this worker's own stop was the reason."""
        if self.place.stop.signum is not None and self.is_asked_to_stop:
            self.claimed.hand_back()
        else:
            status = TrialAttributes(status="pruned")
            self.claimed.keep({**self._sync_command(), **status.written()})
            self.claimed.tell(TrialState.PRUNED)

    def _fail(self, error: BaseException) -> None:
        """Record the task's error, and end the trial as failed.

        An error of the disk or the storage, or a removed folder, says nothing about the trial, and
        the next trials would fail as well. Then the trial is handed back, and the error is raised.
        """
        shared, claimed = self.place.shared, self.claimed
        self.place.refuse_if_gone()
        if is_disk_failure(error) or is_storage_failure(error):
            claimed.hand_back()
            raise error
        if shared.is_without_folder:
            claimed.hand_back()
            raise removed([shared.folder]) from error
        claimed.keep({**self._sync_command(), **TrialAttributes(status="error").written()})
        if isinstance(error, NoObjective):
            claimed.write(TrialAttributes(no_objective=True))
        claimed.keep_error(error, self.folder)
        if not is_out_of_memory(error):
            claimed.write(TrialAttributes(reason="exception"))
        # Where others used its memory, it is tried again alone, and this process makes room.
        elif self.place.seat.is_shared and not claimed.attempt.attrs.alone:
            claimed.hand_back("out_of_memory")
            self.place.seat.leave(self.place.stop)
            return
        else:
            claimed.write(TrialAttributes(reason="out_of_memory", alone=True))
        claimed.tell(TrialState.FAIL)

    def _sync_command(self) -> dict[str, str]:
        """Return how the trial's runs get to W&B, where the task recorded them offline."""
        command = sync_command(self.folder)
        return {} if command is None else {TRIAL_KEY: command}

    def _values(self) -> list[float]:
        """Suggest values, run once for each repeat, and return each objective's mean over runs."""
        shared = self.place.shared
        overrides = suggested(self.claimed.trial, shared, self.place.composer)
        repeats = shared.runs()
        values_of_runs: list[list[float]] = []
        for number, repeat in enumerate(repeats):
            run = _Run(number, repeat, is_alone=len(repeats) == 1)
            values = self._run(run, overrides)
            values_of_runs.append(values)
            # Between two repeats: the pruner compares the results of whole runs, because the steps
            # of several runs are no single curve.
            if not run.is_alone and not self.is_asked_to_stop:
                self.claimed.keep_repeats(values_of_runs)
                is_last = number + 1 == len(repeats)
                if self._should_prune(number, values) and not is_last:
                    raise _Pruned
            # After a run that diverged, no further run can change the mean.
            if self.is_asked_to_stop or not all(map(math.isfinite, values)):
                break
        return [statistics.fmean(of_objective) for of_objective in zip(*values_of_runs)]

    def _should_prune(self, number: int, values: Sequence[float]) -> bool:
        if self.place.objectives > 1 or not math.isfinite(values[0]):
            return False
        self.claimed.trial.report(values[0], number)
        return bool(self.claimed.trial.should_prune())

    def _run(self, run: _Run, overrides: Sequence[str]) -> list[float]:
        """Compose a run's config, run the task in its folder, and return its objectives."""
        runner = self.place.runner
        job = [*overrides, *(f"{key}={override_text(value)}" for key, value in run.repeat.items())]
        config = self.place.composer.compose(job)
        runner.take_callbacks(config)
        self._address(config, run)
        ended = runner.run(self._sweep_trial(run), config)
        return objectives(ended, self.place.objectives, self.is_asked_to_stop)

    def _address(self, config: DictConfig, run: _Run) -> None:
        """Write into Hydra's part of the config which job this is, and in which folder it runs."""
        shared, root = self.place.shared, self.claimed.attempt.root
        with open_dict(config):
            config.hydra.job.id = f"{safe_name(shared.study_name)}-{root}"
            config.hydra.job.num = root
        # In Hydra's sweep dir, only a composed config says what a trial's folder is called; all
        # runs of the trial share that of the first.
        if shared.sweep_dir is not None and run.number == 0:
            self._move_to(self._in_sweep_dir(config, shared.sweep_dir))
        parent = shared.sweep_dir or shared.folder
        subdir = os.path.relpath(self.folder, parent)
        with open_dict(config):
            config.hydra.sweep.dir = str(parent)
            config.hydra.sweep.subdir = subdir if run.is_alone else f"{subdir}/{run.number}"

    def _in_sweep_dir(self, config: DictConfig, sweep_dir: Path) -> Path:
        """Create this attempt's own folder in Hydra's sweep dir, named by its first run."""
        study, attempt = self.place.study, self.claimed.attempt
        subdir = folders.first_subdir(study, attempt) or folders.subdir_of(config)
        self.claimed.write(TrialAttributes(subdir=subdir))
        folder = folders.new_folder(sweep_dir, subdir)
        folders.link(self.place.shared.folder / f"{attempt.root:04d}", folder)
        return folder

    def _move_to(self, folder: Path) -> None:
        """Make this the trial's folder from now on."""
        self.folder = folder
        self.claimed.write(TrialAttributes(folder=folder))

    def _sweep_trial(self, run: _Run) -> SweepTrial:
        """Make what the task can see of the sweep during this run."""
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
            params=dict(self.claimed.trial.params),
            _report=self._report if run.is_alone else self._ask_only,
            _set=self.claimed.set,
            _attach=self.claimed.attach,
            _name=place.names.keep,
        )

    def _report(self, step: int, value: float) -> bool:
        """Pass the application's report on to the pruner; return whether the task has to stop."""
        self.place.refuse_if_gone()
        if self.place.objectives == 1 and math.isfinite(value):
            with unbroken():
                self.claimed.trial.report(value, step)
                if self.claimed.trial.should_prune():
                    self.is_asked_to_stop = True
        return self._ask_only(step, value)

    def _ask_only(self, step: int, value: float) -> bool:
        """Return whether the task has to stop, without reporting: repeats are compared whole."""
        self.place.runner.cooperates = True
        if self.place.stop.signum is not None:
            self.is_asked_to_stop = True
        return self.is_asked_to_stop


def is_storage_failure(error: BaseException) -> bool:
    """Whether Optuna's storage itself failed, as with its disk or a lock that is held for long.

    An error in what it was given, such as a text that is too long, is not such a failure.
    """
    return isinstance(error, StorageInternalError) and type(error.__cause__) in FAILURES
