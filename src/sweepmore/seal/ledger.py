"""Looks at a test split: claimed once, permanently; knows nothing of what is evaluated.

Two layers, which mend each other. A row in the studies' database, where check and claim are one
transaction that no other claim runs beside, so that of all processes that share the database
exactly one wins; the dashboard does not know the table. And a receipt, a file in a folder that is
meant to be committed, so that a deleted look shows in the history. Every doubt counts as a look:
an exception while claiming means "not mine", a crash after the claim leaves "claimed, no result".

A split is known by its fingerprint, and by the keys of its items: under another fingerprint the
same items are no other split (``sweepmore.seal.overlap``).

What this does not stop: somebody who edits the code, deletes both layers, or reads the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from sweepmore.errors import UserError, said
from sweepmore.process.identity import is_alive, on_this_host, this_process
from sweepmore.runs.files import create_private, write_json
from sweepmore.seal.overlap import Items, Overlap, compare, kept
from sweepmore.seal.receipts import PRIVATE, Look, is_cut_off, read_receipt, receipts, write_receipt
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
# A table of its own: databases from before there were keys open as they are.
_KEYS = sql.Table(
    "sweepmore_look_keys",
    _TABLE.metadata,
    sql.Column("fingerprint", sql.String(64), primary_key=True),
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("keys", sql.Text),
    sql.Column("overlap", sql.Text),
)
_OF_KEYS = ("keys", "overlap")
# What lets one claim at a time go on, whatever it claims. Readers do not wait for it. Studies may
# be in other databases (MySQL), looks may not: nobody has raced claims there.
_ALONE = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": f"LOCK TABLE {_TABLE.name} IN EXCLUSIVE MODE",
}
# Of a row that was made from its receipt: where it was claimed it may still be finished, not here.
_FROM_RECEIPT = {"known_by": "its receipt"}


class Refused(UserError):
    """The split has been looked at, or may have been; nothing was read. Exit code 3."""

    exit_code = 3


class UsedUp(Refused):
    """Half of the split was seen in earlier looks: these data have no unseen split left."""


@dataclass(frozen=True)
class Ledger:
    """The looks of all splits: a database and a folder of receipts. ``committed`` is a folder that
    is read as well, wherever the other two are."""

    url: URL
    folder: Path
    committed: Path | None = None

    def prepare(self) -> None:
        """Create what is missing and try to write in both layers; UserError where that fails, or
        where the database is of a kind in which no claim is tested to be alone."""
        if (kind := self.url.get_backend_name()) not in _ALONE:
            cure = "Name the run itself, without storage=: its looks are then kept in SQLite."
            problem = f"The ledger of looks cannot be in {kind}: it needs SQLite or PostgreSQL."
            raise UserError(problem, value=kind, cure=cure)
        with _writing():
            if self.url.get_backend_name() == "sqlite" and self.url.database:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
                create_private(Path(self.url.database))
            self._create_tables()
            with self._engine().connect() as connection:  # never committed
                connection.execute(sql.insert(_TABLE).values(_row(Look("", 0, "", "", {}, {}))))
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass

    def looks(self, fingerprint: str | None = None) -> list[Look]:
        """The looks of a split, or of all, in the database, first one first; writes nothing."""
        with self._reading() as connection:
            return [] if connection is None else _rows(connection, fingerprint)

    def known(self, fingerprint: str | None = None) -> list[Look]:
        """The looks of either layer, first one first; a row goes before its receipt."""
        return self._merged(self.looks(fingerprint), fingerprint)

    def check(
        self,
        fingerprint: str,
        checkpoint: str,
        reason: str | None = None,
        items: Items | None = None,
    ) -> Look:
        """The look that ``claim`` would take; Refused where it would refuse."""
        return self._allowed(self.looks(), fingerprint, checkpoint, reason, items)

    def claim(
        self,
        fingerprint: str,
        checkpoint: str,
        about: Mapping[str, Any],
        reason: str | None = None,
        items: Items | None = None,
    ) -> Look:
        """Take the next look; Refused where the split has one already, or its ``items`` were
        looked at under another fingerprint, unless ``reason`` says why another is taken. Returns
        only to the one process that owns the look. Without ``items`` the fingerprint decides."""
        self.prepare()
        number = None
        try:
            with self._alone() as connection:
                rows = _rows(connection)
                look = self._allowed(rows, fingerprint, checkpoint, reason, items)
                look, number = dataclasses.replace(look, about=about), look.number
                earlier = self._merged(rows)
                _insert(connection, look)
            write_receipt(self.path(look), look)
        except (IntegrityError, FileExistsError) as error:
            problem = f"Another process claimed look {number} of {fingerprint} first."
            raise _refused(problem, number) from error
        except (SQLAlchemyError, OSError) as error:
            problem = f"Claiming failed ({said(error)}); it counts as a look."
            raise _refused(problem, number) from error
        if reason is None:
            self._refuse_rivals(look, earlier, items)
        return look

    def _allowed(
        self,
        rows: list[Look],
        fingerprint: str,
        checkpoint: str,
        reason: str | None,
        items: Items | None,
    ) -> Look:
        """The look that may be taken; Refused where the split, or its items, had one."""
        known = self._merged(rows)
        own = [look for look in known if look.fingerprint == fingerprint]
        overlap = None
        if items is not None:  # its own looks from before there were keys had these items
            texts = {fingerprint: items.text}
            overlap = compare(items, [_completed(look, texts) for look in known])
        if reason is None and own:
            numbers = {look.number for look in rows if look.fingerprint == fingerprint}
            raise _refused(_why(own[-1], own[-1].number in numbers, checkpoint), own[-1].number)
        if reason is None and overlap is not None:
            _refuse_overlap(overlap)
        seen = own != [] or (overlap is not None and _is_seen(overlap))
        return Look(
            fingerprint=fingerprint,
            number=own[-1].number + 1 if own else 1,
            checkpoint=checkpoint,
            claimed=_now(),
            claimant=this_process(),
            about={},
            reason=reason if seen else None,
            overlap=None if overlap is None else overlap.as_json(),
            keys=None if items is None else items.text,
        )

    def _refuse_rivals(self, look: Look, earlier: list[Look], items: Items | None) -> None:
        """Two databases do not see each other's rows, but each claim's receipt is there before
        this: of two at the same time at most one goes on."""
        before = {one.claim for one in (*earlier, look)}
        late = [one for one in self._receipts() if one.claim not in before]
        if items is not None and _is_seen(compare(items, late)):
            problem = f"{late[0]} came from another database at the same time: both count."
            raise _refused(problem, look.number)

    def unfinished(self, fingerprint: str, checkpoint: str) -> Look:
        """The claim without a result that this process may complete: the last look, of the same
        checkpoint, whose claimant is dead; else Refused."""
        known = self.known(fingerprint)
        if not known or known[-1].result is not None:
            cure = "Drop complete=true."
            raise UserError("There is no claim without a result.", value=None, cure=cure)
        look = known[-1]
        claimed_here = {row.number for row in self.looks(fingerprint) if not _is_restored(row)}
        if look.number not in claimed_here or self._is_another_claims(look):
            problem = _why(look, look.number in claimed_here, checkpoint)
            raise _refused(problem, look.number)
        if look.checkpoint != checkpoint:
            raise _refused(f"{look} was claimed for another checkpoint.", look.number)
        if not on_this_host(look.claimant):
            raise _refused(f"{look} was claimed on another host; finish it there.", look.number)
        if is_alive(look.claimant):
            raise _refused(f"{look}: its process {look.claimant['pid']} still runs.", look.number)
        return look

    def resume(self, fingerprint: str, checkpoint: str) -> Look:
        """Take over the unfinished claim, for one process alone."""
        self.prepare()
        look = self.unfinished(fingerprint, checkpoint)
        mine = dataclasses.replace(look, claimant=this_process())
        with _recording(look):
            if not self._update(look, claimant=json.dumps(dict(mine.claimant))):
                raise _refused(f"{look} was taken over by another process.", look.number)
            _rewrite(self.path(mine), mine)  # it may be torn, or never written
        return mine

    def finish(self, look: Look, result: Mapping[str, Any]) -> Look:
        """Record the result of a look that this process owns, in both layers."""
        done = dataclasses.replace(look, result=result)
        with _recording(look):
            if not self._update(look, result=json.dumps(dict(result), allow_nan=False)):
                raise _refused(f"{look} is no longer this process's.", look.number)
            _rewrite(self.path(done), done)
        return done

    def mend(self, fingerprint: str) -> list[str]:
        """Give each layer what the other alone knows of the looks of a split. Returns what was
        restored, in words; a receipt that git knows nothing of is meant to be committed."""
        rows = {look.number: look for look in self.looks(fingerprint)}
        files = {look.number: look for look in self._receipts(fingerprint)}
        told = []
        with _writing():
            for look in self._merged(list(rows.values()), fingerprint):
                row, receipt = rows.get(look.number), files.get(look.number)
                if receipt is None and not _may_still_write(look):
                    self.folder.mkdir(parents=True, exist_ok=True)
                    _rewrite(self.path(look), look)
                    told.append(f"restored the receipt of {look}: {self.path(look)}")
                elif receipt is not None and _lacks(receipt, look):
                    _rewrite(self.path(look), look if receipt.is_torn else _filled(receipt, look))
                if row is None and not look.is_torn:
                    claimant = look.claimant if look.result else {**look.claimant, **_FROM_RECEIPT}
                    self.prepare()
                    with self._alone() as connection:
                        _insert(connection, dataclasses.replace(look, claimant=claimant))
                    told.append(f"restored the row of {look}, from its receipt")
                elif row is not None and _lacks(row, look):
                    self._fill(look)
        return told

    def without_keys(self) -> set[str]:
        """The fingerprints whose looks are from before there were keys."""
        return {look.fingerprint for look in self.known() if look.keys is None}

    def add_keys(self, keys: Mapping[str, frozenset[str]]) -> list[Path]:
        """Complete looks from before there were keys, by the fingerprints of their splits. Returns
        the receipts that were, which are meant to be committed again."""
        texts = {fingerprint: kept(items) for fingerprint, items in keys.items()}
        completed = list[Path]()
        with _writing():
            for row in self.looks():
                if row.keys is None and row.fingerprint in texts:
                    self._fill(_completed(row, texts))
            for receipt in self._receipts():
                # a torn one may hold more than can be read, as between git's marks of a conflict
                if receipt.keys is None and receipt.fingerprint in texts and not receipt.is_torn:
                    _rewrite(self.path(receipt), _completed(receipt, texts))
                    completed.append(self.path(receipt))
        return completed

    def _fill(self, look: Look) -> None:
        """Put into its row, if there is one, what the row lacks."""
        this = _COLUMN.fingerprint == look.fingerprint, _COLUMN.number == look.number
        result = None if look.result is None else json.dumps(dict(look.result))
        self.prepare()
        with self._alone() as connection:
            row = connection.execute(sql.select(_COLUMN.number).where(*this)).first()
            if row is not None:
                lacking = sql.update(_TABLE).where(*this, _COLUMN.result.is_(None))
                connection.execute(lacking.values(result=result))
                _insert_keys(connection, look)

    def _merged(self, rows: list[Look], fingerprint: str | None = None) -> list[Look]:
        """``rows`` with the receipts: what a row lacks, the receipt of the same claim may have. Two
        claims of one number, from two databases, are two looks; the row is the last of them."""
        found = {look.claim: look for look in self._receipts(fingerprint)}
        for row in rows:
            receipt = found.pop(row.claim, None)
            found[row.claim] = row if receipt is None else _filled(row, receipt)
        return sorted(_readable(found.values()), key=lambda look: look.place)

    def _receipts(self, fingerprint: str | None = None) -> list[Look]:
        """Those of the ledger's own folder go before committed ones of the same claim."""
        wanted = "*" if fingerprint is None else fingerprint
        folders = dict.fromkeys((self.committed or self.folder, self.folder))
        found = [look for folder in folders for look in receipts(folder, wanted)]
        return _readable({look.claim: look for look in found}.values())

    def _is_another_claims(self, look: Look) -> bool:
        """Whether the receipt of that number was written for a claim in another database, or by
        nobody knows whom."""
        path = self.path(look)
        if not path.exists():
            return False
        receipt = read_receipt(path)
        return not is_cut_off(path) if receipt.is_torn else not receipt.is_same_claim(look)

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

    def _create_tables(self) -> None:
        """Of several processes on an empty database one creates each; the others find it a moment
        later, between their look and their CREATE."""
        engine = self._engine()
        for table in (_TABLE, _KEYS):
            try:
                table.create(engine, checkfirst=True)
            except SQLAlchemyError:
                if not sql.inspect(engine).has_table(table.name):
                    raise

    @contextlib.contextmanager
    def _alone(self) -> Iterator[sql.Connection]:
        """A transaction that no other claim runs beside, whatever its fingerprint."""
        with self._engine().begin() as connection:
            connection.exec_driver_sql(_ALONE[self.url.get_backend_name()])
            yield connection

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
        """Where its receipt is; in the ledger's own folder, where there is none yet."""
        name = f"{look.fingerprint}-{look.number}.json"
        own, committed = self.folder / name, (self.committed or self.folder) / name
        return committed if committed.exists() and not own.exists() else own


