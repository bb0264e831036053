"""Workers as jobs of a Hydra launcher: submitit's, on this machine or on Slurm, or another's.

The file is longer than 250 lines because a launcher's job is one thing: what it runs, the thread
that waits for it, and how Slurm's queue is followed.
"""

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
# A job that Slurm no longer lists, and that has returned no result, is dead after this.
# submitit itself waits 15 s for the result to appear on a shared disk.
SILENT_SECONDS = 20.0


@dataclass
class LauncherWorker:
    """The task that a Hydra launcher runs instead of the application's: a worker of the study.

    Launchers pickle it, and submitit keeps the pickle on disk. So it holds the storage's URL as it
    was written, without the passwords to which it refers.
    """

    arguments: tuple[str, ...]
    config: DictConfig
    part: Mapping[str, Any]
    task: TaskFunction
    root: str
    more: Mapping[str, Any]  # of the parent's HydraContext

    def __call__(self, job: DictConfig) -> int | None:
        """Work, and return the signal that stopped the worker, or None.

        The signal has to be a result: submitit keeps nothing of an ``Interrupted``, and the parent
        would wait permanently.
        """
        os.environ[ROOT_VARIABLE] = self.root
        ignore_continue()  # otherwise submitit logs every SIGCONT
        try:
            with signals_raise():  # until the worker installs its own handlers
                return self._work(HydraConfig.get().job.num)
        except Interrupted as stopped:
            return stopped.signum

    def _work(self, index: int) -> int | None:
        context = fresh_context(self.config, self.more)
        asked = read(self.arguments, self.config, context)
        return work(asked, {**self.part, "index": index}, context, self.task)


class Job(threading.Thread):
    """One worker, in a thread of its own: a launcher returns only when its jobs have ended."""

    def __init__(self, launcher: Launcher, overrides: list[str], index: int, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.number: str | None = None  # Slurm's, once it has accepted the job
        # when Slurm last listed it (monotonic seconds); until then the job cannot be missing
        self.last_listed = math.inf
        self.cancelled = False
        self._ending = Ending.DIED
        self._launch = partial(launcher.launch, [overrides], initial_job_idx=index)
        self.start()

    @property
    def ending(self) -> Ending | None:
        """How the worker ended, by the launcher's account; None while it works."""
        return None if self.is_alive() else self._ending

    def mark_listed(self, number: str, when: float) -> None:
        """Note that Slurm listed the job under this number at ``when`` (monotonic seconds)."""
        self.number, self.last_listed = number, when

    def run(self) -> None:
        """Block until the launcher returns; a worker that raised has died."""
        try:
            (ended,) = self._launch()
            signum = ended.return_value
        except Exception as error:
            print(f"warning: a worker died: {first_line(error)}", file=sys.stderr)
        else:
            self._ending = Ending.DONE if signum is None else Ending.STOPPED


def follow_submissions() -> None:
    """Make submitit pass each job's number on, and stop it from asking ``sacct`` about jobs.

    ``Jobs`` follows the queue itself, which also works on a cluster without accounting. There,
    each question to ``sacct`` would add three lines of warnings to the sweep's output.
    """
    from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

    class Watcher(SlurmInfoWatcher):
        def register_job(self, job_id: str) -> None:
            super().register_job(job_id)
            submitting = threading.current_thread()
            if isinstance(submitting, Job):
                submitting.mark_listed(job_id, time.monotonic())

        def _make_command(self) -> None:
            """Ask nothing: a job ends by its result, or because ``Jobs`` says so."""

    SlurmJob.watcher = Watcher()


@dataclass
class Jobs(Crew[Job]):
    """Workers as jobs, one job for each worker so that each can be replaced by itself.

    Jobs on Slurm are followed in its queue, and cancelled when the sweep stops. Workers of other
    launchers end with their parent when they run on its host.
    """

    config: DictConfig
    context: HydraContext
    task: TaskFunction
    _is_stopping: bool = field(default=False, init=False)
    _looked: float = field(default=0.0, init=False)  # when Slurm was last asked (monotonic)
    _on_slurm: bool = field(init=False)
    _name: str = field(init=False)  # how this parent's jobs, and no others, begin in the queue
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

    def start(self, index: int, seat: int) -> Job:
        """Start one worker as a job, with a launcher of its own, whose keys say what it gets."""
        name = f"{self._name}-{index}"
        # On Slurm: name the job, because the queue is read by names before numbers are known. A
        # preempted worker hands its trial back and is replaced; requeued, it would come back, too.
        config = copy.deepcopy(self.config)
        if self._on_slurm:
            launcher = config.hydra.launcher
            with read_write(launcher), open_dict(launcher):
                launcher.name = name
                more = {"no-requeue": True, **launcher.additional_parameters}
                launcher.additional_parameters = more
        # Have the launcher run the worker in place of the application's task.
        with composing():
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=without_callbacks(self.context),
                task_function=self._worker,
                config=config,
            )
        # Give the job a folder of its own, apart from those of the trials that it will run.
        place = {"dir": str(config.hydra.sweep.dir), "subdir": f".workers/{index}"}
        words = [f"hydra.sweep.{key}={override_text(value)}" for key, value in place.items()]
        return Job(launcher, [*self.asked.space.fixed, *words], index, name)

    def wait(self, left: Sequence[Job]) -> None:
        time.sleep(0.1)
        if not self._on_slurm:
            return
        # Once in a while: read the queue. While stopping, cancel every job; once the study is done,
        # cancel those that have not begun, because they would wait for nothing.
        waiting = self._look(left)
        if self._is_stopping:
            self._cancel(left)
        elif waiting and self._is_done():
            self._cancel(waiting)

    def ending(self, job: Job) -> Ending | None:
        # The launcher knows best, when it has returned.
        if job.ending is not None:
            return job.ending
        if self._is_stopping and not self._on_slurm:
            return Ending.STOPPED  # there is no queue to ask; on this host it ends with its parent
        # Otherwise the queue decides: a job that is missing from it was cancelled, or has died.
        silent = self._looked - job.last_listed
        if job.cancelled and silent > 0:
            return Ending.STOPPED
        if silent > SILENT_SECONDS:
            problem = f"Slurm no longer has job {job.number} ({job.name})"
            print(f"warning: a worker died: {problem}", file=sys.stderr)
            return Ending.DIED
        return None

    def stop(self, left: Sequence[Job]) -> None:
        self._is_stopping = True

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
        """Read Slurm's queue, when there is news of it; return the jobs that have not begun."""
        hurry = self._is_stopping or any(job.cancelled for job in left)
        queue = slurm.queue(1.0 if hurry else slurm.LOOK_SECONDS)
        if queue is None or queue.asked <= self._looked:
            return []
        self._looked = queue.asked
        listed = {job.name: job for job in queue.jobs}
        for job in left:
            if job.name in listed:
                job.mark_listed(listed[job.name].number, queue.asked)
        return [job for job in left if job.name in listed and listed[job.name].pending]

    def _cancel(self, jobs: Sequence[Job]) -> None:
        """Cancel each job once, by its number, which works even when ``squeue`` fails."""
        new = {job.number: job for job in jobs if job.number is not None and not job.cancelled}
        if new and slurm.cancel(new):
            for job in new.values():
                job.cancelled, job.last_listed = True, time.monotonic()

    def _is_done(self) -> bool:
        with unbroken():
            return is_done(view(self.study), self.asked)
