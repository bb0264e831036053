"""The URL of the database of studies: how it may be written and shown, and its engine's options."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sweepmore.errors import SECRET_NAME, ConfigError, StudyError
from sweepmore.typed import dotted

# The only ``_target_`` that a storage's node may have.
STORAGE_CLASS = "optuna.storages.RDBStorage"
# Seconds that the ledger waits for a lock in SQLite, whose default is 5 s.
SQLITE_TIMEOUT = 300
# Seconds that a call to the studies waits for it, during which no signal is heard: none of 8
# processes that wrote at once needed more (n=360 trials). ``patience`` then repeats the call and
# says that it waits.
BUSY_SECONDS = 5.0
# What users type, and the driver that `pip install -e '.[postgres]'` installs. Before 2.1
# SQLAlchemy takes psycopg2 for the first; it does not know the second, which libpq does.
POSTGRES = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
# libpq never gives up on a host that is gone, and waits two hours for one that falls silent.
LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# The drivers that pass these options to libpq.
LIBPQ_DRIVERS = ("psycopg", "psycopg2")


@dataclass(frozen=True)
class Place:
    """``hydra.sweeper.storage``: the URL before and after interpolation, and engine arguments.

    Each is None or empty for the default.
    """

    written: str | None = None
    resolved: str | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)


def place_of(written: Any, resolved: Any) -> Place:
    """Read a storage: a URL, or the stock plugin's node of a URL and arguments for SQLAlchemy.

    Raises ConfigError on any other node, and on arguments that hold a password.
    """
    if resolved is None or isinstance(resolved, str):
        return Place(written, resolved)
    cure = f"Give a SQLAlchemy URL, or a node: {{_target_: {STORAGE_CLASS}, url: …}}."
    if not isinstance(resolved, Mapping) or not isinstance(resolved.get("url"), str):
        raise ConfigError("hydra.sweeper.storage has no URL.", value=None, cure=cure)
    if (target := resolved.get("_target_")) not in (None, STORAGE_CLASS):
        problem = f"hydra.sweeper.storage is a {target}, but studies are kept in a database here."
        raise ConfigError(problem, value=target, cure=cure)
    if isinstance(written, str):  # a reference to a node elsewhere
        written = {"url": written}
    engine = resolved.get("engine_kwargs") or {}
    accepted = {"url", "engine_kwargs", "skip_compatibility_check", "skip_table_creation"}
    for key, value in resolved.items():
        if key not in accepted and not key.startswith("_") and value is not None:
            cure = "Leave it out: a dead worker is detected by its lease, and its trial is retried."
            raise ConfigError(
                f"hydra.sweeper.storage.{key} is not used here.", value=key, cure=cure
            )
    if not isinstance(engine, Mapping) or not isinstance(engine.get("connect_args", {}), Mapping):
        cure = "Give arguments of sqlalchemy.create_engine, such as {connect_args: {timeout: 30}}."
        raise ConfigError(
            "hydra.sweeper.storage.engine_kwargs holds no keys.", value=None, cure=cure
        )
    for key, value in dotted(written.get("engine_kwargs") or {}).items():
        if re.search(SECRET_NAME, key, re.IGNORECASE) and _without_references(str(value)):
            raise ConfigError(
                f"hydra.sweeper.storage.engine_kwargs.{key} holds a password.",
                value=key,
                cure="Use PGPASSWORD or ~/.pgpass, or the environment: '${oc.env:PASSWORD}'.",
            )
    return Place(written["url"], resolved["url"], engine)


def storage_url(written: str | None, resolved: str | None, outputs: Path) -> URL:
    """The URL of a storage; null means ``studies.db`` in ``outputs``.

    ``written`` is the value before interpolation. A password in it would be stored with the
    config, so it is refused; one from an environment variable is written nowhere. Raises
    ConfigError on a password or a text that is not a URL, StudyError where the driver is missing.
    """
    if resolved is None:
        return make_url(f"sqlite:///{outputs / 'studies.db'}")
    url = _parsed(resolved)
    if _holds_password(written or ""):
        raise ConfigError(
            f"The storage's URL holds a password: {shown(url)}",
            value=shown(url),
            cure="Leave it out and use PGPASSWORD or ~/.pgpass, or take the whole URL from the "
            "environment: '${oc.env:STUDIES}'.",
        )
    _require_driver(url)
    return _anchored(url)


def _parsed(text: str) -> URL:
    """``text`` as a URL.

    The ConfigError repeats neither the text nor the parser's message: any part may be a password,
    as may anything before an @ that SQLAlchemy does not take as the end of one.
    """
    refused = ConfigError(
        "The storage is not a URL.",
        value=None,
        cure="Give a SQLAlchemy URL, such as sqlite:///studies.db, or null for the default; in a "
        "user's name and password write %40 for @, %3A for : and %2F for /.",
    )
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the second is for a port that is not a number
        raise refused from None
    if url.get_backend_name() == "sqlite":
        misread = url.host is not None  # sqlite://studies.db
    else:
        misread = text.count("@") > 1 or "@" in (url.database or "")
    if misread:
        raise refused
    return url.set(drivername=POSTGRES.get(url.drivername, url.drivername))


def file_of(url: URL) -> Path | None:
    """SQLite's file; None for a server, and for a database in memory."""
    file = url.database or ":memory:"
    if url.get_backend_name() != "sqlite" or file.startswith((":memory:", "file:")):
        return None
    return Path(file)


