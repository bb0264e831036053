"""Waiting for a database server that is away for a while, and going on when it is back.

Optuna's storage raises at the first statement that finds no server, whatever ``pool_pre_ping``
says: that only replaces connections that died while nobody used them. So every call of ours to
the storage goes through here and is repeated. A call whose answer was lost may have been carried
out: a second write of an attribute, a parameter or a report changes nothing, a trial that was
enqueued twice is void (``studies.without_void``), and ends and claims of trials are looked up.
"""

from __future__ import annotations

import inspect
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import sqlalchemy.exc
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from sweepmore.errors import Interrupted, StudyError, said
from sweepmore.signals import held, signals_raise, unbroken

# How long a server may be away: a reboot takes minutes. Less than LEASE_SECONDS of slots.py, so
# that no other host takes a worker that waits for dead.
PATIENCE_SECONDS = 300.0
# Between two tries, growing, and drawn anew each time so that workers do not come back in step.
SHORTEST, LONGEST = 0.1, 5.0

# What the storage raises; not all of it is about the server.
ERRORS = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)

T = TypeVar("T")


class DatabaseAway(StudyError):
    """The server has not answered for too long. A trial that runs is not failed by it: its worker
    ends, and the trial is tried again like one whose worker died. Of a process that was told to
    stop the exit code is the signal's."""


def is_away(error: BaseException) -> bool:
    """Whether a call failed because of the server or the way to it, not of what was asked.

    SQLite has no server: its errors (locked for long, disk full) are final.
    """
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(cause, sqlalchemy.exc.DBAPIError):
        lost = isinstance(cause, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))
        return (lost or cause.connection_invalidated) and not isinstance(cause.orig, sqlite3.Error)
    # what a session says that goes on after its connection was lost, and a pool whose every
    # connection is being replaced
    after = (sqlalchemy.exc.PendingRollbackError, sqlalchemy.exc.TimeoutError)
    return isinstance(cause, after)


class Patience:
    """How this process waits for one server: in its main thread only. A background thread gets
    the error at once; those of ours come again by themselves, and nobody has to wait for them."""

    def __init__(self, name: str, limit: float = PATIENCE_SECONDS) -> None:
        self.name, self.limit = name, limit  # the server, as it may be shown
        self.told: Callable[[], int | None] = lambda: None
        self._away_since: float | None = None
        self._lock = threading.Lock()

    def call(self, function: Callable[[], T]) -> T:
        """What ``function`` returns; DatabaseAway after ``limit`` seconds without an answer.

        A signal ends the wait by ``Interrupted``: no transaction is open then.
        """
        try:
            found = function()
        except ERRORS as error:
            if not is_away(error):
                raise
            self._lost(error)
            if threading.current_thread() is not threading.main_thread():
                raise
            found = self._ask_again(function, error)
        self._back()
        return found

    @property
    def _stopped_by(self) -> int | None:
        """The signal that this process was told to stop by: then it does not wait to say so."""
        return self.told() or held()

    def _ask_again(self, function: Callable[[], T], error: Exception) -> T:
        """Signals are heard between two tries; of a host that is gone each takes 10 s."""
        deadline, pause = time.monotonic() + self.limit, SHORTEST
        try:
            with signals_raise():
                while self._stopped_by is None and time.monotonic() < deadline:
                    time.sleep(pause * random.uniform(0.5, 1.0))
                    pause = min(2 * pause, LONGEST)
                    try:
                        with unbroken():
                            return function()
                    except ERRORS as again:
                        if not is_away(again):
                            raise
                        error = again
        except Interrupted as interrupted:
            signum = interrupted.signum
            self.told = lambda: signum
            raise
        self.limit = 0.0  # nobody waits in vain twice
        raise self._given_up(error) from error

    def _lost(self, error: BaseException) -> None:
        with self._lock:
            if self._away_since is not None:
                return
            self._away_since = time.monotonic()
        if self.limit and self._stopped_by is None:
            print(
                f"warning: the database {self.name} does not answer ({said(error)}); waiting up "
                f"to {self.limit / 60:.3g} min. Nothing is lost; Ctrl-C ends it",
                file=sys.stderr,
                flush=True,
            )

    def _back(self) -> None:
        if self._away_since is None:
            return
        with self._lock:
            since, self._away_since = self._away_since, None
        if since is not None:
            text = f"the database answers again after {time.monotonic() - since:.0f} s"
            print(text, file=sys.stderr, flush=True)

    def _given_up(self, error: BaseException) -> DatabaseAway:
        seconds = time.monotonic() - (self._away_since or time.monotonic())
        away = DatabaseAway(
            f"The database {self.name} has not answered for {seconds:.0f} s ({said(error)}).",
            value=self.name,
            cure="Start it; the same command then goes on.",
        )
        if self._stopped_by is not None:
            away.exit_code = 128 + self._stopped_by
        return away


class PatientStorage:
    """Optuna's storage, of which every method waits for the server."""

    def __init__(self, storage: BaseStorage, patience: Patience) -> None:
        self.storage, self.patience = storage, patience

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.storage, name)
        if not inspect.ismethod(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            return self.patience.call(partial(found, *arguments, **named))

        return call

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """A trial that is as it should be at the second try was told at the first."""
        tries = 0

        def tell() -> bool:
            nonlocal tries
            tries += 1
            try:
                return self.storage.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if tries > 1 and self.storage.get_trial(trial_id).state is state:
                    return True
                raise

        return self.patience.call(tell)


def patient(storage: BaseStorage, patience: Patience) -> BaseStorage:
    """For Optuna, which asks no more of a storage than its methods."""
    return cast(BaseStorage, PatientStorage(storage, patience))


def heed(storage: BaseStorage, told: Callable[[], int | None]) -> None:
    """Have a storage wait for its server no more once ``told`` gives a signal."""
    cast(PatientStorage, storage).patience.told = told
