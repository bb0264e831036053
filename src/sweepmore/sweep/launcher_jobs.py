"""Jobs of a launcher that can cancel none, as joblib: they read in the study when to stop."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
from hydra.plugins.launcher import Launcher

from sweepmore.process.identity import is_alive, on_this_host
from sweepmore.process.signals import unbroken
from sweepmore.study import crews
from sweepmore.study.view import view
from sweepmore.sweep.crew import Ending
from sweepmore.sweep.jobs import Job, Jobs

# How often a parent that stops looks at the trials of its workers.
LOOK_SECONDS = 0.5
# A job without a trial that has not ended so long after the request to stop has never begun: it
# waits for room. One that runs reads the request every second.
NOT_BEGUN_SECONDS = 5.0
# A worker that is left after a second signal is killed after this (a guess, as for processes).
KILL_SECONDS = 5.0


@dataclass
class LauncherJobs(Jobs[Job]):
    """A crew whose name is in the study once it shall stop, see ``crews``."""

    _stopped: float = field(default=0.0, init=False)  # when they were asked (monotonic seconds)
    _looked: float = field(default=0.0, init=False)  # when their trials were last looked at
    _working: int = field(default=0, init=False)  # how many trials of theirs ran then

    def job(self, launcher: Launcher, overrides: list[str], index: int, name: str) -> Job:
        return Job(launcher, overrides, index, name)

    def part(self) -> dict[str, Any]:
        return {**super().part(), "crew": self._name}

    def wait(self, left: Sequence[Job]) -> None:
        time.sleep(0.1)
        if self._is_stopping and time.monotonic() - self._looked > LOOK_SECONDS:
            self._ask_to_stop()

    def ending(self, job: Job) -> Ending | None:
        waited = time.monotonic() - self._stopped
        if self._is_stopping and not self._working and waited > NOT_BEGUN_SECONDS:
            return job.ending or Ending.STOPPED
        return super().ending(job)

    def stop(self, left: Sequence[Job]) -> None:
        self._is_stopping, self._stopped = True, time.monotonic()
        self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        """Ask, again where another parent that stops has overwritten it; count who still works."""
        with unbroken():
            crews.ask_to_stop(self.study, self._name)
            self._working = len(self._trials())
        self._looked = time.monotonic()

    def _trials(self) -> list[Mapping[str, Any]]:
        """The processes in which a worker of this crew runs a trial."""
        running = view(self.study).running
        return [a.owner for a in running if a.owner is not None and a.attrs.crew == self._name]

    def leave(self, left: Sequence[Job]) -> None:
        """Have those that are left end: after a second signal at once, on this host.

        Otherwise an error ends the sweep, perhaps that of the storage; joblib would wait for them
        when this process ends.
        """
        if not left:
            return
        if not self._is_stopping:
            with contextlib.suppress(Exception):
                self._ask_to_stop()
            return
        with unbroken():
            owners = [owner for owner in self._trials() if on_this_host(owner)]
        for owner in owners:
            with contextlib.suppress(psutil.NoSuchProcess):
                if is_alive(owner):
                    psutil.Process(owner["pid"]).send_signal(signal.SIGINT)  # which has no echo
        deadline = time.monotonic() + KILL_SECONDS
        while any(job.is_alive() for job in left) and time.monotonic() < deadline:
            time.sleep(0.05)
        for owner in owners:
            with contextlib.suppress(psutil.NoSuchProcess):
                if is_alive(owner):
                    psutil.Process(owner["pid"]).kill()
