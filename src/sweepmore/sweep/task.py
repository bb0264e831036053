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
    """Runs a worker's tasks one after the other, and says what a signal has to know of the one
    that runs."""

    task: TaskFunction
    context: HydraContext
    home: Path | None  # the working directory that each task begins in
    stop: Stop  # what this process was told
    lacks_callbacks: bool  # Hydra's are not in the context yet: the first config has them
    is_running: bool = field(default=False, init=False)
    # the running task asks `report`, so it can be stopped by its answer
    cooperates: bool = field(default=False, init=False)

    def take_callbacks(self, config: DictConfig) -> None:
        """Once a worker: those of its first trial hear of all of them."""
        if self.lacks_callbacks:
            self.context = replace(self.context, callbacks=callbacks_of(config))
            self.lacks_callbacks = False

    def run(self, trial: SweepTrial, config: DictConfig) -> JobReturn:
        """Run the task with ``config`` in ``hydra.sweep``'s folder; ``trial`` is the current one.

        The process is afterwards as it was. Raises Interrupted where a signal ended the task;
        what the task raised is in what is returned.
        """
        return_to(self.home)  # another worker's task may have removed it
        with unchanged():
            return self._job(trial, config)

    def _job(self, trial: SweepTrial, config: DictConfig) -> JobReturn:
        """The task itself; a signal is answered within."""
        self.cooperates, self.is_running = False, True
        try:
            if self.stop.signum is not None:  # since the trial was taken: its task does not begin
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
                # the task has put Python's own handler in the place of ours: this was Ctrl-C
                raise Interrupted(signal.SIGINT) from None
            raise
        finally:
            self.is_running = False


def objectives(ended: JobReturn, wanted: int, pruned: bool) -> list[float]:
    """The task's return value as ``wanted`` floats, NaN each where it was ``pruned``; raises what
    the task raised, and NoObjective for a value that is no number."""
    if (error := error_of(ended)) is not None:
        raise error
    return [math.nan] * wanted if pruned else returned(ended.return_value, wanted)
