"""How the database of studies is opened, how its failures are reported, how a trial is claimed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL

from sweepmore.errors import StudyError, said
from sweepmore.process.signals import Stop
from sweepmore.runs.files import create_private
from sweepmore.storage.optuna_internals import BulkStorage, CachedStorage, claim_of, quiet
from sweepmore.storage.patience import (
    DatabaseAway,
    Outage,
    Patience,
    PatientStorage,
    StudyGone,
    patient,
)
from sweepmore.storage.urls import (
    BUSY_SECONDS,
    engine_options,
    file_of,
    not_opened,
    shown,
)
from sweepmore.wording import shown_path

# Attempts to create Optuna's tables while other processes do. Each attempt fails on one of a dozen
# tables at most, which exists at the next, however slow the machine is.
CREATION_TRIES = 50
# SQLAlchemy's errors for a failing database; the second is for a damaged SQLite file. The other
# subclasses of the second would be bugs of ours.
FAILURES = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.DatabaseError)
GO_ON = "Make room, or start or repair it. Then rerun the same command to continue."


def open_storage(
    url: URL,
    engine: Mapping[str, Any] | None = None,
    *,
    wait: bool = False,
    stop: Stop | None = None,
    outage: Outage | None = None,
) -> optuna.storages.BaseStorage:
    """Connect to the database, and create its tables where there are none.

    A server that does not answer is an error at once, unless ``wait`` says that it answered before
    (a worker's parent has used it); a file that is missing was removed then. Later calls wait for
    the database, see ``patience``; a locked SQLite file is waited for from the start. Nobody waits
    any longer once ``stop`` has heard a signal. Connections that share an ``outage`` report it
    once. Raises StudyError where the database cannot be opened.
    """
    quiet()
    patience, file = Patience(shown(url), stop=stop, outage=outage), file_of(url)
    try:
        if file is not None:
            if wait and not file.exists():
                raise removed([file])
            file.parent.mkdir(parents=True, exist_ok=True)
            create_private(file)
        connect = partial(_with_tables, url, engine_options(url, engine, BUSY_SECONDS))
        opened = patience.call(connect) if wait or file is not None else connect()
    except TypeError as error:  # SQLAlchemy was given an unknown argument
        if not engine:
            raise
        cure = "Correct hydra.sweeper.storage.engine_kwargs: see sqlalchemy.create_engine."
        raise not_opened(url, said(error), cure) from error
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, OSError, RuntimeError) as error:
        cure = "Check its URL, the server and its driver. Nothing was changed."
        raise not_opened(url, said(error), cure) from error
    return patient(CachedStorage(opened), patience)


def existing_storage(
    url: URL, engine: Mapping[str, Any] | None = None
) -> optuna.storages.BaseStorage | None:
    """The database, for those who only read; None where it holds no studies' tables.

    It creates nothing, unlike ``open_storage``. Raises StudyError where it cannot be opened.
    """
    file = file_of(url)
    if file is not None and not file.exists():
        return None

    def holds_tables() -> bool:
        connection = sqlalchemy.create_engine(url, **engine_options(url, engine, BUSY_SECONDS))
        try:
            return sqlalchemy.inspect(connection).has_table("studies")
        finally:
            connection.dispose()

    try:
        has_tables = holds_tables() if file is None else Patience(shown(url)).call(holds_tables)
    except (sqlalchemy.exc.SQLAlchemyError, TypeError, OSError) as error:
        cure = "Check its URL, the server and its driver. Nothing was changed."
        raise not_opened(url, said(error), cure) from error
    return open_storage(url, engine) if has_tables else None


def removed(paths: Sequence[Path]) -> StudyGone:
    """The error for files or folders of a sweep that disappeared while it ran."""
    names = " and ".join(shown_path(path) for path in paths)
    return StudyGone(
        f"{names} {'was' if len(paths) == 1 else 'were'} removed while the sweep ran.",
        value=[*map(str, paths)],
        cure="Rerun the same command to recreate what is missing. The removed files are lost.",
    )


@contextmanager
def storage_errors(url: URL, cure: str | None = None) -> Iterator[None]:
    """Inside the block, a failure of the database is one StudyError.

    Such are a full disk or a damaged file; for a server that is away see ``patience``. ``cure``
    replaces the advice to rerun the same command, where that is wrong.
    """
    try:
        yield
    except DatabaseAway as error:
        if cure is None:
            raise
        away = DatabaseAway(error.problem, value=error.value, cure=cure)
        away.exit_code = error.exit_code  # the signal's, where this process was asked to stop
        raise away from error
    except (sqlalchemy.exc.DatabaseError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if type(cause) not in FAILURES:
            raise
        problem = f"The database of studies at {shown(url)} failed: {said(error)}."
        raise StudyError(problem, value=shown(url), cure=cure or GO_ON) from error


def _with_tables(url: URL, options: Mapping[str, Any]) -> BulkStorage:
    """Optuna's storage, whose tables another process may be creating at the same time.

    Optuna looks for its tables and then creates them. Of two processes that start on an empty
    database, one gets the error that a table or its row exists; a moment later it finds them all.
    """
    text = url.render_as_string(hide_password=False)
    for tries_left in reversed(range(CREATION_TRIES)):
        try:
            return BulkStorage(text, engine_kwargs=dict(options))
        except sqlalchemy.exc.DBAPIError as error:
            message = str(error.orig).lower()  # of SQLite, PostgreSQL or MySQL
            raced = any(word in message for word in ("already exists", "duplicate", "unique"))
            if not raced or not tries_left:
                raise
        time.sleep(0.05)
    raise AssertionError("one of the tries returns or raises")


def start(
    storage: optuna.storages.BaseStorage, trial_id: int, attributes: Mapping[str, Any]
) -> bool:
    """Move a trial from WAITING to RUNNING with these attributes, in one transaction.

    Returns False where another process did so first. ``attributes`` must distinguish this claim
    from any other.
    """
    assert isinstance(storage, PatientStorage)  # what open_storage returns
    return storage.patience.call(claim_of(storage.storage, trial_id, attributes))
