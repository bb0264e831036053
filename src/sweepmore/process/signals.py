"""Ctrl-C, SIGTERM and a hang-up become a question that a loop asks at each step boundary."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

from sweepmore.errors import Interrupted

# SIGHUP is what a terminal sends when it is closed, SIGUSR2 what Slurm (through submitit) sends
# before it preempts a job; Windows has neither.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2")
STOPPING = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
HANGUP: int | None = getattr(signal, "SIGHUP", None)

# Slurm's SIGTERM comes once from slurmd and once through srun, 34 ms apart (observed with 22.05):
# another within this time is an echo, not a second request. SIGINT has no echo; people are fast.
ECHO_SECONDS = 0.3


def answered() -> tuple[int, ...]:
    """The signals of ``STOPPING`` that stop this process; ``nohup`` makes it ignore a hang-up."""
    return tuple(signum for signum in STOPPING if signum != HANGUP or not _is_ignored(signum))


def _is_ignored(signum: int) -> bool:
    return signal.getsignal(signum) is signal.SIG_IGN


def leave_terminal() -> None:
    """Send what is still written to a closed terminal nowhere.

    After a hang-up each write to it, by us or by the task, would be an error (EIO).
    """
    with contextlib.suppress(ImportError):  # Windows
        import termios

        for stream in (1, 2):
            try:
                termios.tcgetattr(stream)
            except termios.error as error:
                if error.args[0] == errno.EIO:
                    null = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(null, stream)
                    os.close(null)


class Stop:
    """Remembers the first signal, and distinguishes a second one from its echo."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._at = 0.0

    def hear(self, signum: int) -> Literal["first", "echo", "second"]:
        """Note a signal, and say whether it is the first, an echo of it, or a second request."""
        if signum == HANGUP:
            leave_terminal()
        if self.signum is None:
            self.signum, self._at = signum, time.monotonic()
            return "first"
        soon = time.monotonic() - self._at < ECHO_SECONDS
        return "echo" if soon and signum != signal.SIGINT else "second"


def in_main_thread() -> bool:
    """Whether this is the main thread: only it may set signal handlers, and they run in it."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def handled(answer: Callable[[int, FrameType | None], None]) -> Iterator[Mapping[int, Any]]:
    """Inside the block, ``answer`` handles the signals that stop this process.

    Yields the replaced handlers by signal number; they are restored on leaving. Outside the main
    thread nothing is replaced.
    """
    before = {}
    if in_main_thread():
        before = {signum: signal.signal(signum, answer) for signum in answered()}
    try:
        yield before
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def stop_signals() -> Iterator[Callable[[], int | None]]:
    """Inside the block, the first signal is remembered and the second raises ``Interrupted``.

    Yields a function that returns the first signal's number, or None. The previous handlers are
    restored on leaving, and the outer block's handler then hears of the signal: so blocks nest, a
    worker's around a run's. Outside the main thread Python allows no handlers, and the function
    always returns None.
    """
    stop = Stop()

    def remember(signum: int, frame: FrameType | None) -> None:
        if stop.hear(signum) == "second":
            raise Interrupted(signum)

    def requested() -> int | None:
        return stop.signum

    before: Mapping[int, Any] = {}
    try:
        with handled(remember) as before:
            yield requested
    finally:
        if (signum := stop.signum) is not None:
            outer = before.get(signum)
            if callable(outer) and outer is not signal.default_int_handler:
                outer(signum, None)


@contextmanager
def signals_raise() -> Iterator[None]:
    """Inside the block, a signal raises ``Interrupted`` at once.

    It is for calls that block and cannot be asked to stop. The previous handlers are restored on
    leaving.
    """

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if signum == HANGUP:
            leave_terminal()
        raise Interrupted(signum)

    with handled(interrupt):
        yield


def ignore_continue() -> None:
    """Remove a library's handler of SIGCONT, which Slurm sends together with SIGTERM.

    While one of the two waits for the main thread, Linux delivers the other to any other thread:
    its handler is then due in the main thread, but nothing wakes that from a call that blocks. In
    a sleep 31 of 60 such pairs went unheard; none where SIGCONT had no handler.
    """
    if hasattr(signal, "SIGCONT") and in_main_thread():
        signal.signal(signal.SIGCONT, signal.SIG_DFL)


# The signals received in each ``unbroken`` block that this process is in, the outermost first.
_unbroken: list[list[int]] = []


def held() -> int | None:
    """The first signal that waits for the end of an ``unbroken`` block; None without one."""
    return next((signum for received in _unbroken for signum in received), None)


@contextmanager
def unbroken() -> Iterator[None]:
    """Inside the block signals wait; on leaving they reach the previous handlers.

    It is for transactions: an exception raised by a handler in the middle of one can leave SQLite
    locked by the very process that then waits for the lock (observed within seconds when reports
    were interrupted at random times).
    """
    if not in_main_thread():
        yield
        return
    received: list[int] = []
    try:
        with handled(lambda signum, frame: received.append(signum)):
            _unbroken.append(received)
            try:
                yield
            finally:
                _unbroken.pop()
    finally:
        for signum in received:
            signal.raise_signal(signum)
