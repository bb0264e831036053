"""The rows of looks, in two tables of the studies' database that the dashboard does not know.

Check and claim happen in one transaction that excludes all other claims: of all processes that
share the database, exactly one wins.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from sweepmore.errors import UserError, said
from sweepmore.runs.files import create_private
from sweepmore.seal.receipts import Look
from sweepmore.storage.urls import engine_options

_TABLE = sql.Table(
    "sweepmore_looks",
    sql.MetaData(),
    sql.Column("fingerprint", sql.String(64), primary_key=True),
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("checkpoint", sql.String(64), nullable=False),
    sql.Column("claimed", sql.String(40), nullable=False),
    sql.Column("claimant", sql.Text, nullable=False),
    sql.Column("about", sql.Text, nullable=False),
    sql.Column("reason", sql.Text),
    sql.Column("result", sql.Text),
)
_COLUMN = _TABLE.c
# A separate table, so that databases of older versions, which have no keys, open as they are.
_KEYS = sql.Table(
    "sweepmore_look_keys",
    _TABLE.metadata,
    sql.Column("fingerprint", sql.String(64), primary_key=True),
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("keys", sql.Text),
    sql.Column("overlap", sql.Text),
)
_OF_KEYS = ("keys", "overlap")
# The statement that lets only one claim proceed at a time. Readers do not wait for it.
# Studies may be in other databases (MySQL), but looks may not: claims were never raced there.
_ALONE = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": f"LOCK TABLE {_TABLE.name} IN EXCLUSIVE MODE",
}


@dataclass(frozen=True)
class Rows:
    """The rows in the database at ``url``."""

    url: URL

    def prepare(self) -> None:
        """Create what is missing and try to write.

        Raises UserError if claims are not tested to be exclusive in a database of this kind, and
        SQLAlchemy's or the system's own error if it cannot be written.
        """
        if (kind := self.url.get_backend_name()) not in _ALONE:
            cure = "Name the run itself, without storage=: its looks are then kept in SQLite."
            problem = f"The ledger of looks cannot be in {kind}: it needs SQLite or PostgreSQL."
            raise UserError(problem, value=kind, cure=cure)
        if kind == "sqlite" and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            create_private(Path(self.url.database))
        self._create_tables()
        with self.engine().connect() as connection:  # an attempt to write: never committed
            connection.execute(sql.insert(_TABLE).values(_row(Look("", 0, "", "", {}, {}))))

    def looks(self, fingerprint: str | None = None) -> list[Look]:
        """Return the looks of a split, or of all, in order. Writes nothing."""
        with self._reading() as connection:
            return [] if connection is None else read(connection, fingerprint)

    @contextlib.contextmanager
    def alone(self) -> Iterator[sql.Connection]:
        """Open a transaction that excludes all other claims, whatever their fingerprint."""
        with self.engine().begin() as connection:
            connection.exec_driver_sql(_ALONE[self.url.get_backend_name()])
            yield connection

    def update(self, look: Look, **values: str) -> bool:
        """Change the row of an unfinished look, and return whether it had the same claimant."""
        change = sql.update(_TABLE).where(
            *_of(look),
            _COLUMN.claimant == json.dumps(dict(look.claimant)),
            _COLUMN.result.is_(None),
        )
        with self.engine().begin() as connection:
            return connection.execute(change.values(**values)).rowcount == 1

    def fill(self, look: Look) -> None:
        """Put what the row of a look lacks into it. Does nothing if there is no row."""
        result = None if look.result is None else json.dumps(dict(look.result))
        with self.alone() as connection:
            row = connection.execute(sql.select(_COLUMN.number).where(*_of(look))).first()
            if row is not None:
                lacking = sql.update(_TABLE).where(*_of(look), _COLUMN.result.is_(None))
                connection.execute(lacking.values(result=result))
                _insert_keys(connection, look)

    def engine(self) -> sql.Engine:
        """Return an engine without a pool, so that no connection outlives its use or crosses a
        fork."""
        return sql.create_engine(self.url, **engine_options(self.url), poolclass=sql.NullPool)

    def _create_tables(self) -> None:
        """Create the tables that are missing.

        Several processes may begin on an empty database at once. Then a table may appear between a
        process's check and its CREATE, which is no error.
        """
        engine = self.engine()
        for table in (_TABLE, _KEYS):
            try:
                table.create(engine, checkfirst=True)
            except SQLAlchemyError:
                if not sql.inspect(engine).has_table(table.name):
                    raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sql.Connection | None]:
        """Open a connection, or None if there is no ledger yet: reading must create no file."""
        sqlite = self.url.get_backend_name() == "sqlite"
        if sqlite and not Path(str(self.url.database)).exists():
            yield None
            return
        try:
            with self.engine().connect() as connection:
                yield connection if sql.inspect(connection).has_table(_TABLE.name) else None
        except SQLAlchemyError as error:
            cure = "The looks must be known before the test split may be read."
            raise UserError(f"The ledger: {said(error)}.", value=None, cure=cure) from error


def _of(look: Look) -> tuple[sql.ColumnElement[bool], sql.ColumnElement[bool]]:
    """Return the conditions that select the row of a look."""
    return _COLUMN.fingerprint == look.fingerprint, _COLUMN.number == look.number


def read(connection: sql.Connection, fingerprint: str | None = None) -> list[Look]:
    """Return the looks in the order of their numbers.

    They have no keys if the database is of an older version.
    """
    columns, source = [*_COLUMN], sql.select(*_COLUMN)
    if sql.inspect(connection).has_table(_KEYS.name):
        columns += [_KEYS.c[name] for name in _OF_KEYS]
        same = (_KEYS.c.fingerprint == _COLUMN.fingerprint) & (_KEYS.c.number == _COLUMN.number)
        source = sql.select(*columns).select_from(_TABLE.outerjoin(_KEYS, same))
    if fingerprint is not None:
        source = source.where(_COLUMN.fingerprint == fingerprint)
    rows = connection.execute(source.order_by(_COLUMN.fingerprint, _COLUMN.number)).mappings()
    return [_look(row) for row in rows]


def _look(row: sql.RowMapping) -> Look:
    texts = ("claimant", "about", "result", "overlap")
    parsed = {key: json.loads(row[key]) for key in texts if row.get(key)}
    return Look(**{**dict(row), **parsed})


def insert(connection: sql.Connection, look: Look) -> None:
    """Add the row of a new look. Raises SQLAlchemy's IntegrityError if its number is taken."""
    connection.execute(sql.insert(_TABLE).values(_row(look)))
    _insert_keys(connection, look)


def _insert_keys(connection: sql.Connection, look: Look) -> None:
    """Replace the keys of a look. What is replaced is about the same look, and never more."""
    if look.keys is None:
        return
    this = _KEYS.c.fingerprint == look.fingerprint, _KEYS.c.number == look.number
    connection.execute(sql.delete(_KEYS).where(*this))
    overlap = None if look.overlap is None else json.dumps(dict(look.overlap))
    values = {"fingerprint": look.fingerprint, "number": look.number, "keys": look.keys}
    connection.execute(sql.insert(_KEYS).values(**values, overlap=overlap))


def _row(look: Look) -> dict[str, Any]:
    written = {key: json.dumps(dict(getattr(look, key))) for key in ("claimant", "about")}
    result = None if look.result is None else json.dumps(dict(look.result))
    fields = {key: value for key, value in vars(look).items() if key not in _OF_KEYS}
    return {**fields, **written, "result": result}
