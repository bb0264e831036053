"""The workers of a parent: started, replaced while trials are left, told to stop."""

from __future__ import annotations

import itertools
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

import optuna
from optuna.trial import TrialState

from sweepmore.compose.settings import Sweep
from sweepmore.errors import StudyError
from sweepmore.process.identity import is_stopped, on_this_host
from sweepmore.process.signals import stop_signals, unbroken
from sweepmore.study import slots
from sweepmore.study.view import StudyView, view
from sweepmore.sweep.context import StudyContext, is_all_taken, is_done, must_end

# Workers that died in a row without one trial being finished: then something else is wrong.
MOST_BARREN_DEATHS = 3
# How often a parent without workers looks at trials that run on other machines.
ELSEWHERE_SECONDS = 1.0


class Ending(Enum):
    """How a worker ended: found nothing more to do, was told to stop, or neither."""

    DONE = "done"
    STOPPED = "stopped"
    DIED = "died"


One = TypeVar("One")


@dataclass
class Crew(ABC, Generic[One]):
    """``n_jobs`` workers, whatever one is: a process of this machine, a job of a launcher."""

    asked: Sweep
    study: optuna.Study
    shared: StudyContext
    stopping: Callable[[], None]  # tells the live line
    gone: Callable[[], StudyError | None]  # what was removed under the sweep's hands

    @abstractmethod
    def start(self, index: int) -> One:
        """Start the worker of this index, which no other worker of this parent has had."""

    @abstractmethod
    def ending(self, one: One) -> Ending | None:
        """How a worker has ended, as far as it tells; None while it works."""

    @abstractmethod
    def stop(self, left: Sequence[One]) -> None:
        """Ask them to hand their trials back and end."""

    @abstractmethod
    def leave(self, left: Sequence[One]) -> None:
        """Last of all; some are left after a second signal or an error, and end at once."""

    @abstractmethod
    def all_died(self, index: int, last: One) -> StudyError:
        """What to say when ``MOST_BARREN_DEATHS`` is reached, by the last one and its index."""

    def pid(self, one: One) -> int | None:
        """The number of a worker's process on this host; None where nobody knows it."""
        return None

    def wait(self, left: Sequence[One]) -> None:
        """Pause between two looks at the workers that are left."""
        time.sleep(0.05)

    def run(self) -> int | None:
        """Block until no trial is left to take; returns the signal that ended it, or None.

        Raises what ``all_died`` says after ``MOST_BARREN_DEATHS``, and what ``gone`` says.
        """
        indices = itertools.count()
        running: dict[int, One] = {}
        barren, counted, told = 0, 0, False

        def start() -> None:
            index = next(indices)
            running[index] = self.start(index)

        with stop_signals() as stop:
            try:
                for _ in range(self.asked.settings.n_jobs):
                    start()
                # Until the last has ended: wait, pass a signal on, see who ended, replace them.
                while running:
                    self.wait([*running.values()])
                    self._refuse_if_gone()
                    if stop() is not None and not told:
                        told = True
                        self.stopping()
                        self.stop([*running.values()])
                    for index, one in list(running.items()):
                        ending = self.ending(one)
                        if ending is None:
                            continue
                        del running[index]
                        if told:
                            continue
                        # How it really ended, whatever it says itself.
                        with unbroken():
                            seen = view(self.study)
                        if vanished(self.pid(one), seen):
                            ending = Ending.DIED
                        if ending is Ending.DONE:
                            continue
                        # A death is barren where no trial was finished since the one before.
                        if ending is Ending.DIED:
                            now = len(seen.counted)
                            barren = barren + 1 if now == counted else 1
                            counted = now
                        if barren >= MOST_BARREN_DEATHS:
                            raise self.all_died(index, one)
                        if not is_done(seen, self.asked):
                            start()
                    # The last worker found nothing to take; others' trials may become free.
                    if not running and not told and self._left(stop):
                        start()
                return stop()
            finally:
                self.leave([*running.values()])

    def _left(self, stop: Callable[[], int | None]) -> bool:
        """Whether there is a trial for a new worker: of one that died at the very end, or of
        another machine's that has died since. While its trials run, this parent waits."""
        said = False
        while stop() is None:
            self._refuse_if_gone()
            # Free the trials of the dead, then count what is left.
            with unbroken():
                slots.reap(self.study, view(self.study), self.asked.settings.max_retries)
                seen, ending = view(self.study), must_end(self.study, self.shared)
            if ending or is_done(seen, self.asked):
                return False
            if not is_all_taken(seen, self.asked):
                return True
            said = said or say_who_is_stopped(seen)
            time.sleep(ELSEWHERE_SECONDS)
        return False

    def _refuse_if_gone(self) -> None:
        if (gone := self.gone()) is not None:
            raise gone


def say_who_is_stopped(seen: StudyView) -> bool:
    """Whether one of the trials that are waited for is run by a process that stands still: it may
    go on at any time, so its trial is nobody else's."""
    for attempt in seen.running:
        if attempt.owner is None or not on_this_host(attempt.owner):
            continue
        if is_stopped(attempt.owner):
            print(
                f"warning: trial {attempt.root} is waited for, and process {attempt.owner['pid']}, "
                "which runs it, is stopped (by Ctrl-Z?): continue it (fg), or end it",
                file=sys.stderr,
                flush=True,
            )
            return True
    return False


def vanished(pid: int | None, seen: StudyView) -> bool:
    """Whether a process left a trial unfinished, whatever its exit code says: its task has left
    the process (``os._exit(0)``, ``os._exit(143)``), or a worker that was stopped could not hand
    it back. By now the trial may have been found dead by others."""
    return pid is not None and any(
        attempt.owner is not None
        and on_this_host(attempt.owner)
        and attempt.owner["pid"] == pid
        and (attempt.state is TrialState.RUNNING or attempt.reason == "died")
        for attempt in seen.attempts
    )
