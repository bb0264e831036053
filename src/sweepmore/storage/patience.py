"""Waiting for a database that is away for a while, and going on when it is back.

A server may be restarted; SQLite's file may be locked by another program.

Optuna's storage raises at the first statement that finds no server, whatever ``pool_pre_ping``
says: that only replaces connections that died while nobody used them. So every call of ours to
the storage goes through here and is repeated. A call whose answer was lost may have been carried
out: a second write of an attribute, a parameter or a report changes nothing, a trial that was
enqueued twice is void (``view.without_void``), and ends and claims of trials are looked up.
"""

from __future__ import annotations

import inspect
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

import sqlalchemy.exc
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from sweepmore.errors import Interrupted, StudyError, said
from sweepmore.process.signals import Stop, held, in_main_thread, signals_raise, unbroken
from sweepmore.storage.urls import BUSY_SECONDS

# How long a database may be away: a reboot takes minutes. Less than LEASE_SECONDS of slots.py, so
# that no other host takes a worker that waits for dead.
PATIENCE_SECONDS = 300.0
# Between two tries, growing, and drawn anew each time so that workers do not come back in step.
SHORTEST, LONGEST = 0.1, 5.0

# What the storage raises; not all of it is about the server.
ERRORS = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)

T = TypeVar("T")


class StudyGone(StudyError):
    """What a sweep works on was removed under its hands: nothing more can be told to it."""


class DatabaseAway(StudyError):
    """The database has not answered for too long. A trial that runs is not failed by it: its worker
    ends, and the trial is tried again like one whose worker died. Of a process that was told to
    stop the exit code is the signal's."""


def is_locked(error: BaseException) -> bool:
    """Whether another process kept SQLite's file to itself for longer than a call waits."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    code = getattr(getattr(cause, "orig", None), "sqlite_errorcode", 0)
    return bool(code & 0xFF == sqlite3.SQLITE_BUSY)  # the rest says in which of several ways


def is_away(error: BaseException) -> bool:
    """Whether a call failed because of the server or the way to it, not of what was asked.

    SQLite has no server: its errors are final (disk full, damaged) but for a lock.
    """
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(cause, sqlalchemy.exc.DBAPIError):
        if isinstance(cause.orig, sqlite3.Error):
            return is_locked(error)
        lost = isinstance(cause, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))
        return lost or cause.connection_invalidated
    # what a session says that goes on after its connection was lost, and a pool whose every
    # connection is being replaced
    after = (sqlalchemy.exc.PendingRollbackError, sqlalchemy.exc.TimeoutError)
    return isinstance(cause, after)


@dataclass
class Outage:
    """What a process has said of a database that is away. A parent that works itself has two
    connections, which share this: so it is said once."""

    since: float | None = None  # by the monotonic clock; None while it answers
    # Until the same is answered it is not back: Optuna answers some questions from memory, and
    # SQLite's lock may let readers in.
    asked: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


def _asked(function: Callable[[], object]) -> str:
    return str(getattr(function, "func", function).__qualname__)


class Patience:
    """How this process waits for one database: in its main thread only. A background thread gets
    the error at once; those of ours come again by themselves, and nobody has to wait for them."""

    def __init__(
        self,
        name: str,
        limit: float | None = None,
        stop: Stop | None = None,
        outage: Outage | None = None,
    ) -> None:
        self.name = name  # as it may be shown
        self.limit = PATIENCE_SECONDS if limit is None else limit
        self.stop = stop or Stop()  # what this process was told; after it nobody waits
        self.outage = outage or Outage()

    def call(self, function: Callable[[], T]) -> T:
        """What ``function`` returns; DatabaseAway after ``limit`` seconds without an answer.

        A signal ends the wait by ``Interrupted``: no transaction is open then.
        """
        began = time.monotonic()
        try:
            found = function()
        except ERRORS as error:
            if not is_away(error):
                raise
            self._lost(error, began, _asked(function))
            if not in_main_thread():
                raise
            found = self._ask_again(function, error, began)
        self._back(function)
        return found

    @property
    def _stopped_by(self) -> int | None:
        """The signal that this process was told to stop by: then it does not wait to say so."""
        return self.stop.signum or held()

    def _ask_again(self, function: Callable[[], T], error: Exception, began: float) -> T:
        """Signals are heard between two tries; of a host that is gone each takes 10 s, of a file
        that is locked 5 s."""
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
                        self._lost(error, began, _asked(function))
        except Interrupted as interrupted:
            self.stop.hear(interrupted.signum)
            raise
        self.limit = 0.0  # nobody waits in vain twice
        raise self._given_up(error, began) from error

    def _lost(self, error: BaseException, began: float, asked: str) -> None:
        """Say it once. A lock is worth no word while it may be the one of a call that writes; where
        two processes would wait for each other, SQLite refuses one of them at once."""
        locked = is_locked(error)
        if locked and time.monotonic() - began < BUSY_SECONDS / 2:
            return
        with self.outage.lock:
            if self.outage.since is not None:
                return
            self.outage.since, self.outage.asked = began, asked
        if self.limit and self._stopped_by is None:
            how = "is locked by another program" if locked else f"does not answer ({said(error)})"
            print(
                f"warning: the database {self.name} {how}; waiting up "
                f"to {self.limit / 60:.3g} min. Nothing is lost; Ctrl-C stops waiting",
                file=sys.stderr,
                flush=True,
            )

    def _back(self, function: Callable[[], object]) -> None:
        if self.outage.since is None:
            return
        with self.outage.lock:
            since = self.outage.since
            if since is None or self.outage.asked != _asked(function):
                return
            self.outage.since = None
        text = f"the database answers again after {time.monotonic() - since:.0f} s"
        print(text, file=sys.stderr, flush=True)

    def _given_up(self, error: BaseException, began: float) -> DatabaseAway:
        # an earlier call may have waited, too
        since = self.outage.since
        seconds = time.monotonic() - (began if since is None else since)
        problem = f"has not answered for {seconds:.0f} s ({said(error)})"
        cure = "Start it; the same command then goes on."
        if is_locked(error):
            problem = f"has been locked by another program for {seconds:.0f} s"
            cure = "End that program, or its transaction; the same command then goes on."
        away = DatabaseAway(f"The database {self.name} {problem}.", value=self.name, cure=cure)
        if self._stopped_by is not None:
            away.exit_code = 128 + self._stopped_by
        return away


class PatientStorage:
    """Optuna's storage, of which every method waits for the database. StudyGone where a study or a
    trial is no longer there; of a study's name that nobody has Optuna says KeyError."""

    def __init__(self, storage: BaseStorage, patience: Patience) -> None:
        self.storage, self.patience = storage, patience

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.storage, name)
        if not inspect.ismethod(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return self.patience.call(partial(found, *arguments, **named))
            except KeyError as error:
                if name == "get_study_id_from_name":
                    raise
                raise deleted("The study", self.patience.name) from error

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

        try:
            return self.patience.call(tell)
        except KeyError as error:
            raise deleted("The study", self.patience.name) from error


def deleted(study: str, database: str) -> StudyGone:
    return StudyGone(
        f"{study} is no longer in {database}: it was deleted while it was in use.",
        value=study,
        cure="The same command starts it again in another folder; the old trials' files stay.",
    )


def patient(storage: BaseStorage, patience: Patience) -> BaseStorage:
    """For Optuna, which asks no more of a storage than its methods."""
    return cast(BaseStorage, PatientStorage(storage, patience))
