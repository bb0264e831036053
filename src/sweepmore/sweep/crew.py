"""The workers of a parent: it starts them, replaces the dead, and asks them to stop."""

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

from sweepmore.compose.settings import Sweep
from sweepmore.errors import StudyError
from sweepmore.process.identity import is_stopped, on_this_host
from sweepmore.process.signals import stop_signals, unbroken
from sweepmore.study.view import StudyView
from sweepmore.sweep.context import StudyContext, is_all_taken, is_done, must_end

# After this many deaths in a row without a finished trial, the cause is not the trials (a guess).
MOST_BARREN_DEATHS = 3
# How often a parent without workers looks at trials that run on other machines.
ELSEWHERE_SECONDS = 1.0


class Ending(Enum):
    """How a worker ended."""

    DONE = "done"  # it found nothing more to do
    STOPPED = "stopped"  # it was asked to stop
    DIED = "died"  # neither


Member = TypeVar("Member")


@dataclass
class Crew(ABC, Generic[Member]):
    """The ``n_jobs`` workers of a parent: processes of this machine, or jobs of a launcher.

    A subclass says how a worker starts, ends and stops; ``run`` is the same for all.
    """

    asked: Sweep
    study: optuna.Study
    shared: StudyContext
    stopping: Callable[[], None]  # tells the live line
    gone: Callable[[], StudyError | None]  # what was removed while the sweep ran, if anything
    reap: Callable[[], StudyView]  # frees the trials of dead workers

    @abstractmethod
    def start(self, index: int, seat: int) -> Member:
        """Start a worker; no other worker of this parent has had its index.

        Seats are numbered from 0 to ``n_jobs`` - 1. A worker has its own while it lives, and its
        replacement takes it over.
        """

    @abstractmethod
    def ending(self, member: Member) -> Ending | None:
        """Return how a worker has ended, by its own account; None while it works."""

    @abstractmethod
    def stop(self, left: Sequence[Member]) -> None:
        """Ask these workers to hand their trials back and end."""

    @abstractmethod
    def leave(self, left: Sequence[Member]) -> None:
        """Clean up, last of all.

        After a second signal or an error some workers are left; they have to end at once.
        """

    @abstractmethod
    def all_died(self, index: int, last: Member) -> StudyError:
        """Return the error for ``MOST_BARREN_DEATHS``; ``last`` is the last worker that died."""

    def pid(self, member: Member) -> int | None:
        """Return the id of a worker's process on this host; None when it is unknown."""
        return None

    def wait(self, left: Sequence[Member]) -> None:
        """Pause before the next look at the workers that are left."""
        time.sleep(0.05)

    def run(self) -> int | None:
        """Block until no trial is left to take; return the signal that ended the sweep, or None.

        Raises the error of ``all_died`` after ``MOST_BARREN_DEATHS``, and that of ``gone`` when
        the study, its folder or its database was removed.
        """
        indices = itertools.count()
        running: dict[int, Member] = {}
        seats: dict[int, int] = {}  # of those that run
        barren, counted, is_stopping = 0, 0, False

        def start() -> None:
            index, taken = next(indices), set(seats.values())
            seats[index] = next(seat for seat in itertools.count() if seat not in taken)
            running[index] = self.start(index, seats[index])

        with stop_signals() as stop:
            try:
                for _ in range(self.asked.n_jobs):
                    start()
                # Until the last worker has ended: wait, and stop if there is nothing to work on.
                while running:
                    self.wait([*running.values()])
                    self._refuse_if_gone()
                    # Once: pass the first signal on. A second one raises, and ends in `finally`.
                    if stop() is not None and not is_stopping:
                        is_stopping = True
                        self.stopping()
                        self.stop([*running.values()])
                    # Now and then: a worker has ended. While stopping, nobody replaces it.
                    has_counted = False
                    for index, member in list(running.items()):
                        ending = self.ending(member)
                        if ending is None:
                            continue
                        del running[index], seats[index]
                        if is_stopping:
                            continue
                        with unbroken():
                            snapshot = self.reap()
                        ending = really(ending, self.pid(member), snapshot)
                        if ending is Ending.DONE:
                            continue
                        # Count barren deaths, those with no trial finished since the one before:
                        # workers that die at once would otherwise be replaced without end. Several
                        # at the same look are one: joblib's all die with the first.
                        if ending is Ending.DIED and not has_counted:
                            now = len(snapshot.counted)
                            barren = barren + 1 if now == counted else 1
                            counted, has_counted = now, True
                        if barren >= MOST_BARREN_DEATHS:
                            raise self.all_died(index, member)
                        if not is_done(snapshot, self.asked):
                            start()
                    # At the end: the last worker found nothing to take, but a trial of another
                    # machine may still become free.
                    if not running and not is_stopping and self._left(stop):
                        start()
                return stop()
            finally:
                self.leave([*running.values()])

    def _left(self, stop: Callable[[], int | None]) -> bool:
        """Wait until it is clear whether a new worker is needed, and return whether it is.

        It is when a worker died with its trial at the very end, here or on another machine. While
        trials run elsewhere, this parent waits for them.
        """
        has_warned = False
        while stop() is None:
            self._refuse_if_gone()
            # Free the trials of dead workers first, for they are what might be left.
            with unbroken():
                snapshot, ending = self.reap(), must_end(self.study, self.shared)
            if ending or is_done(snapshot, self.asked):
                return False
            if not is_all_taken(snapshot, self.asked):
                return True
            has_warned = has_warned or say_who_is_stopped(snapshot)
            time.sleep(ELSEWHERE_SECONDS)
        return False

    def _refuse_if_gone(self) -> None:
        """Raise when what the sweep works on was removed."""
        if (gone := self.gone()) is not None:
            raise gone


def say_who_is_stopped(snapshot: StudyView) -> bool:
    """Warn when a trial that is waited for belongs to a stopped process; return whether it does.

    Such a process may continue at any time, so nobody else can take its trial. Only people can
    resolve this.
    """
    for attempt in snapshot.running:
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


def really(ending: Ending, pid: int | None, snapshot: StudyView) -> Ending:
    """How a worker ended, by the trial that its process left, whatever its exit code says.

    Its task may have left the process (``os._exit(0)``, ``os._exit(143)``), or a stopped worker
    could not hand the trial back. One that the kernel killed for lack of memory did not die in
    vain: the trial is tried again alone.
    """
    left = {
        attempt.reason
        for attempt in snapshot.attempts
        if attempt.owner is not None and on_this_host(attempt.owner) and attempt.owner["pid"] == pid
    }
    if "died" in left:
        return Ending.DIED
    return Ending.STOPPED if "out_of_memory" in left else ending
