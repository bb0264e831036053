"""Waiting for a database that is away for a while, and continuing when it is back.

A server may be restarted; SQLite's file may be locked by another program.

Optuna's storage raises at the first statement that reaches no server, in spite of
``pool_pre_ping``: that only replaces connections that died while nobody used them. So each of our
calls to the storage goes through here and is repeated. A call whose answer was lost may have been
carried out. To write an attribute, a parameter or a report twice changes nothing; a trial that was
enqueued twice is void (``view.without_void``); ends and claims of trials are looked up. What counts
as away, how long it is waited for, and what is repeated depend on each other, hence one file.
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
# that no other host considers a waiting worker dead.
PATIENCE_SECONDS = 300.0
# Seconds between two attempts: growing, and drawn at random so that workers do not return in step.
SHORTEST, LONGEST = 0.1, 5.0

# What the storage raises; not all of it is about the server.
ERRORS = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)

T = TypeVar("T")


class StudyGone(StudyError):
    """The study, or files of a sweep, were removed while it ran: nothing more can be stored."""


class DatabaseAway(StudyError):
    """The database has not answered for too long.

    A running trial does not fail by this: its worker ends, and the trial is retried as if the
    worker had died. The exit code is the signal's where this process was asked to stop.
    """


def is_locked(error: BaseException) -> bool:
    """Whether another process locked SQLite's file for longer than a call waits."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    code = getattr(getattr(cause, "orig", None), "sqlite_errorcode", 0)
    return bool(code & 0xFF == sqlite3.SQLITE_BUSY)  # the higher bits say which kind of lock


def is_away(error: BaseException) -> bool:
    """Whether a call failed because of the server or the network, not because of what was asked.

    SQLite has no server: apart from a lock its errors (a full disk, a damaged file) are final.
    """
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(cause, sqlalchemy.exc.DBAPIError):
        if isinstance(cause.orig, sqlite3.Error):
            return is_locked(error)
        lost = isinstance(cause, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))
        return lost or cause.connection_invalidated
    # raised by a session that continues after its connection was lost, and by a pool whose
    # connections are all being replaced
    after = (sqlalchemy.exc.PendingRollbackError, sqlalchemy.exc.TimeoutError)
    return isinstance(cause, after)


@dataclass
class Outage:
    """What this process has reported about a database that is away.

    A parent that also trains has two connections, which share this, so that it is reported once.
    """

    since: float | None = None  # by the monotonic clock; None while it answers
    # The name of the call that failed. Only when that succeeds is the database back: Optuna answers
    # some calls from memory, and SQLite's lock may admit readers.
    asked: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


def _asked(function: Callable[[], object]) -> str:
    return str(getattr(function, "func", function).__qualname__)


class Patience:
    """How this process waits for one database, in its main thread only.

    A background thread gets the error at once: ours try again by themselves, and nobody has to
    wait for them. ``limit`` is in seconds.
    """

    def __init__(
        self,
        name: str,
        limit: float | None = None,
        stop: Stop | None = None,
        outage: Outage | None = None,
    ) -> None:
        self.name = name  # as messages show it
        self.limit = PATIENCE_SECONDS if limit is None else limit
        self.stop = stop or Stop()  # the signal that this process heard; after it nobody waits
        self.outage = outage or Outage()

    def call(self, function: Callable[[], T]) -> T:
        """Call ``function`` until the database answers, and return its result.

        Raises DatabaseAway after ``limit`` seconds without an answer, and Interrupted where a
        signal ends the wait: no transaction is open then.
        """
        began = time.monotonic()
        try:
            answer = function()
        except ERRORS as error:
            if not is_away(error):
                raise
            self._lost(error, began, _asked(function))
            if not in_main_thread():
                raise
            answer = self._ask_again(function, error, began)
        self._back(function)
        return answer

    @property
    def _stopped_by(self) -> int | None:
        """The signal that asked this process to stop; it then ends without waiting."""
        return self.stop.signum or held()

    def _ask_again(self, function: Callable[[], T], error: Exception, began: float) -> T:
        """Repeat the call; signals are heard between two attempts.

        An attempt takes 10 s where the host is gone, and 5 s where the file is locked.
        """
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
        self.limit = 0.0  # do not wait in vain a second time
        raise self._given_up(error, began) from error

    def _lost(self, error: BaseException, began: float, asked: str) -> None:
        """Report the outage, once.

        A lock is not reported while it may be that of a normal write. Where two processes would
        wait for each other, SQLite refuses one of them at once.
        """
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
                f"to {self.limit / 60:.3g} min. Nothing is lost; Ctrl-C stops waiting.",
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
        # an earlier call may have begun the wait
        since = self.outage.since
        seconds = time.monotonic() - (began if since is None else since)
        problem = f"has not answered for {seconds:.0f} s ({said(error)})"
        cure = "Start it, then rerun the same command to continue."
        if is_locked(error):
            problem = f"has been locked by another program for {seconds:.0f} s"
            cure = "End that program or its transaction, then rerun the same command to continue."
        away = DatabaseAway(f"The database {self.name} {problem}.", value=self.name, cure=cure)
        if self._stopped_by is not None:
            away.exit_code = 128 + self._stopped_by
        return away


class PatientStorage:
    """Optuna's storage, each method of which waits for the database.

    Raises StudyGone where a study or a trial no longer exists. For an unknown name of a study
    Optuna's KeyError passes.
    """

    def __init__(self, storage: BaseStorage, patience: Patience) -> None:
        self.storage, self.patience = storage, patience

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.storage, name)
        if not inspect.ismethod(member):
            return member

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return self.patience.call(partial(member, *arguments, **named))
            except KeyError as error:
                if name == "get_study_id_from_name":
                    raise
                raise deleted("The study", self.patience.name) from error

        return call

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As in Optuna. A trial that has its state at a second attempt got it at the first."""
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
    """The error for a study that was deleted while a sweep used it."""
    return StudyGone(
        f"{study} is no longer in {database}: it was deleted while it was in use.",
        value=study,
        cure="Rerun the same command to start it again in another folder. "
        "The old trials' files stay.",
    )


def patient(storage: BaseStorage, patience: Patience) -> BaseStorage:
    """The storage as Optuna takes it, which uses no more of a storage than its methods."""
    return cast(BaseStorage, PatientStorage(storage, patience))


def optunas(storage: BaseStorage) -> BaseStorage:
    """Return Optuna's own storage, for a program that accepts no other and does its own waiting."""
    inner: object = storage
    return inner.storage if isinstance(inner, PatientStorage) else storage
