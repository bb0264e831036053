"""The application's task, run in this process as Hydra runs a job of a multirun."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

from hydra.core.utils import JobReturn, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweepmore.compose.hydra_internals import callbacks_of, error_of
from sweepmore.errors import Interrupted
from sweepmore.process.signals import Stop
from sweepmore.process.state import return_to, unchanged
from sweepmore.trial import SweepTrial, entered
from sweepmore.values import returned


@dataclass
class TaskRunner:
    """Runs a worker's tasks one after the other.

    ``is_running`` and ``cooperates`` say what the signal handler has to know about the present one.
    """

    task: TaskFunction
    context: HydraContext
    home: Path | None  # the working directory that each task begins in
    stop: Stop  # the signals that this process has received
    lacks_callbacks: bool  # Hydra's are not in the context yet; the first config names them
    is_running: bool = field(default=False, init=False)
    # the running task calls `report`, so the answer can stop it
    cooperates: bool = field(default=False, init=False)

    def take_callbacks(self, config: DictConfig) -> None:
        """Take Hydra's callbacks from a worker's first config; they hear from all its trials."""
        if self.lacks_callbacks:
            self.context = replace(self.context, callbacks=callbacks_of(config))
            self.lacks_callbacks = False

    def run(self, trial: SweepTrial, config: DictConfig) -> JobReturn:
        """Run the task with ``config`` in the folder of ``hydra.sweep``.

        ``trial`` is what the task sees as the current one. Afterwards the process is as it was, so
        that trials cannot influence each other. What the task raised is in the result; Interrupted
        is raised when a signal ended it.
        """
        return_to(self.home)  # a task may have removed its working directory
        with unchanged():
            return self._job(trial, config)

    def _job(self, trial: SweepTrial, config: DictConfig) -> JobReturn:
        """Run the task by Hydra's own ``run_job``, with the signal handler informed about it."""
        self.cooperates, self.is_running = False, True
        try:
            # A signal came after the trial was taken: its task need not begin.
            if self.stop.signum is not None:
                raise Interrupted(self.stop.signum)
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
                # The task has replaced our handler by Python's own, so this was Ctrl-C.
                raise Interrupted(signal.SIGINT) from None
            raise
        finally:
            self.is_running = False


def objectives(ended: JobReturn, wanted: int, pruned: bool) -> list[float]:
    """Return the task's result as ``wanted`` floats, all of them NaN when it was ``pruned``.

    Raises what the task raised, and NoObjective when its result is not ``wanted`` numbers.
    """
    if (error := error_of(ended)) is not None:
        raise error
    return [math.nan] * wanted if pruned else returned(ended.return_value, wanted)
