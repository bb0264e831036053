"""The thread beside a worker: it renews its trial's lease, and checks that its parent still lives.

The lease tells other hosts that the worker lives (``slots.lives``); on its own host the process
shows that.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from sweepmore.errors import StudyError
from sweepmore.process.identity import is_alive, on_this_host
from sweepmore.process.signals import Stop
from sweepmore.storage.patience import StudyGone, is_away
from sweepmore.study import crews, slots

# How often a worker renews its lease; after a failure it tries ten times as often.
RENEW_SECONDS = slots.LEASE_SECONDS / 10
# How often a worker checks whether the parent that started it still lives.
WATCH_SECONDS = 0.2
# How often a launcher's worker reads in the study whether it shall stop: 2 ms each time.
ASK_SECONDS = 1.0


@dataclass
class Watch:
    """Renews the lease of the running trial, inside its ``with`` block.

    When the worker's parent or its study is gone, or its crew is asked to stop, it sends this
    process a SIGTERM, which the main thread answers like any other: the trial is handed back where
    that is possible. Nothing is sent to a worker that has heard of it already, as by Ctrl-C in the
    terminal: it would be a second signal.
    """

    study: optuna.Study
    parent: Mapping[str, Any]  # its identity
    gone: Callable[[], StudyError | None] = lambda: None  # see worker.ParentHere
    crew: str | None = None  # see study.crews
    stop: Stop = field(default_factory=Stop)  # the signals that this process has received
    number: int | None = None  # of the trial that runs; None between two
    _done: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    @contextmanager
    def leasing(self, number: int) -> Iterator[None]:
        """Renew the lease of the trial with this number, inside the block."""
        self.number = number
        try:
            yield
        finally:
            self.number = None

    def _watch(self) -> None:
        due, sent = time.monotonic() + RENEW_SECONDS, False
        ask = time.monotonic()
        while not self._done.wait(WATCH_SECONDS):
            # Once: nobody is left to work for. The main thread's handler answers the signal.
            orphaned = on_this_host(self.parent) and not is_alive(self.parent)
            if not orphaned and self.crew is not None and time.monotonic() > ask:
                orphaned, ask = self._is_asked_to_stop(), time.monotonic() + ASK_SECONDS
            if not sent and (orphaned or self.gone() is not None):
                if self.stop.signum is None:
                    os.kill(os.getpid(), signal.SIGTERM)
                sent = True
            # Once in a while: renew the lease, early enough for several attempts before it ends.
            if time.monotonic() > due:
                pause = RENEW_SECONDS if self.renew() else RENEW_SECONDS / 10
                due = time.monotonic() + pause

    def _is_asked_to_stop(self) -> bool:
        try:
            return self.crew is not None and crews.is_asked_to_stop(self.study, self.crew)
        except Exception:  # the database is away, or the study; the main thread notices as well
            return False

    def renew(self) -> bool:
        """Renew the running trial's lease; return False when that has to be tried again soon."""
        number = self.number
        if number is None:
            return True
        try:
            slots.renew_lease(self.study, number)
        except (UpdateFinishedTrialError, StudyGone):  # the main thread will notice as well
            return True
        except Exception as error:  # the next attempt comes before the lease ends
            if not is_away(error):  # the connection itself says that the database is away
                print(f"warning: the lease of trial {number} was not renewed: {error}")
            return False
        return True
