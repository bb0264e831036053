"""The parent of a sweep: asks the question, opens the study, launches and follows workers."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write

from sweepmore.compose.composing import composing
from sweepmore.compose.hydra_internals import BASIC_LAUNCHER, SWEEP_DEFAULTS
from sweepmore.compose.settings import Sweep, read
from sweepmore.errors import Interrupted
from sweepmore.process.identity import on_this_host, this_process
from sweepmore.process.signals import Stop
from sweepmore.runs.names import ending
from sweepmore.storage.opening import existing_storage, open_storage, storage_errors
from sweepmore.storage.patience import Outage
from sweepmore.study import slots
from sweepmore.study.application import registered_by
from sweepmore.study.attributes import Budget, StudyAttributes, SweepDir
from sweepmore.study.terms import check_terms
from sweepmore.study.view import view
from sweepmore.sweep.checks import ask, base_config, check_named, check_rank
from sweepmore.sweep.closing import closing
from sweepmore.sweep.command_lines import command_line
from sweepmore.sweep.context import StudyContext, context_of, freeze, too_many_failures
from sweepmore.sweep.failures import failures, no_objective
from sweepmore.sweep.follow import Follower
from sweepmore.sweep.jobs import Jobs
from sweepmore.sweep.launcher_jobs import LauncherJobs
from sweepmore.sweep.launchers import RAY, SLURM, check_launcher, runs_in_parent
from sweepmore.sweep.note import write_note
from sweepmore.sweep.placing import placed
from sweepmore.sweep.preview import preview, shown_launcher, shown_shares
from sweepmore.sweep.processes import WORKER_VARIABLE, Processes
from sweepmore.sweep.ray_jobs import RayJobs, connect
from sweepmore.sweep.results import write_results
from sweepmore.sweep.slurm_jobs import SlurmJobs
from sweepmore.sweep.versions import Versions
from sweepmore.sweep.worker import ParentHere, work
from sweepmore.wording import plural, shown_path

# The crews of launchers that need one of their own, by the launcher's class.
JOBS: Mapping[str, type[Jobs[Any]]] = {SLURM: SlurmJobs, RAY: RayJobs}


def sweep(
    arguments: Sequence[str], config: DictConfig, context: HydraContext, task: TaskFunction
) -> None:
    """Run a study as ``hydra.sweeper`` says, or a worker's part of one.

    Prints what it does. Raises a UserError when the settings cannot be used or the sweep failed.
    After a signal, raises Interrupted once the workers have handed their trials back; a worker's
    own process then exits with 128 plus the signal's number.
    """
    check_rank()
    asked = read(arguments, config, context)
    with storage_errors(asked.url):
        # A worker is the same command again, plus words that silence Hydra's callbacks.
        if WORKER_VARIABLE in os.environ:
            part = json.loads(os.environ[WORKER_VARIABLE])
            words = [word for word in asked.hydra_overrides if word not in part["quiet"]]
            asked = replace(asked, hydra_overrides=tuple(words))
            stopped = work(asked, part, context, task)
            if stopped is not None:
                sys.exit(128 + stopped)
            return
        check_launcher(config.hydra.launcher)
        launcher = config.hydra.launcher.get("_target_", BASIC_LAUNCHER)
        asked = placed(asked, launcher)
        if runs_in_parent(config.hydra.launcher):
            launcher, asked = BASIC_LAUNCHER, replace(asked, n_jobs=1)
        Parent(asked, config, context, task, launcher).run()


@dataclass
class Parent:
    """Opens the study, launches workers, and plans, reaps and shows until they are done."""

    asked: Sweep
    config: DictConfig
    context: HydraContext
    task: TaskFunction
    launcher: str  # the dotted path of its class
    since: float = field(default_factory=time.time)  # when this start began, Unix time

    @property
    def is_local(self) -> bool:
        """Whether the workers are processes of this machine.

        They are when Hydra's basic launcher is to run several, or to place one, and this process's
        command line can start the application again.
        """
        return bool(self.asked.shares)

    def run(self) -> None:
        """Check, open the study, let workers run trials, print the outcome; raises as ``sweep``."""
        # Before anything is written: find out whether the settings can work, and which study the
        # command means. A dry run ends here, so it leaves no trace.
        asked, resolved = self.asked, self.sweep_dir()
        check_named(asked)
        loader = self.context.config_loader
        question = ask(asked, base_config(asked, self.config, loader), loader)
        application = registered_by(self.task, question["config"])
        check_terms(question, application)
        versions = Versions(asked, question, self.placed(resolved), application)
        if asked.settings.dry:
            version = versions.choose(existing_storage(asked.url, asked.engine))
            preview(asked, version.named, version.study, self.workers_shown())
            print("dry run: nothing was started")
            return
        if self.launcher == RAY:
            connect(self.config.hydra.launcher)
        # Open or create the study, and freeze its config files: later edits are for later studies.
        stop, outage = Stop(), Outage()
        storage = open_storage(asked.url, asked.engine, stop=stop, outage=outage)
        version = versions.open(storage)
        study = version.study
        assert study is not None
        StudyAttributes(budget=Budget(asked.n_trials, asked.gridded, asked.n_jobs)).write(study)
        self.warn_of_lost_folders(study)
        frozen = freeze(asked, study)
        shared = context_of(asked, study, frozen, self.since)
        # Say what is about to happen while there is still time to press Ctrl-C.
        preview(asked, version.named, study, self.workers_shown())
        self.warn_of_new_code(study, shared)
        sweep_dir = self.make_sweep_dir(shared, study, asked.cwd / resolved)
        # Let workers take trials; meanwhile the follower's thread plans, reaps and shows. `stop`
        # tells the storage not to wait for a database that is away, once the sweep is stopped.
        follower = Follower(asked, study)
        with follower:
            try:
                stopped = self.launch(study, shared, follower, outage)
            except Interrupted as interrupted:
                stopped = interrupted.signum
            stop.signum = stopped
        # Leave the answer, for programs and for people; sweepmore confirm reports its own studies.
        if not ending(study.study_name):
            folders = {shared.folder, *([sweep_dir] if sweep_dir.is_dir() else [])}
            write_results(view(study), asked.space, *folders)
            write_note(study)
        closing(asked, study, shared, follower.elapsed, stopped is not None)
        self.conclude(study, shared, stopped)

    def conclude(self, study: optuna.Study, shared: StudyContext, stopped: int | None) -> None:
        """Raise what the whole sweep ends with, and return when all went well.

        Raises Interrupted for the signal ``stopped``, and StudyError for a task that returned no
        number or for more failures than ``max_failure_rate`` allows.
        """
        asked = self.asked
        if stopped is not None:
            back = sum(a.attempt > 0 and a.reason is None for a in view(study).waiting)
            left = asked.n_trials - len(view(study).counted)
            stopped_in = f", {back} of them begun" if back else ""
            print(f"stopped: {plural(left, 'trial')} to go{stopped_in}; to continue, rerun:")
            print(f"         {command_line(asked.command, here=True)}")
            raise Interrupted(stopped)
        recent = slots.active_since(study, self.since)
        if (attempt := slots.without_objective(recent)) is not None:
            raise no_objective(attempt)
        failed, finished = slots.failure_share(recent)
        if too_many_failures(failed, finished, asked.n_trials, shared):
            raise failures(view(study), failed, finished, asked)

    def sweep_dir(self) -> str:
        """Resolve Hydra's sweep dir, where other programs look for results.

        This happens once, at the start, because the path often holds the time.
        """
        with composing():
            return str(self.config.hydra.sweep.dir)

    def make_sweep_dir(self, shared: StudyContext, study: optuna.Study, resolved: Path) -> Path:
        """Return the folder for the study's results, which may also hold its trials.

        The launcher and callbacks read it from the config and expect it on the disk, so it is
        written there, and created where somebody will use it.
        """
        kept = StudyAttributes.of(study).sweep_dir
        if (kept and kept.written) != self.asked.sweep_dir:
            print(
                f"warning: hydra.sweep.dir has changed; the trials of {study.study_name} stay in "
                f"{shared.sweep_dir or shared.folder}",
                file=sys.stderr,
            )
        sweep_dir = shared.sweep_dir or resolved
        if shared.sweep_dir is not None:
            with read_write(self.config.hydra):  # since Hydra 1.4 it is read-only in a sweeper
                self.config.hydra.sweep.dir = str(sweep_dir)
        written = OmegaConf.to_container(self.config.hydra.sweep, resolve=False)
        assert isinstance(written, dict)
        is_set = shared.sweep_dir is not None or written["dir"] != SWEEP_DEFAULTS["dir"]
        if is_set or self.config.hydra.get("callbacks"):
            sweep_dir.mkdir(parents=True, exist_ok=True)
        return sweep_dir

    def placed(self, resolved: str) -> SweepDir | None:
        """Where a new study's trials lie in Hydra's sweep dir; None when they do not."""
        written = self.asked.sweep_dir
        return None if written is None else SweepDir(written, resolved)

    def warn_of_lost_folders(self, study: optuna.Study) -> None:
        """Warn when the folder of earlier trials was removed, while their values still count.

        Only folders of this host in this ``outputs`` count; others cannot be checked from here.
        """
        folders = Counter(
            a.attrs.folder.parent
            for a in view(study).attempts
            if a.attrs.folder is not None and a.owner is not None and on_this_host(a.owner)
        )
        for folder, trials in folders.items():
            if folder.parent == self.asked.outputs / "studies" and not folder.exists():
                print(
                    f"warning: {shown_path(folder)} was removed, with the files of "
                    f"{plural(trials, 'trial')}. Their values still count; new trials use the "
                    "config files as they are now",
                    file=sys.stderr,
                )

    def warn_of_new_code(self, study: optuna.Study, shared: StudyContext) -> None:
        """Warn when earlier trials ran with other code: their values may not be comparable."""
        codes = {a.attrs.code for a in view(study).attempts if a.attrs.code is not None}
        earlier = codes - {shared.code}
        if earlier:
            print(
                f"warning: the code has changed since earlier trials ({', '.join(sorted(earlier))}"
                f" → {shared.code}); each trial records its own",
                file=sys.stderr,
            )

    def workers_shown(self) -> str:
        """Say who runs the trials, for the preview."""
        count = self.asked.n_jobs
        if self.is_local:
            return shown_shares(self.asked.shares)
        if runs_in_parent(self.config.hydra.launcher):
            return "1, this process: hydra.launcher.n_jobs is 1"
        if self.launcher == BASIC_LAUNCHER and count > 1:
            return "1, this process: its command line is that of another program"
        if self.launcher == BASIC_LAUNCHER:
            confirms = ending(self.asked.settings.study_name or "")
            return f"1, this process{'' if confirms else '; more with hydra.sweeper.n_jobs'}"
        return shown_launcher(self.launcher, self.config.hydra.launcher, count)

    def launch(
        self, study: optuna.Study, shared: StudyContext, follower: Follower, outage: Outage
    ) -> int | None:
        """Block until no trial is left to take; return the signal that ended the sweep, or None."""
        # Workers are processes of this machine, or a launcher's jobs; a single one is the parent
        # itself, which saves the start of another Python.
        crew = (self.asked, study, shared, follower.stopping, lambda: follower.gone, follower.reap)
        if self.is_local:
            return Processes(*crew).run()
        if self.launcher != BASIC_LAUNCHER:
            kind = JOBS.get(self.launcher, LauncherJobs)
            return kind(*crew, self.config, self.context, self.task).run()
        part = {
            "study": study.study_name,
            "index": 0,
            "parent": this_process(),
            "since": self.since,
        }
        here = ParentHere(lambda: follower.gone, outage)
        return work(self.asked, part, self.context, self.task, here)