def _rewrite(path: Path, look: Look) -> None:
    """Over a receipt of this look; one that cannot be read and is not cut off stays."""
    if path.exists() and read_receipt(path).is_torn and not is_cut_off(path):
        return
    write_json(path, dataclasses.asdict(look), PRIVATE)


def _lacks(one: Look, look: Look) -> bool:
    """Whether one layer's record of a look lacks what the other knows."""
    missing = [key for key in ("result", *_OF_KEYS) if getattr(one, key) is None]
    known = [key for key in missing if getattr(look, key) is not None]
    return one.is_torn != look.is_torn or (known != [] and one.is_same_claim(look))


def _filled(one: Look, other: Look) -> Look:
    """With what it lacks, from the other layer's record of the same claim."""
    lacking = ("result", *_OF_KEYS)
    missing = {key: getattr(other, key) for key in lacking if getattr(one, key) is None}
    return dataclasses.replace(one, **missing)


def _readable(looks: Collection[Look]) -> list[Look]:
    """Without damaged receipts, where another record of that number tells whose claim it is."""
    told = {look.place for look in looks if not look.is_torn}
    return [look for look in looks if not look.is_torn or look.place not in told]


def _completed(look: Look, texts: Mapping[str, str]) -> Look:
    """With the keys of its split, where it has none and they are known."""
    if look.keys is not None or look.fingerprint not in texts:
        return look
    return dataclasses.replace(look, keys=texts[look.fingerprint])


