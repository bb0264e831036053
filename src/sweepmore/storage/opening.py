"""The database of studies: how it is opened, what its failures are, how a trial is claimed."""

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
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL

from sweepmore.errors import StudyError, said
from sweepmore.process.signals import Stop
from sweepmore.runs.files import create_private
from sweepmore.storage.optuna_internals import claim_of, quiet
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

# Tries to create Optuna's tables beside other processes: each loses one of a dozen at most, which
# is there at the next try, however slow the machine is.
CREATION_TRIES = 50
# How a database fails, by SQLAlchemy's names: the first of its own accord, the second where
# SQLite's file is damaged. The second's other descendants would be bugs of ours.
FAILURES = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.DatabaseError)
GO_ON = "Make room, start or mend it; then the same command goes on."


def open_storage(
    url: URL,
    engine: Mapping[str, Any] | None = None,
    *,
    wait: bool = False,
    stop: Stop | None = None,
    outage: Outage | None = None,
) -> optuna.storages.BaseStorage:
    """Connect, and create the tables where there are none; StudyError where it cannot be.

    A server that does not answer is an error at once, unless ``wait`` says that it did before
    (a worker's parent has used it); then a file that is not there was removed. Later calls wait
    for it, see ``patience``; who finds SQLite locked waits from the start. Nobody waits any longer
    once ``stop`` has heard a signal; connections that share an ``outage`` say it once.
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
    except TypeError as error:  # as SQLAlchemy says that it knows no such argument
        if not engine:
            raise
        cure = "See sqlalchemy.create_engine for hydra.sweeper.storage.engine_kwargs."
        raise not_opened(url, said(error), cure) from error
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, OSError, RuntimeError) as error:
        cure = "Check its URL, the server and its driver; nothing was changed."
        raise not_opened(url, said(error), cure) from error
    return patient(optuna.storages.get_storage(opened), patience)


def existing_storage(
    url: URL, engine: Mapping[str, Any] | None = None
) -> optuna.storages.BaseStorage | None:
    """The database where it holds studies' tables, None where ``open_storage`` would create them:
    for those who only look. StudyError where it cannot be opened."""
    file = file_of(url)
    if file is not None and not file.exists():
        return None

    def look() -> bool:
        connection = sqlalchemy.create_engine(url, **engine_options(url, engine, BUSY_SECONDS))
        try:
            return sqlalchemy.inspect(connection).has_table("studies")
        finally:
            connection.dispose()

    try:
        has_tables = look() if file is None else Patience(shown(url)).call(look)
    except (sqlalchemy.exc.SQLAlchemyError, TypeError, OSError) as error:
        cure = "Check its URL, the server and its driver; nothing was changed."
        raise not_opened(url, said(error), cure) from error
    return open_storage(url, engine) if has_tables else None


def removed(paths: Sequence[Path]) -> StudyGone:
    """What to say where files or folders of a sweep are gone while it runs."""
    names = " and ".join(shown_path(path) for path in paths)
    return StudyGone(
        f"{names} {'was' if len(paths) == 1 else 'were'} removed while the sweep ran.",
        value=[*map(str, paths)],
        cure="The same command recreates what is missing; the removed files are lost.",
    )


@contextmanager
def storage_errors(url: URL, cure: str | None = None) -> Iterator[None]:
    """A database that fails under our hands (a full disk, a damaged file) is one message with this
    cure, where the same command is not the way on; for a server that is away see ``patience``."""
    try:
        yield
    except DatabaseAway as error:
        if cure is None:
            raise
        away = DatabaseAway(error.problem, value=error.value, cure=cure)
        away.exit_code = error.exit_code  # the signal's, of a process that was told to stop
        raise away from error
    except (sqlalchemy.exc.DatabaseError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if type(cause) not in FAILURES:
            raise
        problem = f"The studies at {shown(url)} failed: {said(error)}."
        raise StudyError(problem, value=shown(url), cure=cure or GO_ON) from error


def _with_tables(url: URL, options: Mapping[str, Any]) -> RDBStorage:
    """Optuna looks for its tables and then creates them: of two processes that begin on an empty
    database one is told that a table or its row already exists. A moment later it finds all."""
    text = url.render_as_string(hide_password=False)
    for left in reversed(range(CREATION_TRIES)):
        try:
            return RDBStorage(text, engine_kwargs=dict(options))
        except sqlalchemy.exc.DBAPIError as error:
            said = str(error.orig).lower()  # by SQLite, PostgreSQL and MySQL
            raced = any(word in said for word in ("already exists", "duplicate", "unique"))
            if not raced or not left:
                raise
        time.sleep(0.05)
    raise AssertionError("one of the tries returns or raises")


def start(
    storage: optuna.storages.BaseStorage, trial_id: int, attributes: Mapping[str, Any]
) -> bool:
    """Move a trial from WAITING to RUNNING with these attributes, in one transaction; False where
    another process did it first. ``attributes`` must tell this claim from any other."""
    assert isinstance(storage, PatientStorage)  # as open_storage gives it
    return storage.patience.call(claim_of(storage.storage, trial_id, attributes))
