"""A worker: takes a trial, composes its config, runs the task, tells the study, and again."""

from __future__ import annotations

import math
import os
import signal
import statistics
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
from hydra.core.utils import JobReturn, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import (
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.trial import TrialState

from sweepmore.compose.frozen import Composer
from sweepmore.compose.hydra_internals import callbacks_of, error_of
from sweepmore.compose.overrides import fixed_values, override_text
from sweepmore.compose.question import call
from sweepmore.compose.samplers import build_sampler
from sweepmore.compose.settings import Sweep
from sweepmore.errors import ConfigError, Interrupted, StudyError, described, is_disk_failure
from sweepmore.process.identity import is_alive, on_this_host
from sweepmore.process.signals import Stop, handled, unbroken
from sweepmore.process.state import return_to, unchanged, working_folder
from sweepmore.runs.names import run_stem, safe_name
from sweepmore.statistics.directions import sign_of
from sweepmore.storage.opening import FAILURES, removed
from sweepmore.storage.optuna_internals import as_running
from sweepmore.storage.patience import DatabaseAway, Outage, StudyGone, deleted, is_away
from sweepmore.study import slots
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import StudyAttributes, TrialAttributes
from sweepmore.study.view import directions_of, view
from sweepmore.sweep import folders
from sweepmore.sweep.context import StudyContext, context_of, freeze, load_study, must_end
from sweepmore.trial import SweepTrial, entered
from sweepmore.values import NoObjective, returned

# How long a worker sleeps when no trial waits although the budget is not planned yet: longer, the
# longer it has waited, for its parent may be stopped for hours.
POLL_SECONDS, LONGEST_POLL = 0.02, 0.5
# After this it asks whether any parent still plans: of one on another host it sees no process.
LOOK_SECONDS = 10.0
# How often a worker says that it lives; after a failure it tries ten times as often.
RENEW_SECONDS = slots.LEASE_SECONDS / 10
# How often a worker looks whether the parent that started it still lives.
WATCH_SECONDS = 0.2
# MySQL's TEXT, the smallest column that Optuna keeps an attribute in, holds 65,535 bytes.
LONGEST_ATTRIBUTE = 16_000


class _Pruned(Exception):
    """The pruner stopped a trial between two of its repeats."""


@dataclass(frozen=True)
class ParentHere:
    """A worker's parent, where both are one process.

    ``gone`` says what it has found removed: nothing is told to the study then, for another may
    have its number by now. ``outage`` is what its own connection says of the database.
    """

    gone: Callable[[], StudyError | None] = lambda: None
    outage: Outage | None = None


def work(
    asked: Sweep,
    part: Mapping[str, Any],
    context: HydraContext,
    task: TaskFunction,
    here: ParentHere = ParentHere(),
) -> int | None:
    """A worker's life; returns the signal that ended it, or None."""
    stop = Stop()
    study = load_study(asked, part["study"], stop, here.outage)
    study.sampler = build_sampler(
        asked.sampler,
        asked.space,
        worker=part["index"],
        trials_so_far=len(study.get_trials(deepcopy=False)),
        base_seed=StudyAttributes.of(study).seed or 0,
    )
    frozen = freeze(asked, study)
    shared = context_of(asked, study, frozen, part["since"])
    hears = bool(part.get("quiet"))
    worker = Worker(
        shared,
        study,
        task,
        context,
        parent=part["parent"],
        own_callbacks=hears,
        gone=here.gone,
        stop=stop,
    )
    worker.run()
    return worker.stopped_by


@dataclass
class Worker:
    """One process's part of a sweep. ``stopped_by`` is the signal that ended it, if one did."""

    shared: StudyContext
    study: optuna.Study
    task: TaskFunction
    context: HydraContext
    parent: Mapping[str, Any]  # ends with it, where both are on one host
    own_callbacks: bool = False  # Hydra's are not in its context yet: the first config has them
    gone: Callable[[], StudyError | None] = lambda: None  # see ParentHere
    stop: Stop = field(default_factory=Stop)  # what this process was told
    _trial: optuna.Trial | None = None
    _cooperates: bool = False  # the running task asks `report`, so it can be stopped by its answer
    _in_task: bool = False
    _told_to_stop: bool = False
    _named: bool = False  # the study's objectives
    _folder: Path = Path()  # the running trial's
    _home: Path | None = None  # the working directory
    _uid: str = ""  # the study's

    @cached_property
    def composer(self) -> Composer:
        return self.shared.frozen.composer()

    @property
    def stopped_by(self) -> int | None:
        return self.stop.signum

    def run(self) -> None:
        """Work until the budget is planned and taken, a signal comes, or too much fails."""
        self._uid = StudyAttributes.of(self.study).uid
        self._home = working_folder()
        self.context = replace(self.context, config_loader=self.composer.loader)
        worked = looked = time.monotonic()
        with self._signals(), self._watch():
            while self.stopped_by is None and not must_end(self.study, self.shared):
                claimed = slots.claim(self.study)
                if claimed is not None:
                    self._work_while_mine(claimed)
                    worked = looked = time.monotonic()
                elif slots.is_all_taken(
                    view(self.study), self.shared.n_trials, self.shared.fixed_params
                ):
                    return
                elif time.monotonic() - looked < LOOK_SECONDS:
                    idle = time.monotonic() - worked
                    time.sleep(min(LONGEST_POLL, max(POLL_SECONDS, idle / 20)))
                elif on_this_host(self.parent) or slots.leader(self.study) is not None:
                    looked = time.monotonic()  # its parent lives, or another plans
                else:
                    return

    def _work_while_mine(self, claimed: Attempt) -> None:
        """Run one trial; where this worker was taken for dead meanwhile (its machine slept), what
        it would still say of it is dropped."""
        try:
            self._work(claimed)
        except UpdateFinishedTrialError:
            print(f"trial {claimed.root} was taken from this worker, not heard of", flush=True)
        finally:
            self._trial = None

    def _work(self, claimed: Attempt) -> None:
        """Run one trial and tell the study how it ended, whatever happens."""
        fixed = fixed_values(self.shared.space.fixed)
        self._trial = trial = as_running(self.study, claimed.number, fixed)
        self._told_to_stop = False
        self._place(self.shared.folder / f"{claimed.root:04d}")
        self._keep(TrialAttributes(code=self.shared.code))
        try:
            values = self._values(trial, claimed)
        except Interrupted as interrupted:
            if self.stopped_by is None:
                self.stop.hear(interrupted.signum)
            self._refuse_if_gone()
            self._hand_back(claimed)
        except (DatabaseAway, StudyGone):
            raise  # nothing can be told, and the trial is tried again by another worker
        except (_Pruned, optuna.TrialPruned):
            self._end_early(claimed)
        except BaseException as error:
            if isinstance(error, UpdateFinishedTrialError) and self._is_taken(claimed):
                raise  # as above; of any other study of the task's own it is an error of the task
            self._refuse_if_gone()
            if is_disk_failure(error) or is_storage_failure(error):
                # says nothing of the trial, and the next ones would fail
                self._hand_back(claimed)
                raise
            if self.shared.is_without_folder:  # nor this
                self._hand_back(claimed)
                raise removed([self.shared.folder]) from error
            self._keep(TrialAttributes(status="error", reason="exception"))
            if isinstance(error, NoObjective):
                self._keep(TrialAttributes(no_objective=True))
            self._keep_error(error)
            self._tell(TrialState.FAIL)
        else:
            if self._told_to_stop:
                self._end_early(claimed)
            else:
                self._complete(values)

    def _refuse_if_gone(self) -> None:
        if (gone := self.gone()) is not None:
            raise gone

    def _end_early(self, claimed: Attempt) -> None:
        """Pruned, unless it was told to stop because this worker is stopping."""
        if self.stopped_by is not None and self._told_to_stop:
            self._hand_back(claimed)
        else:
            self._keep(TrialAttributes(status="pruned"))
            self._tell(TrialState.PRUNED)

    def _is_taken(self, claimed: Attempt) -> bool:
        """Whether somebody else has ended the trial that runs here."""
        trials = self.study.get_trials(deepcopy=False)
        return trials[claimed.number].state.is_finished()

    def _keep_error(self, error: BaseException) -> None:
        """With the trial, and as ``error.txt`` in its folder."""
        told, whole = described(error)
        self._keep(TrialAttributes(error=told, traceback=whole))
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "error.txt").write_text(whole, encoding="utf-8")

    def _complete(self, values: Sequence[float]) -> None:
        """NaN never reaches the storage: what is not finite is infinitely bad."""
        if not all(map(math.isfinite, values)):
            self._keep(TrialAttributes(status="diverged"))
            values = [
                value if math.isfinite(value) else sign_of(direction) * math.inf
                for value, direction in zip(values, directions_of(self.study))
            ]
        else:
            self._keep(TrialAttributes(status="ok"))
        self._tell(TrialState.COMPLETE, values)

    def _values(self, trial: optuna.Trial, claimed: Attempt) -> list[float]:
        """Suggest, then run once for each repeat; the mean over repeats of each objective."""
        for name, distribution in self.shared.space.searched.items():
            suggest(trial, name, distribution)
        overrides = [*self.shared.space.fixed, *self.shared.space.overrides(trial.params)]
        overrides += self._custom(trial, overrides)
        runs = self.shared.runs()
        found: list[list[float]] = []
        for number, repeat in enumerate(runs):
            values = self._run(claimed, overrides, repeat, number, many=len(runs) > 1)
            found.append(values)
            if len(runs) > 1 and not self._told_to_stop:
                self._keep_repeats(found)
                last = number + 1 == len(runs)
                if self._should_prune(number, values) and not last:
                    raise _Pruned
            if self._told_to_stop or not all(map(math.isfinite, values)):
                break
        return [statistics.fmean(of_one) for of_one in zip(*found)]

    def _custom(self, trial: optuna.Trial, overrides: Sequence[str]) -> list[str]:
        """Overrides that ``custom_search_space(config, trial)`` adds by suggesting more."""
        if self.shared.custom_search_space is None:
            return []
        before = set(trial.params)
        config = self.composer.compose(overrides)
        with open_dict(config):
            del config["hydra"]
        call(self.shared.custom_search_space, config, trial)
        added = {key: value for key, value in trial.params.items() if key not in before}
        fixed = {key.lstrip("+") for key in fixed_values(self.shared.space.fixed)}
        if twice := [key for key in added if key.lstrip("+") in fixed]:
            problem = f"custom_search_space suggests {twice[0]}, which the command fixes."
            cure = "Leave it out of one of the two: trial.user_attrs holds what the command fixes."
            raise ConfigError(problem, value=twice[0], cure=cure)
        return [f"{key}={override_text(value)}" for key, value in added.items()]

    def _keep_repeats(self, found: Sequence[Sequence[float]]) -> None:
        """Each repeat's value of the first objective, and their standard deviation."""
        firsts = [values[0] for values in found]
        finite = tuple(value if math.isfinite(value) else None for value in firsts)
        self._keep(TrialAttributes(repeats=finite))
        if len(firsts) > 1 and None not in finite:
            self._keep(TrialAttributes(std=statistics.stdev(firsts)))

    def _should_prune(self, number: int, values: Sequence[float]) -> bool:
        assert self._trial is not None
        if len(self.study.directions) > 1 or not math.isfinite(values[0]):
            return False
        self._trial.report(values[0], number)
        return bool(self._trial.should_prune())

    def _run(
        self,
        claimed: Attempt,
        overrides: Sequence[str],
        repeat: Mapping[str, Any],
        number: int,
        many: bool,
    ) -> list[float]:
        """Compose one run's config, run the task in its folder, return its objectives."""
        job = [*overrides, *(f"{key}={override_text(value)}" for key, value in repeat.items())]
        config = self.composer.compose(job)
        if self.own_callbacks:
            self.context = replace(self.context, callbacks=callbacks_of(config))
            self.own_callbacks = False
        with open_dict(config):
            config.hydra.job.id = f"{safe_name(self.shared.study_name)}-{claimed.root}"
            config.hydra.job.num = claimed.root
        if self.shared.sweep_dir is not None and number == 0:
            self._place(self._in_sweep_dir(claimed, config, self.shared.sweep_dir))
        parent = self.shared.sweep_dir or self.shared.folder
        subdir = os.path.relpath(self._folder, parent)
        with open_dict(config):
            config.hydra.sweep.dir = str(parent)
            config.hydra.sweep.subdir = f"{subdir}/{number}" if many else subdir
        trial = self._sweep_trial(claimed, repeat, number if many else None)
        return_to(self._home)  # another worker's task may have removed it
        with unchanged():
            ended = self._job(trial, config)
        return objectives(ended, len(self.study.directions), self._told_to_stop)

    def _job(self, trial: SweepTrial, config: DictConfig) -> JobReturn:
        """The task itself, as Hydra runs one; a signal is answered within."""
        self._cooperates, self._in_task = False, True
        try:
            if self.stopped_by is not None:  # since the trial was taken: its task does not begin
                raise Interrupted(self.stopped_by)
            with entered(trial):
                return run_job(
                    task_function=self.task,
                    config=config,
                    job_dir_key="hydra.sweep.dir",
                    job_subdir_key="hydra.sweep.subdir",
                    hydra_context=self.context,
                )
        except KeyboardInterrupt:
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                # the task has put Python's own handler in the place of ours: this was Ctrl-C
                raise Interrupted(signal.SIGINT) from None
            raise
        finally:
            self._in_task = False

    def _sweep_trial(
        self, claimed: Attempt, repeat: Mapping[str, Any], number: int | None
    ) -> SweepTrial:
        names = [run_stem(self.shared.study_name, self._uid), f"{claimed.root:04d}"]
        names += [] if number is None else [f"s{number}"]
        return SweepTrial(
            study=self.shared.study_name,
            root=claimed.root,
            attempt=claimed.attempt,
            run_id="-".join(names),
            repeat=repeat,
            earlier=tuple(
                folder if number is None else folder / str(number)
                for folder in folders.earlier(self.study, claimed)
                if folder != self._folder
            ),
            _report=self._report if number is None else self._ask_only,
            _set=self._set,
            _attach=self._attach,
            _name=self._name,
        )

    def _report(self, step: int, value: float) -> bool:
        """The application's report: to the pruner, and back whether to stop."""
        assert self._trial is not None
        self._refuse_if_gone()
        if len(self.study.directions) == 1 and math.isfinite(value):
            with unbroken():
                self._trial.report(value, step)
                if self._trial.should_prune():
                    self._told_to_stop = True
        return self._ask_only(step, value)

    def _ask_only(self, step: int, value: float) -> bool:
        """Within a repeat nothing is reported: the pruner compares whole repeats."""
        self._cooperates = True
        if self.stopped_by is not None:
            self._told_to_stop = True
        return self._told_to_stop

    def _keep(self, attributes: TrialAttributes) -> None:
        for key, value in attributes.written().items():
            self._set(key, value)

    def _set(self, key: str, value: Any) -> None:
        assert self._trial is not None
        if isinstance(value, str) and len(value) > LONGEST_ATTRIBUTE:
            value = f"… {value[-LONGEST_ATTRIBUTE:]}"  # the end of a traceback says most
        with unbroken():
            self._trial.set_user_attr(key, value)

    def _name(self, names: Sequence[str]) -> None:
        """Once a worker; names of another number than the study's values are an error that the
        task's return value will show."""
        if self._named or len(names) != len(self.study.directions):
            return
        with warnings.catch_warnings(), unbroken():
            warnings.simplefilter("ignore", ExperimentalWarning)  # since 3.2, and in the dashboard
            self.study.set_metric_names(list(names))
        self._named = True

    def _attach(self, path: Path) -> None:
        assert self._trial is not None
        self.shared.artifacts.mkdir(parents=True, exist_ok=True)
        store = optuna.artifacts.FileSystemArtifactStore(base_path=str(self.shared.artifacts))
        with unbroken():
            optuna.artifacts.upload_artifact(
                artifact_store=store, file_path=str(path), study_or_trial=self._trial
            )

    def _tell(self, state: TrialState, values: Sequence[float] | None = None) -> None:
        assert self._trial is not None
        self.study.tell(self._trial, values, state=state, skip_if_finished=True)

    def _hand_back(self, claimed: Attempt) -> None:
        assert self._trial is not None
        if StudyAttributes.of(self.study).uid != self._uid:  # another study has its number by now
            raise deleted(f"The study {self.study.study_name}", "its database")
        now = next(a for a in view(self.study).attempts if a.number == claimed.number)
        slots.retry(self.study, now, died=False)
        self._keep(TrialAttributes(reason="handed_back"))
        self._tell(TrialState.FAIL)

    def _place(self, folder: Path) -> None:
        """From here on this is the running trial's folder."""
        self._folder = folder
        self._keep(TrialAttributes(folder=folder))

    def _in_sweep_dir(self, claimed: Attempt, config: DictConfig, sweep_dir: Path) -> Path:
        """A folder of this attempt's own, as ``hydra.sweep`` says of its first run."""
        subdir = folders.first_subdir(self.study, claimed) or folders.subdir_of(config)
        self._keep(TrialAttributes(subdir=subdir))
        folder = folders.new_folder(sweep_dir, subdir)
        folders.link(self.shared.folder / f"{claimed.root:04d}", folder)
        return folder

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """First signal: nothing new starts, the running task is asked to stop (by its own handler,
        or by ``report``; one that knows neither is left at once). Second: at once."""

        def stop(signum: int, frame: FrameType | None) -> None:
            which = self.stop.hear(signum)
            if self._in_task and (which == "second" or (which == "first" and not self._cooperates)):
                raise Interrupted(signum)

        with handled(stop):
            yield

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """Renew the running trial's lease, and stop like on SIGTERM when the parent or the study
        is gone."""
        done = threading.Event()
        thread = threading.Thread(target=self._watching, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _watching(self, done: threading.Event) -> None:
        due, sent = time.monotonic() + RENEW_SECONDS, False
        while not done.wait(WATCH_SECONDS):
            orphaned = on_this_host(self.parent) and not is_alive(self.parent)
            if not sent and (orphaned or self.gone() is not None):
                os.kill(os.getpid(), signal.SIGTERM)
                sent = True
            if time.monotonic() > due:
                pause = RENEW_SECONDS if self._renew() else RENEW_SECONDS / 10
                due = time.monotonic() + pause

    def _renew(self) -> bool:
        """Whether it was done, or there is nothing to renew."""
        trial = self._trial
        if trial is None:
            return True
        try:
            slots.renew_lease(self.study, trial.number)
        except (UpdateFinishedTrialError, StudyGone):  # which the main thread finds, too
            return True
        except Exception as error:  # the next renewal comes before the lease ends
            if not is_away(error):  # which has been said
                print(f"warning: the lease of trial {trial.number} was not renewed: {error}")
            return False
        return True


def is_storage_failure(error: BaseException) -> bool:
    """Optuna's storage failed (its disk, a lock that is held for long), not at what it was given,
    such as a text that is too long."""
    return isinstance(error, StorageInternalError) and type(error.__cause__) in FAILURES


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> None:
    match distribution:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_float(name, low, high, step=step, log=log)
        case IntDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_int(name, low, high, step=step, log=log)
        case CategoricalDistribution(choices=choices):
            trial.suggest_categorical(name, choices)


def objectives(ended: JobReturn, wanted: int, pruned: bool) -> list[float]:
    """The task's return value as floats; raises what the task raised."""
    if (error := error_of(ended)) is not None:
        raise error
    return [math.nan] * wanted if pruned else returned(ended.return_value, wanted)
