"""The database of studies: where it is, how it is opened, how a trial is claimed in it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel
from optuna.trial import TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sweepmore.errors import ConfigError, StudyError
from sweepmore.patience import Patience, PatientStorage, patient, reason
from sweepmore.record import create_private

# SQLite's own busy timeout is 5 s; several processes that write at once need more patience.
SQLITE_TIMEOUT = 300
# Tries to create Optuna's tables beside other processes: each loses one of a dozen at most, which
# is there at the next try, however slow the machine is.
CREATION_TRIES = 50
# What users type, and the driver that `pip install -e '.[postgres]'` brings: SQLAlchemy takes
# psycopg2 for the first before 2.1, and does not know the second, which libpq does.
POSTGRES = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
# libpq's defaults wait for ever for a host that is gone, and two hours for one that falls silent.
LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# The drivers that hand these on to libpq.
LIBPQ_DRIVERS = ("psycopg", "psycopg2")


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
    url = url.set(drivername=POSTGRES.get(url.drivername, url.drivername))
    if _holds_password(written or ""):
        raise ConfigError(
            f"hydra.sweeper.storage={shown(url)} holds a password.",
            value=shown(url),
            cure="Leave it out and use PGPASSWORD or ~/.pgpass, or take the whole URL from the "
            "environment: hydra.sweeper.storage='${oc.env:STUDIES}'.",
        )
    _require_driver(url)
    return url


def _require_driver(url: URL) -> None:
    """Before anything is computed; importing it is what a connection does anyway."""
    try:
        url.get_dialect().import_dbapi()
    except ArgumentError as error:
        raise _not_opened(url, str(error), "Known: sqlite, postgresql, mysql.") from error
    except ImportError as error:
        install = ".[postgres]" if url.drivername == "postgresql+psycopg" else url.get_driver_name()
        option = "-e " if install.startswith(".") else ""
        raise _not_opened(url, f"{error}", f"Run: pip install {option}'{install}'") from error


def _not_opened(url: URL, why: str, cure: str) -> StudyError:
    problem = f"The studies at {shown(url)} cannot be opened: {why.removesuffix('.')}."
    return StudyError(problem, value=shown(url), cure=cure)


def _holds_password(written: str) -> bool:
    """Whether the password itself stands there: not in ``${oc.env:STUDIES}``, nor in
    ``postgresql://me:${oc.env:PW}@host/db``, but in the default of ``${oc.env:X,…://me:pw@…}``."""
    return _PASSWORD.search(_REFERENCE.sub("", written)) is not None


# A reference without a URL inside it, and what stands between the user and the host.
_REFERENCE = re.compile(r"\$\{[^{}/]*\}")
# Or an option of the driver: ``?password=…``, ``&sslpassword=…``.
_PASSWORD = re.compile(r"://[^/@]*:[^@]+@|[?&]\w*password=[^&]")


def shown(url: URL) -> str:
    """For people: without user, password and options, a file relative to the working directory."""
    if url.get_backend_name() == "sqlite" and url.database:
        path = Path(url.database)
        inside = path.is_absolute() and path.is_relative_to(Path.cwd())
        return f"sqlite:///{path.relative_to(Path.cwd()) if inside else path}"
    return URL.create(
        url.drivername, host=url.host, port=url.port, database=url.database
    ).render_as_string()


def open_storage(url: URL, *, wait: bool = False) -> optuna.storages.BaseStorage:
    """Connect, and create the tables where there are none; StudyError where it cannot be.

    A server that does not answer is an error at once, unless ``wait`` says that it did before
    (a worker's parent has used it). Later calls wait for it, see ``patience``.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    patience = Patience(shown(url))
    try:
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
            create_private(Path(str(url.database)))
        connect = partial(_with_tables, url, _options(url))
        opened = patience.call(connect) if wait else connect()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, OSError, RuntimeError) as error:
        cure = "Check hydra.sweeper.storage, the server and its driver; nothing was changed."
        raise _not_opened(url, reason(error), cure) from error
    return patient(optuna.storages.get_storage(opened), patience)


@contextmanager
def storage_errors(url: URL) -> Iterator[None]:
    """A database that fails under a sweep (a full disk) is one message; a server that is away is
    waited for, see ``patience``."""
    try:
        yield
    except (sqlalchemy.exc.OperationalError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if not isinstance(cause, sqlalchemy.exc.OperationalError):
            raise
        cure = "Make room, or mend the server; then the same command goes on."
        problem = f"The studies at {shown(url)} failed: {reason(cause)}."
        raise StudyError(problem, value=shown(url), cure=cure) from error


def _options(url: URL) -> dict[str, Any]:
    """Arguments of the engine; what the URL itself says of libpq's goes before."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_TIMEOUT}}
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.get_backend_name() == "postgresql" and url.get_driver_name() in LIBPQ_DRIVERS:
        told = {key: value for key, value in LIBPQ.items() if key not in url.query}
        options["connect_args"] = told
    return options


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
    another process did it first.

    One conditional UPDATE: Optuna's own reads and then writes, which on SQLite lets two processes
    take the same trial (its SELECT … FOR UPDATE is no lock there). ``attributes`` must tell this
    claim from any other: where the answer to it was lost, they tell whose the trial is.
    """
    patient_storage = cast(PatientStorage, storage)
    engine: sqlalchemy.Engine = patient_storage._backend.engine
    rows = [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attributes.items()
    ]
    claim = (
        sqlalchemy.update(TrialModel)
        .where(TrialModel.trial_id == trial_id, TrialModel.state == TrialState.WAITING)
        .values(state=TrialState.RUNNING, datetime_start=datetime.now())
    )
    table = TrialUserAttributeModel
    known = sqlalchemy.select(table.key, table.value_json).where(table.trial_id == trial_id)
    tries = 0

    def once() -> bool:
        nonlocal tries
        tries += 1
        with engine.begin() as connection:
            if connection.execute(claim).rowcount == 1:
                connection.execute(sqlalchemy.insert(table), rows)
                return True
            if tries == 1:
                return False
            found = {row.key: row.value_json for row in connection.execute(known)}
            return all(found.get(row["key"]) == row["value_json"] for row in rows)

    return patient_storage.patience.call(once)
