"""Workers as jobs of a Hydra launcher: submitit's, on this machine or on Slurm, or another's."""

from __future__ import annotations

import copy
import math
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from sweepmore.compose.cli import ROOT_VARIABLE
from sweepmore.compose.composing import composing
from sweepmore.compose.hydra_internals import for_another_process, fresh_context, without_callbacks
from sweepmore.compose.overrides import override_text
from sweepmore.compose.settings import read
from sweepmore.errors import Interrupted, StudyError, first_line
from sweepmore.process import slurm
from sweepmore.process.identity import this_process
from sweepmore.process.signals import ignore_continue, signals_raise, unbroken
from sweepmore.runs.names import safe_name
from sweepmore.study.view import view
from sweepmore.sweep.context import is_done
from sweepmore.sweep.crew import MOST_BARREN_DEATHS, Crew, Ending
from sweepmore.sweep.worker import work

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
    more: Mapping[str, Any]  # of the parent's HydraContext

    def __call__(self, job: DictConfig) -> int | None:
        """The signal that it was told to stop by, as a result: of an ``Interrupted`` submitit
        would keep nothing, and its parent would wait for ever."""
        os.environ[ROOT_VARIABLE] = self.root
        ignore_continue()  # submitit logs it
        try:
            with signals_raise():  # until the worker's own handlers
                return self._work(HydraConfig.get().job.num)
        except Interrupted as stopped:
            return stopped.signum

    def _work(self, index: int) -> int | None:
        context = fresh_context(self.config, self.more)
        asked = read(self.arguments, self.config, context)
        return work(asked, {**self.part, "index": index}, context, self.task)


