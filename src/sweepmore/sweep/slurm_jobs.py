"""Workers as jobs on Slurm, submitted by submitit and followed in Slurm's own queue."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, open_dict, read_write

from sweepmore.process import slurm
from sweepmore.process.signals import unbroken
from sweepmore.study.view import view
from sweepmore.sweep.context import is_done
from sweepmore.sweep.crew import Ending
from sweepmore.sweep.jobs import Job, Jobs

# A job that Slurm no longer lists, and that has returned no result, is dead after this.
# submitit itself waits 15 s for the result to appear on a shared disk.
SILENT_SECONDS = 20.0


class SlurmJob(Job):
    """A job, and what Slurm last said about it."""

    number: str | None = None  # Slurm's, once it has accepted the job
    # when Slurm last listed it (monotonic seconds); until then the job cannot be missing
    last_listed = math.inf
    cancelled = False

    def mark_listed(self, number: str, when: float) -> None:
        """Note that Slurm listed the job under this number at ``when`` (monotonic seconds)."""
        self.number, self.last_listed = number, when


def follow_submissions() -> None:
    """Make submitit pass each job's number on, and stop it from asking ``sacct`` about jobs.

    ``SlurmJobs`` follows the queue itself, which also works on a cluster that keeps no accounts.
    There, each question to ``sacct`` would add three lines of warnings to the sweep's output.
    """
    from submitit.slurm import slurm as submitits

    class Watcher(submitits.SlurmInfoWatcher):
        def register_job(self, job_id: str) -> None:
            super().register_job(job_id)
            submitting = threading.current_thread()
            if isinstance(submitting, SlurmJob):
                submitting.mark_listed(job_id, time.monotonic())

        def _make_command(self) -> None:
            """Ask nothing: a job ends by its result, or because ``SlurmJobs`` says so."""

    submitits.SlurmJob.watcher = Watcher()


@dataclass
class SlurmJobs(Jobs[SlurmJob]):
    """Jobs on Slurm: they are cancelled when the sweep stops."""

    _looked: float = field(default=0.0, init=False)  # when Slurm was last asked (monotonic)

    def prepare(self) -> None:
        slurm.forget_own_job()
        follow_submissions()

    def job(self, launcher: Launcher, overrides: list[str], index: int, name: str) -> SlurmJob:
        return SlurmJob(launcher, overrides, index, name)

    def adapt(self, launcher: DictConfig, name: str) -> None:
        """Name the job, because the queue is read by names before numbers are known.

        A preempted worker hands its trial back and is replaced; requeued, it would come back, too.
        """
        with read_write(launcher), open_dict(launcher):
            launcher.name = name
            more: dict[str, Any] = {"no-requeue": True, **launcher.additional_parameters}
            launcher.additional_parameters = more

    def wait(self, left: Sequence[SlurmJob]) -> None:
        time.sleep(0.1)
        # Once in a while: read the queue. While stopping, cancel every job; once the study is done,
        # cancel those that have not begun, because they would wait for nothing.
        waiting = self._look(left)
        if self._is_stopping:
            self._cancel(left)
        elif waiting and self._is_done():
            self._cancel(waiting)

    def ending(self, job: SlurmJob) -> Ending | None:
        # The launcher knows best, when it has returned.
        if (ended := super().ending(job)) is not None:
            return ended
        # Otherwise the queue decides: a job that is missing from it was cancelled, or has died.
        silent = self._looked - job.last_listed
        if job.cancelled and silent > 0:
            return Ending.STOPPED
        if silent > SILENT_SECONDS:
            problem = f"Slurm no longer has job {job.number} ({job.name})"
            print(f"warning: a worker died: {problem}", file=sys.stderr)
            return Ending.DIED
        return None

    def stop(self, left: Sequence[SlurmJob]) -> None:
        self._is_stopping = True

    def leave(self, left: Sequence[SlurmJob]) -> None:
        self._cancel(left)
        slurm.forget_queue()  # so that whoever died with them is found dead at once
        if missed := [job.number or job.name for job in left if not job.cancelled]:
            cure = "Slurm has not taken their scancel"
            print(f"warning: jobs {', '.join(missed)} may work on: {cure}", file=sys.stderr)

    def _look(self, left: Sequence[SlurmJob]) -> list[SlurmJob]:
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

    def _cancel(self, jobs: Sequence[SlurmJob]) -> None:
        """Cancel each job once, by its number, which works even when ``squeue`` fails."""
        new = {job.number: job for job in jobs if job.number is not None and not job.cancelled}
        if new and slurm.cancel(new):
            for job in new.values():
                job.cancelled, job.last_listed = True, time.monotonic()

    def _is_done(self) -> bool:
        with unbroken():
            return is_done(view(self.study), self.asked)