def _anchored(url: URL) -> URL:
    """``url`` with the absolute path of its file.

    A trial may change the working directory, and a later connection would find another file.
    """
    file = file_of(url)
    return url if file is None else url.set(database=str(file.absolute()))


def _require_driver(url: URL) -> None:
    """Import the database's driver, as a connection would, before anything is computed."""
    try:
        url.get_dialect().import_dbapi()
    except ArgumentError as error:
        raise not_opened(url, str(error), "Use sqlite, postgresql or mysql.") from error
    except ImportError as error:
        ours = url.drivername == "postgresql+psycopg"
        cure = "Run: pip install 'psycopg[binary]'" if ours else "Install the driver that it names."
        raise not_opened(url, f"{error}", cure) from error


def not_opened(url: URL, why: str, cure: str) -> StudyError:
    """The error for a database that cannot be opened, because of ``why``."""
    problem = f"The studies at {shown(url)} cannot be opened: {why.removesuffix('.')}."
    return StudyError(problem, value=shown(url), cure=cure)


def _holds_password(written: str) -> bool:
    """Whether a password itself is written there; each reference counts as its default.

    There is none in ``${oc.env:STUDIES}`` or ``postgresql://me:${oc.env:PW}@host/db``, but there
    is one in the default of ``${oc.env:X,…://me:pw@…}`` and of ``${oc.env:PW,pw}``.
    """
    return _PASSWORD.search(_without_references(written)) is not None


def _without_references(written: str) -> str:
    while _REFERENCE.search(written):
        written = _REFERENCE.sub(lambda match: match["default"] or "", written)
    return written


# A reference to the environment or another key; another resolver's argument may be the password.
_REFERENCE = re.compile(r"\$\{(?:oc\.env:)?[^{}:/,]*(?:,(?P<default>[^{}]*))?\}")
# A password between user and host, or in an option of the driver: ``?password=…``, ``&passwd=…``.
_PASSWORD = re.compile(rf"://[^/@]*:[^@]+@|[?&]{SECRET_NAME}=[^&]", re.IGNORECASE)


def is_of_environment(written: str) -> bool:
    """Whether a script can resolve it without the config: it refers to the environment at most."""
    return "${" not in written.replace("${oc.env:", "")


def shown(url: URL) -> str:
    """``url`` for people: without user, password and options; a file by its relative path."""
    if url.get_backend_name() == "sqlite" and url.database:
        path = Path(url.database)
        with contextlib.suppress(OSError):  # where the working directory is gone
            path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        return f"sqlite:///{path}"
    return URL.create(
        url.drivername, host=url.host, port=url.port, database=url.database
    ).render_as_string()


def engine_options(
    url: URL, given: Mapping[str, Any] | None = None, busy: float | None = None
) -> dict[str, Any]:
    """Keyword arguments for ``sqlalchemy.create_engine``.

    ``given`` and libpq's options in the URL have precedence over ours. ``busy`` is how many
    seconds SQLite waits for a lock, ``SQLITE_TIMEOUT`` by default.
    """
    own, given = _own_options(url, SQLITE_TIMEOUT if busy is None else busy), dict(given or {})
    arguments = {**own.get("connect_args", {}), **given.get("connect_args", {})}
    return {**own, **given, **({"connect_args": arguments} if arguments else {})}


def _own_options(url: URL, busy: float) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": busy}}
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.get_backend_name() == "postgresql" and url.get_driver_name() in LIBPQ_DRIVERS:
        unset = {key: value for key, value in LIBPQ.items() if key not in url.query}
        options["connect_args"] = unset
    return options