class Job(threading.Thread):
    """One worker, waited for in a thread: a launcher returns only when all its jobs have ended."""

    def __init__(self, launcher: Launcher, overrides: list[str], index: int, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.number: str | None = None  # Slurm's, once it has taken the job
        self.known = math.inf  # when Slurm last had it; nobody misses what was not there yet
        self.cancelled = False
        self._ending = Ending.DIED
        self._launch = partial(launcher.launch, [overrides], initial_job_idx=index)
        self.start()

    @property
    def ending(self) -> Ending | None:
        return None if self.is_alive() else self._ending

    def seen(self, number: str, when: float) -> None:
        """Slurm has it, as of the monotonic clock."""
        self.number, self.known = number, when

    def run(self) -> None:
        try:
            (ended,) = self._launch()
            told = ended.return_value
        except Exception as error:
            print(f"warning: a worker died: {first_line(error)}", file=sys.stderr)
        else:
            self._ending = Ending.DONE if told is None else Ending.STOPPED


def follow_submissions() -> None:
    """Have submitit tell a job its number, and not ask ``sacct`` of it.

    The queue is followed here, with accounting and without, where each question to ``sacct`` would
    be three lines of warning among the sweep's own.
    """
    from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

    class Watcher(SlurmInfoWatcher):
        def register_job(self, job_id: str) -> None:
            super().register_job(job_id)
            submitting = threading.current_thread()
            if isinstance(submitting, Job):
                submitting.seen(job_id, time.monotonic())

        def _make_command(self) -> None:
            """Nothing is asked: a job ends by its result, or ``Jobs`` says so."""

    SlurmJob.watcher = Watcher()


@dataclass
class Jobs(Crew[Job]):
    """A job a worker, so that each is replaced on its own; jobs on Slurm are also followed there
    and cancelled. Workers of other launchers end with their parent where they are on its host."""

    config: DictConfig
    context: HydraContext
    task: TaskFunction
    _told: bool = field(default=False, init=False)
    _looked: float = field(default=0.0, init=False)  # when Slurm was asked what it has
    _on_slurm: bool = field(init=False)
    _name: str = field(init=False)  # of its jobs in Slurm's queue: of this parent alone
    _worker: LauncherWorker = field(init=False)

    def __post_init__(self) -> None:
        self._on_slurm = self.config.hydra.launcher._target_ == SLURM
        self._name = f"{safe_name(self.study.study_name)}-{secrets.token_hex(3)}"
        part = {
            "study": self.study.study_name,
            "parent": this_process(),
            "since": self.shared.since,
        }
        self._worker = LauncherWorker(
            self.asked.arguments,
            self.config,
            part,
            self.task,
            str(self.asked.root),
            for_another_process(self.context),
        )
        if self._on_slurm:
            slurm.forget_own_job()
            follow_submissions()

    def start(self, index: int) -> Job:
        """One job of one worker, by a launcher of its own: so each can be replaced on its own."""
        name = f"{self._name}-{index}"
        # Slurm's name for the job is how its queue is read.
        config = copy.deepcopy(self.config)
        if self._on_slurm:
            launcher = config.hydra.launcher
            with read_write(launcher), open_dict(launcher):
                launcher.name = name
                # it hands back when preempted and is replaced; requeued, it would come back as well
                more = {"no-requeue": True, **launcher.additional_parameters}
                launcher.additional_parameters = more
        # The launcher runs the worker in the application's place.
        with composing():
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=without_callbacks(self.context),
                task_function=self._worker,
                config=config,
            )
        # the job's own folder, which is none of a trial's
        place = {"dir": str(config.hydra.sweep.dir), "subdir": f".workers/{index}"}
        words = [f"hydra.sweep.{key}={override_text(value)}" for key, value in place.items()]
        return Job(launcher, [*self.asked.space.fixed, *words], index, name)

    def wait(self, left: Sequence[Job]) -> None:
        time.sleep(0.1)
        if not self._on_slurm:
            return
        # When told to stop, cancel them all; when the study is done, those that have not begun.
        waiting = self._look(left)
        if self._told:
            self._cancel(left)
        elif waiting and self._is_done():
            self._cancel(waiting)

    def ending(self, one: Job) -> Ending | None:
        if one.ending is not None:
            return one.ending
        if self._told and not self._on_slurm:
            return Ending.STOPPED  # nobody to ask; on this host it ends with this process
        silent = self._looked - one.known
        if one.cancelled and silent > 0:
            return Ending.STOPPED
        if silent > SILENT_SECONDS:
            said = f"Slurm no longer has job {one.number} ({one.name})"
            print(f"warning: a worker died: {said}", file=sys.stderr)
            return Ending.DIED
        return None

    def stop(self, left: Sequence[Job]) -> None:
        self._told = True

    def leave(self, left: Sequence[Job]) -> None:
        if not self._on_slurm:
            return
        self._cancel(left)
        slurm.forget_queue()  # so that whoever died with them is found dead at once
        if missed := [job.number or job.name for job in left if not job.cancelled]:
            cure = "Slurm has not taken their scancel"
            print(f"warning: jobs {', '.join(missed)} may work on: {cure}", file=sys.stderr)

    def all_died(self, index: int, last: Job) -> StudyError:
        return StudyError(
            f"The launcher's workers ended {MOST_BARREN_DEATHS} times without a trial.",
            value=MOST_BARREN_DEATHS,
            cure="Read the launcher's own logs, then rerun the same command to continue.",
        )

    def _look(self, left: Sequence[Job]) -> list[Job]:
        """At Slurm's queue, where it is another than before; returns what has not begun in it."""
        hurry = self._told or any(job.cancelled for job in left)
        queue = slurm.queue(1.0 if hurry else slurm.LOOK_SECONDS)
        if queue is None or queue.asked <= self._looked:
            return []
        self._looked = queue.asked
        listed = {one.name: one for one in queue.jobs}
        for job in left:
            if job.name in listed:
                job.seen(listed[job.name].number, queue.asked)
        return [job for job in left if job.name in listed and listed[job.name].pending]

    def _cancel(self, jobs: Sequence[Job]) -> None:
        """Once each, by the number: that needs no answer of ``squeue``."""
        new = {job.number: job for job in jobs if job.number is not None and not job.cancelled}
        if new and slurm.cancel(new):
            for job in new.values():
                job.cancelled, job.known = True, time.monotonic()

    def _is_done(self) -> bool:
        with unbroken():
            return is_done(view(self.study), self.asked)
