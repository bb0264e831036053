"""Workers as jobs of a Hydra launcher: joblib's, submitit's, Ray's or another's."""

from __future__ import annotations

import copy
import os
import secrets
import sys
import threading
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweepmore.compose.cli import ROOT_VARIABLE
from sweepmore.compose.composing import composing
from sweepmore.compose.hydra_internals import for_another_process, fresh_context, without_callbacks
from sweepmore.compose.overrides import override_text
from sweepmore.compose.settings import read
from sweepmore.errors import Interrupted, StudyError, first_line
from sweepmore.process.identity import this_process
from sweepmore.process.signals import ignore_continue, signals_raise
from sweepmore.runs.names import safe_name
from sweepmore.sweep.crew import MOST_BARREN_DEATHS, Crew, Ending
from sweepmore.sweep.worker import work


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
    cwd: str  # where the command was typed: Ray's workers begin elsewhere
    more: Mapping[str, Any]  # of the parent's HydraContext

    def __call__(self, job: DictConfig) -> int | None:
        """Work, and return the signal that stopped the worker, or None.

        The signal has to be a result: submitit keeps nothing of an ``Interrupted``, and the parent
        would wait permanently.
        """
        os.environ[ROOT_VARIABLE] = self.root
        os.chdir(self.cwd)
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
        self.error: Exception | None = None  # of a worker that has died
        self._ending = Ending.DIED
        self._launch = partial(launcher.launch, [overrides], initial_job_idx=index)
        self.start()

    @property
    def ending(self) -> Ending | None:
        """How the worker ended, by the launcher's account; None while it works."""
        return None if self.is_alive() else self._ending

    def run(self) -> None:
        """Block until the launcher returns; a worker that raised has died."""
        try:
            (ended,) = self._launch()
            signum = ended.return_value
        except Exception as error:
            self.error = error
        else:
            self._ending = Ending.DONE if signum is None else Ending.STOPPED


AnyJob = TypeVar("AnyJob", bound=Job)


@dataclass
class Jobs(Crew[AnyJob]):
    """Workers as jobs, one job for each worker so that each can be replaced by itself."""

    config: DictConfig
    context: HydraContext
    task: TaskFunction
    _is_stopping: bool = field(default=False, init=False)
    # how this parent's jobs, and no others, begin
    _name: str = field(init=False)

    def __post_init__(self) -> None:
        self._name = f"{safe_name(self.study.study_name)}-{secrets.token_hex(3)}"
        with composing():
            self.prepare()

    def prepare(self) -> None:
        """Do once, before the first job, what the launcher needs."""

    @abstractmethod
    def job(self, launcher: Launcher, overrides: list[str], index: int, name: str) -> AnyJob:
        """Start a job of this crew's kind."""

    def adapt(self, launcher: DictConfig, name: str) -> None:
        """Change ``hydra.launcher`` for one job with this name."""

    def part(self) -> dict[str, Any]:
        """What the parent says about each of its workers, see ``worker.work``."""
        return {
            "study": self.study.study_name,
            "parent": this_process(),
            "since": self.shared.since,
        }

    def start(self, index: int, seat: int) -> AnyJob:
        """Start one worker as a job, with a launcher of its own, whose keys say what it gets."""
        name = f"{self._name}-{index}"
        config = copy.deepcopy(self.config)
        self.adapt(config.hydra.launcher, name)
        # Have the launcher run the worker in place of the application's task.
        with composing():
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=without_callbacks(self.context),
                task_function=self._worker(),
                config=config,
            )
        # Give the job a folder of its own, apart from those of the trials that it will run.
        place = {"dir": str(config.hydra.sweep.dir), "subdir": f".workers/{index}"}
        words = [f"hydra.sweep.{key}={override_text(value)}" for key, value in place.items()]
        return self.job(launcher, [*self.asked.space.fixed, *words], index, name)

    def _worker(self) -> LauncherWorker:
        return LauncherWorker(
            self.asked.arguments,
            self.config,
            self.part(),
            self.task,
            str(self.asked.root),
            str(self.asked.cwd),
            for_another_process(self.context),
        )

    def ending(self, job: AnyJob) -> Ending | None:
        ended = job.ending
        if ended is Ending.DIED and job.error is not None and not self._is_stopping:
            print(f"warning: a worker died: {self.said(job.error)}", file=sys.stderr)
        return ended

    def said(self, error: Exception) -> str:
        """What a launcher says of a dead worker, in one line."""
        return first_line(error)

    def all_died(self, index: int, last: AnyJob) -> StudyError:
        return StudyError(
            f"The launcher's workers ended {MOST_BARREN_DEATHS} times without a trial.",
            value=MOST_BARREN_DEATHS,
            cure="Read the launcher's own logs, then rerun the same command to continue.",
        )