def _may_still_write(look: Look) -> bool:
    """Whether the process that claimed it may be about to write its receipt itself."""
    if look.result is not None or _is_restored(look):
        return False
    return not on_this_host(look.claimant) or is_alive(look.claimant)


def _is_restored(row: Look) -> bool:
    return _FROM_RECEIPT.items() <= row.claimant.items()


def _why(last: Look, in_database: bool, checkpoint: str) -> str:
    if not in_database:
        return f"There is a receipt of {last}, but no row in this database"
    if last.checkpoint != checkpoint:
        return f"The split was looked at before, with another checkpoint: {last}"
    return f"The split has had {last}"


def _is_seen(overlap: Overlap) -> bool:
    return overlap.beyond_chance is not None or overlap.is_used_up


def _refuse_overlap(overlap: Overlap) -> None:
    """Refused where an earlier look saw more than chance gives, or all of them half."""
    before = overlap.beyond_chance
    if before is not None:
        look = before.look
        problem = (
            f"{before.shared:,} of its {overlap.items:,} items were looked at before, under the "
            f"fingerprint {look.fingerprint} (chance gives {before.expected:,.0f}): {look}"
        )
        raise _refused(problem, look.number)
    if overlap.is_used_up:
        looks = f"{len(overlap.before)} look{'' if len(overlap.before) == 1 else 's'}"
        problem = f"{overlap.union:,} of its {overlap.items:,} items were looked at in {looks}."
        raise UsedUp(problem, value=overlap.union, cure=_CURE)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """A ledger that cannot be written is one message."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        cure = "The ledger must be writable before the test split may be read."
        raise UserError(f"The ledger: {said(error)}.", value=None, cure=cure) from error


@contextlib.contextmanager
def _recording(look: Look) -> Iterator[None]:
    """A disk or a database that fails after the claim is one message, with the way on."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        cure = "Make room, or repair it. Then rerun the same command with complete=true to finish."
        problem = f"{look} could not be recorded: {said(error)}."
        raise UserError(problem, value=look.number, cure=cure) from error


