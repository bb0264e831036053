"""Looks at a test split: claimed once, for ever; knows nothing of what is evaluated.

Two layers. A row in the studies' database, whose primary key (fingerprint, number) lets exactly
one process of all that share the database win; the dashboard does not know the table. And a
receipt, a file in a folder that is meant to be committed, so that a deleted look shows in the
history. Every doubt counts as a look: an exception while claiming means "not mine", a crash after
the claim leaves "claimed, no result".

What this does not stop: somebody who edits the code, deletes both layers, or reads the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from sweepmore.database import engine_options
from sweepmore.errors import UserError, said
from sweepmore.owner import is_alive, on_this_host, this_process
from sweepmore.receipts import PRIVATE, UNKNOWN, Look, read_receipt, receipts, write_receipt
from sweepmore.record import create_private, write_json

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


class Refused(UserError):
    """The split has been looked at, or may have been; nothing was read. Exit code 3."""

    exit_code = 3


@dataclass(frozen=True)
class Ledger:
    """The looks of all splits: a database and a folder of receipts."""

    url: URL
    folder: Path

    def prepare(self) -> None:
        """Create what is missing and try to write in both layers; UserError where that fails."""
        try:
            if self.url.get_backend_name() == "sqlite" and self.url.database:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
                create_private(Path(self.url.database))
            self._create_table()
            with self._engine().connect() as connection:  # never committed
                connection.execute(sql.insert(_TABLE).values(_row(Look("", 0, "", "", {}, {}))))
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except (SQLAlchemyError, OSError) as error:
            cure = "The ledger must be writable before the test split may be read."
            raise UserError(f"The ledger: {said(error)}.", value=None, cure=cure) from error

    def looks(self, fingerprint: str) -> list[Look]:
        """The looks of a split in the database, first one first; writes nothing."""
        of_split = sql.select(_TABLE).where(_COLUMN.fingerprint == fingerprint)
        with self._reading() as connection:
            if connection is None:
                return []
            rows = connection.execute(of_split.order_by(_COLUMN.number)).mappings()
            return [_look(row) for row in rows]

    def known(self, fingerprint: str) -> list[Look]:
        """The looks of either layer, first one first; a row goes before its receipt."""
        both = [*receipts(self.folder, fingerprint), *self.looks(fingerprint)]
        found = {look.number: look for look in both}
        return [found[number] for number in sorted(found)]

    def check(self, fingerprint: str, checkpoint: str, reason: str | None = None) -> int:
        """The number that ``claim`` would take; Refused where it would refuse."""
        known = self.known(fingerprint)
        if known and reason is None:
            in_database = {look.number for look in self.looks(fingerprint)}
            raise _refused(_why(known[-1], known[-1].number in in_database, checkpoint), known[-1])
        return known[-1].number + 1 if known else 1

    def claim(
        self, fingerprint: str, checkpoint: str, about: Mapping[str, Any], reason: str | None = None
    ) -> Look:
        """Take the next look; Refused where the split has one already, unless ``reason`` says why
        another is taken. Returns only to the one process that owns the look."""
        self.prepare()
        number = self.check(fingerprint, checkpoint, reason)
        why = reason if number > 1 else None
        look = Look(fingerprint, number, checkpoint, _now(), this_process(), about, why)
        try:
            with self._engine().begin() as connection:
                connection.execute(sql.insert(_TABLE).values(_row(look)))
            write_receipt(self.path(look), look)
        except (IntegrityError, FileExistsError) as error:
            problem = f"Another process claimed look {number} of {fingerprint} first."
            raise _refused(problem, look) from error
        except (SQLAlchemyError, OSError) as error:
            problem = f"Claiming failed ({said(error)}); it counts as a look."
            raise _refused(problem, look) from error
        return look

    def unfinished(self, fingerprint: str, checkpoint: str) -> Look:
        """The claim without a result that this process may complete: the last look, of the same
        checkpoint, whose claimant is dead; else Refused."""
        known, rows = self.known(fingerprint), self.looks(fingerprint)
        if not known or known[-1].result is not None:
            cure = "Leave complete=true away."
            raise UserError("There is no claim without a result.", value=None, cure=cure)
        look = known[-1]
        if look not in rows or self._is_another_claims(look):
            raise _refused(_why(look, look in rows, checkpoint), look)
        if look.checkpoint != checkpoint:
            raise _refused(f"{look} was claimed for another checkpoint.", look)
        if not on_this_host(look.claimant):
            raise _refused(f"{look} was claimed on another host; go on there.", look)
        if is_alive(look.claimant):
            raise _refused(f"{look}: its process {look.claimant['pid']} still runs.", look)
        return look

    def resume(self, fingerprint: str, checkpoint: str) -> Look:
        """Take over the unfinished claim, for one process alone."""
        self.prepare()
        look = self.unfinished(fingerprint, checkpoint)
        mine = dataclasses.replace(look, claimant=this_process())
        with _recording(look):
            if not self._update(look, claimant=json.dumps(dict(mine.claimant))):
                raise _refused(f"{look} was taken over by another process.", look)
            _rewrite(self.path(mine), mine)  # it may be torn, or never written
        return mine

    def finish(self, look: Look, result: Mapping[str, Any]) -> Look:
        """Record the result of a look that this process owns, in both layers."""
        done = dataclasses.replace(look, result=result)
        with _recording(look):
            if not self._update(look, result=json.dumps(dict(result), allow_nan=False)):
                raise _refused(f"{look} is no longer this process's.", look)
            _rewrite(self.path(done), done)
        return done

    def mend(self, done: Look) -> None:
        """Put the result into a receipt that a kill kept without it."""
        path = self.path(done)
        if (
            path.exists()
            and not self._is_another_claims(done)
            and read_receipt(path).result is None
        ):
            _rewrite(path, done)

    def _is_another_claims(self, look: Look) -> bool:
        """Whether the receipt of that number was written for a claim in another database."""
        path = self.path(look)
        if not path.exists() or (receipt := read_receipt(path)).claimed == UNKNOWN:
            return False
        return (receipt.claimed, receipt.checkpoint) != (look.claimed, look.checkpoint) or (
            look.result is None and receipt.result is not None
        )

    def _update(self, look: Look, **values: str) -> bool:
        """Change the row of an unfinished look that still has the same claimant."""
        change = sql.update(_TABLE).where(
            _COLUMN.fingerprint == look.fingerprint,
            _COLUMN.number == look.number,
            _COLUMN.claimant == json.dumps(dict(look.claimant)),
            _COLUMN.result.is_(None),
        )
        with self._engine().begin() as connection:
            return connection.execute(change.values(**values)).rowcount == 1

    def _engine(self) -> sql.Engine:
        """Without a pool, so that no connection outlives its use or crosses a fork."""
        return sql.create_engine(self.url, **engine_options(self.url), poolclass=sql.NullPool)

    def _create_table(self) -> None:
        """Of several processes on an empty database one creates it; the others find it a moment
        later, between their look and their CREATE."""
        engine = self._engine()
        try:
            _TABLE.create(engine, checkfirst=True)
        except SQLAlchemyError:
            if not sql.inspect(engine).has_table(_TABLE.name):
                raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sql.Connection | None]:
        """A connection, or None where there is no ledger yet; a reader creates no file."""
        sqlite = self.url.get_backend_name() == "sqlite"
        if sqlite and not Path(str(self.url.database)).exists():
            yield None
            return
        try:
            with self._engine().connect() as connection:
                yield connection if sql.inspect(connection).has_table(_TABLE.name) else None
        except SQLAlchemyError as error:
            cure = "The looks must be known before the test split may be read."
            raise UserError(f"The ledger: {said(error)}.", value=None, cure=cure) from error

    def path(self, look: Look) -> Path:
        return self.folder / f"{look.fingerprint}-{look.number}.json"


def _rewrite(path: Path, look: Look) -> None:
    write_json(path, dataclasses.asdict(look), PRIVATE)


def _why(last: Look, in_database: bool, checkpoint: str) -> str:
    if not in_database:
        return f"There is a receipt of {last}, but no row in this database"
    if last.checkpoint != checkpoint:
        return f"The split was looked at before, with another checkpoint: {last}"
    return f"The split has had {last}"


@contextlib.contextmanager
def _recording(look: Look) -> Iterator[None]:
    """A disk or a database that fails after the claim is one message, with the way on."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        cure = "Make room, or mend it; then the same command with complete=true goes on."
        problem = f"{look} could not be recorded: {said(error)}."
        raise UserError(problem, value=look.number, cure=cure) from error


def _refused(problem: str, look: Look) -> Refused:
    cure = (
        'To look again, say why: another_look="…"; it is recorded, counted and shown. '
        "A claim without a result is completed by its checkpoint with complete=true."
    )
    return Refused(problem, value=look.number, cure=cure)


def _look(row: sql.RowMapping) -> Look:
    read = {key: json.loads(row[key]) for key in ("claimant", "about", "result") if row[key]}
    return Look(**{**dict(row), **read})


def _row(look: Look) -> dict[str, Any]:
    written = {key: json.dumps(dict(getattr(look, key))) for key in ("claimant", "about")}
    return {**dataclasses.asdict(look), **written, "result": None}


def _now() -> str:
    """To the microsecond: it tells claims of one number in two databases apart."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
