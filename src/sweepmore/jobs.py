"""Workers as jobs of a Hydra launcher: submitit's, on this machine or on Slurm, or another's."""

from __future__ import annotations

import copy
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from sweepmore import slurm
from sweepmore.cli import ROOT_VARIABLE
from sweepmore.crew import MOST_BARREN_DEATHS, Crew, Ending
from sweepmore.errors import Interrupted, StudyError
from sweepmore.join import is_done, work
from sweepmore.owner import this_process
from sweepmore.settings import read
from sweepmore.signals import signals_raise, unbroken
from sweepmore.studies import view

SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
# A job that Slurm no longer lists and of which the launcher heard nothing is dead after this.
# submitit itself waits 15 s for the result to appear on a shared disk.
SILENT_SECONDS = 20.0


@dataclass
class LauncherWorker:
    """The task that a Hydra launcher runs instead of the application's: a worker of the study.

    Launchers pickle it, and submitit keeps the pickle: so it holds the storage as written.
    """

    arguments: tuple[str, ...]
    config: DictConfig
    part: Mapping[str, Any]
    task: TaskFunction
    root: str

    def __call__(self, job: DictConfig) -> int | None:
        """The signal that it was told to stop by, as a result: of an ``Interrupted`` submitit
        would keep nothing, and its parent would wait for ever."""
        os.environ[ROOT_VARIABLE] = self.root
        try:
            with signals_raise():  # until the worker's own handlers
                return self._work(HydraConfig.get().job.num)
        except Interrupted as stopped:
            return stopped.signum

    def _work(self, index: int) -> int | None:
        from hydra._internal.callbacks import Callbacks
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from hydra._internal.utils import create_config_search_path

        context = HydraContext(
            config_loader=ConfigLoaderImpl(create_config_search_path(None)),
            callbacks=Callbacks(self.config),
        )
        asked = read(self.arguments, self.config, context)
        return work(asked, {**self.part, "index": index}, context, self.task)


class Job:
    """One worker, waited for in a thread: a launcher returns only when all its jobs have ended."""

    def __init__(self, launcher: Launcher, overrides: list[str], index: int, name: str) -> None:
        self.name = name
        self.listed = time.monotonic()  # when Slurm last knew of it
        self.cancelled = False
        self._ending = Ending.DIED
        self._thread = threading.Thread(
            target=self._wait, args=(launcher, overrides, index), daemon=True
        )
        self._thread.start()

    @property
    def ending(self) -> Ending | None:
        return None if self._thread.is_alive() else self._ending

    def _wait(self, launcher: Launcher, overrides: list[str], index: int) -> None:
        try:
            (ended,) = launcher.launch([overrides], initial_job_idx=index)
            told = ended.return_value
        except Exception as error:
            print(f"warning: a worker died: {str(error).splitlines()[0]}", file=sys.stderr)
        else:
            self._ending = Ending.DONE if told is None else Ending.STOPPED


@dataclass
class Jobs(Crew[Job]):
    """A job a worker, so that each is replaced on its own; jobs on Slurm are also followed there
    and cancelled. Workers of other launchers end with their parent where they are on its host."""

    config: DictConfig
    context: HydraContext
    task: TaskFunction
    _told: bool = field(default=False, init=False)
    _looked: float = field(default=0.0, init=False)
    _blind: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._on_slurm = self.config.hydra.launcher._target_ == SLURM
        # the names of its jobs in Slurm's queue: of this parent alone
        self._name = f"{self.study.study_name}-{secrets.token_hex(3)}"
        part = {
            "study": self.study.study_name,
            "parent": this_process(),
            "since": self.search.since,
        }
        root = str(self.asked.root)
        self._worker = LauncherWorker(self.asked.arguments, self.config, part, self.task, root)
        if self._on_slurm:
            slurm.forget_own_job()

    def start(self, index: int) -> Job:
        name = f"{self._name}-{index}"
        config = copy.deepcopy(self.config)
        if self._on_slurm:
            launcher = config.hydra.launcher
            with open_dict(launcher):
                launcher.name = name
                # it hands back when preempted and is replaced; requeued, it would come back as well
                more = {"no-requeue": True, **launcher.additional_parameters}
                launcher.additional_parameters = more
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self._worker, config=config
        )
        return Job(launcher, list(self.asked.space.fixed), index, name)

    def wait(self, left: Sequence[Job]) -> None:
        time.sleep(0.1)
        if self._on_slurm:
            self._look(left)

    def ending(self, one: Job) -> Ending | None:
        if one.ending is not None:
            return one.ending
        if self._told and (self._blind or not self._on_slurm):
            return Ending.STOPPED  # nobody to ask; on this host it ends with this process
        silent = self._looked - one.listed
        if one.cancelled and silent > 0:
            return Ending.STOPPED
        if silent > SILENT_SECONDS:
            print(f"warning: a worker died: Slurm has no job {one.name}", file=sys.stderr)
            return Ending.DIED
        return None

    def stop(self, left: Sequence[Job]) -> None:
        self._told = True
        self._looked = 0.0

    def leave(self, left: Sequence[Job]) -> None:
        if self._on_slurm and left:
            names = {job.name for job in left}
            slurm.cancel(job for job in slurm.queued(1.0) or () if job.name in names)

    def all_died(self, index: int) -> StudyError:
        return StudyError(
            f"The launcher's workers ended {MOST_BARREN_DEATHS} times without a trial.",
            value=MOST_BARREN_DEATHS,
            cure="Read the launcher's own logs; the same command goes on after the repair.",
        )

    def _look(self, left: Sequence[Job]) -> None:
        """At Slurm's queue; cancels what it holds for nothing: all when told to stop, what has
        not begun when no trial is left for it."""
        hurry = self._told or any(job.cancelled for job in left)
        often = 1.0 if hurry else slurm.LOOK_SECONDS
        if time.monotonic() - self._looked < often:
            return
        queued = slurm.queued(often)
        self._blind = queued is None
        if queued is None:
            return
        self._looked = time.monotonic()
        listed = {job.name: job for job in queued}
        for job in left:
            if job.name in listed:
                job.listed = self._looked
        if self._told:
            needless = [job for job in left if job.name in listed and not job.cancelled]
        else:
            pending = [job for job in left if job.name in listed and listed[job.name].pending]
            needless = pending if pending and self._is_done() else []
        if needless:
            slurm.cancel(listed[job.name] for job in needless)
            for job in needless:
                job.cancelled = True

    def _is_done(self) -> bool:
        with unbroken():
            return is_done(view(self.study), self.asked)