_CURE = (
    'To look again, say why: another_look="…"; it is recorded, counted and shown. '
    "A claim without a result is completed by its checkpoint with complete=true."
)


def _refused(problem: str, number: int | None) -> Refused:
    return Refused(problem, value=number, cure=_CURE)


def _rows(connection: sql.Connection, fingerprint: str | None = None) -> list[Look]:
    """In the order of their numbers; without keys where the database is from before these."""
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
    read = {key: json.loads(row[key]) for key in texts if row.get(key)}
    return Look(**{**dict(row), **read})


def _insert(connection: sql.Connection, look: Look) -> None:
    connection.execute(sql.insert(_TABLE).values(_row(look)))
    _insert_keys(connection, look)


def _insert_keys(connection: sql.Connection, look: Look) -> None:
    """Instead of what was there: less, and of the same look."""
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


def _now() -> str:
    """To the microsecond: it tells claims of one number in two databases apart."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def looks_at(fingerprint: str, folder: Path, url: URL | None = None) -> int:
    """How many looks a split has had, by receipts and, where there is a database, by rows, for
    whoever only says so: one that does not answer is not counted."""
    with contextlib.suppress(UserError):
        if url is not None:
            return len(Ledger(url, folder).known(fingerprint))
    return len(receipts(folder, fingerprint))
