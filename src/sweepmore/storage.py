"""The database of studies: where it is, how it is opened, how a trial is claimed in it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel
from optuna.trial import TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sweepmore.errors import ConfigError, StudyError

# SQLite's own busy timeout is 5 s; several processes that write at once need more patience.
SQLITE_TIMEOUT = 300
# How long another process may take to create Optuna's dozen tables (guess; here 0.6 s).
CREATION_SECONDS = 10.0


def storage_url(written: str | None, resolved: str | None, outputs: Path) -> URL:
    """The URL of ``hydra.sweeper.storage``; null is ``studies.db`` in ``outputs``.

    ``written`` is the value before interpolation: a password in it would be kept with the config,
    so it is refused; one that an environment variable brings is not written anywhere.
    """
    if resolved is None:
        return make_url(f"sqlite:///{outputs / 'studies.db'}")
    try:
        url = make_url(resolved)
    except ArgumentError as error:
        cure = "Give a SQLAlchemy URL, such as sqlite:///studies.db, or null for the default."
        raise ConfigError("hydra.sweeper.storage is not a URL.", value=None, cure=cure) from error
    if url.password is not None and _holds_password(written or ""):
        raise ConfigError(
            f"hydra.sweeper.storage={shown(url)} holds a password.",
            value=shown(url),
            cure="Leave it out and use PGPASSWORD or ~/.pgpass, or take the whole URL from the "
            "environment: hydra.sweeper.storage='${oc.env:STUDIES}'.",
        )
    return url


def _holds_password(written: str) -> bool:
    """Whether the password itself stands there: not in ``${oc.env:STUDIES}``, nor in
    ``postgresql://me:${oc.env:PW}@host/db``, but in the default of ``${oc.env:X,…://me:pw@…}``."""
    return _PASSWORD.search(_REFERENCE.sub("", written)) is not None


# A reference without a URL inside it, and what stands between the user and the host.
_REFERENCE = re.compile(r"\$\{[^{}/]*\}")
_PASSWORD = re.compile(r"://[^/@]*:[^@]+@")


def shown(url: URL) -> str:
    """For people: without user and password, a file relative to the working directory."""
    if url.get_backend_name() == "sqlite" and url.database:
        path = Path(url.database)
        inside = path.is_absolute() and path.is_relative_to(Path.cwd())
        return f"sqlite:///{path.relative_to(Path.cwd()) if inside else path}"
    return url.set(username=None, password=None).render_as_string()


def open_storage(url: URL) -> optuna.storages.BaseStorage:
    """Connect, and create the tables where there are none; StudyError where it cannot be."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options: dict[str, Any] = {"pool_pre_ping": True}
    try:
        if url.get_backend_name() == "sqlite":
            if url.database and url.database != ":memory:":
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            options = {"connect_args": {"timeout": SQLITE_TIMEOUT}}
        return optuna.storages.get_storage(_with_tables(url, options))
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, OSError, RuntimeError) as error:
        cure = "Check hydra.sweeper.storage, the server and its driver; nothing was changed."
        problem = f"The studies at {shown(url)} cannot be opened: {_reason(error)}."
        raise StudyError(problem, value=shown(url), cure=cure) from error


@contextmanager
def storage_errors(url: URL) -> Iterator[None]:
    """A database that fails under a sweep (a full disk, a server that is gone) is one message."""
    try:
        yield
    except (sqlalchemy.exc.OperationalError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if not isinstance(cause, sqlalchemy.exc.OperationalError):
            raise
        cure = "Make room, or mend the server; then the same command goes on."
        problem = f"The studies at {shown(url)} failed: {_reason(cause)}."
        raise StudyError(problem, value=shown(url), cure=cure) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0]


def _with_tables(url: URL, options: dict[str, Any]) -> RDBStorage:
    """Optuna looks for its tables and then creates them: of two processes that begin on an empty
    database one is told that a table or its row already exists. A moment later it finds all."""
    text, deadline = url.render_as_string(hide_password=False), time.monotonic() + CREATION_SECONDS
    while True:
        try:
            return RDBStorage(text, engine_kwargs=dict(options))
        except sqlalchemy.exc.DBAPIError as error:
            said = str(error.orig).lower()  # by SQLite, PostgreSQL and MySQL
            raced = any(word in said for word in ("already exists", "duplicate", "unique"))
            if not raced or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def start(
    storage: optuna.storages.BaseStorage, trial_id: int, attributes: Mapping[str, Any]
) -> bool:
    """Move a trial from WAITING to RUNNING with these attributes, in one transaction; False where
    another process did it first.

    One conditional UPDATE: Optuna's own reads and then writes, which on SQLite lets two processes
    take the same trial (its SELECT … FOR UPDATE is no lock there).
    """
    engine: sqlalchemy.Engine = storage._backend.engine  # type: ignore[attr-defined]  # RDB only
    claim = (
        sqlalchemy.update(TrialModel)
        .where(TrialModel.trial_id == trial_id, TrialModel.state == TrialState.WAITING)
        .values(state=TrialState.RUNNING, datetime_start=datetime.now())
    )
    rows = [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attributes.items()
    ]
    with engine.begin() as connection:
        if connection.execute(claim).rowcount != 1:
            return False
        connection.execute(sqlalchemy.insert(TrialUserAttributeModel), rows)
        return True
