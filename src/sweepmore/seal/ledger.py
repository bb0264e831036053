"""Looks at a test split: claimed once, permanently; knows nothing of what is evaluated.

Two layers, which mend each other: a row in the studies' database (``rows``), and a receipt, a file
in a folder that is meant to be committed, so that a deleted look shows in the history. Every doubt
counts as a look: an exception while claiming means "not mine", a crash after the claim leaves
"claimed, no result".

A split is recognised by its fingerprint and by the keys of its items: the same items under another
fingerprint are still the same split (``sweepmore.seal.overlap``). This does not stop somebody who
edits the code, deletes both layers, or reads the file.

One file, because every method keeps the same promise: a look, once claimed, is never lost.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from sweepmore.errors import UserError, said
from sweepmore.process.identity import is_alive, on_this_host, this_process
from sweepmore.seal import mending
from sweepmore.seal.overlap import Items, compare, kept
from sweepmore.seal.receipts import Look, is_of, receipts, rewrite_receipt, write_receipt
from sweepmore.seal.refusals import recording, refuse_overlap, refused, why, writing
from sweepmore.seal.rows import Rows, insert, read


@dataclass(frozen=True)
class Ledger:
    """The looks of all splits: a database and a folder of receipts.

    ``committed`` is another folder of receipts that is always read, wherever the other two are, so
    that no look is forgotten by naming another place.
    """

    url: URL
    folder: Path
    committed: Path | None = None

    @property
    def rows(self) -> Rows:
        """Return the layer in the database."""
        return Rows(self.url)

    def prepare(self) -> None:
        """Create what is missing and try to write in both layers.

        Raises UserError if that fails, or if claims are not tested to be exclusive in a database of
        this kind. A claim that cannot be recorded must fail before it is made.
        """
        with writing():
            self.rows.prepare()
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass

    def looks(self, fingerprint: str | None = None) -> list[Look]:
        """Return the looks of a split, or of all, in the database, in order. Writes nothing."""
        return self.rows.looks(fingerprint)

    def known(self, fingerprint: str | None = None) -> list[Look]:
        """Return the looks of both layers in order. A row takes precedence over its receipt."""
        return mending.merged(self.looks(fingerprint), self._receipts(fingerprint))

    def check(
        self,
        fingerprint: str,
        checkpoint: str,
        reason: str | None = None,
        items: Items | None = None,
    ) -> Look:
        """Return the look that ``claim`` would take. Raises Refused where it would."""
        return self._allowed(self.looks(), fingerprint, checkpoint, reason, items)

    def claim(
        self,
        fingerprint: str,
        checkpoint: str,
        about: Mapping[str, Any],
        reason: str | None = None,
        items: Items | None = None,
    ) -> Look:
        """Take the next look, and return only in the one process that owns it.

        Raises Refused if the split has had a look, or if its ``items`` were looked at under another
        fingerprint, unless ``reason`` says why another look is taken. Raises Refused, too, if
        another process was first, or if claiming fails halfway, which counts as a look. Without
        ``items``, only the fingerprint is compared.
        """
        self.prepare()
        number = None
        try:
            # the row first, in a transaction that no other claim runs beside; then the receipt
            with self.rows.alone() as connection:
                rows = read(connection)
                look = self._allowed(rows, fingerprint, checkpoint, reason, items)
                look, number = dataclasses.replace(look, about=about), look.number
                earlier = mending.merged(rows, self._receipts())
                insert(connection, look)
            write_receipt(self.path(look), look)
        except (IntegrityError, FileExistsError) as error:
            problem = f"Another process claimed look {number} of {fingerprint} first."
            raise refused(problem, number) from error
        except (SQLAlchemyError, OSError) as error:
            problem = f"Claiming failed ({said(error)}); it counts as a look."
            raise refused(problem, number) from error
        # no transaction spans two databases, but the receipts of both are visible here
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
        """Return the look that may be taken. Raises Refused if the split or its items had one."""
        looks = mending.merged(rows, self._receipts())
        own = [look for look in looks if look.fingerprint == fingerprint]
        overlap = None
        if items is not None:  # its own looks kept no keys in older versions, but had these items
            texts = {fingerprint: items.text}
            overlap = compare(items, [mending.completed(look, texts) for look in looks])
        if reason is None and own:
            numbers = {look.number for look in rows if look.fingerprint == fingerprint}
            raise refused(why(own[-1], own[-1].number in numbers, checkpoint), own[-1].number)
        if reason is None and overlap is not None:
            refuse_overlap(overlap)
        # an unneeded reason is not recorded: it would make a first look appear to be a second
        needs_reason = own != [] or (overlap is not None and overlap.is_seen)
        return Look(
            fingerprint=fingerprint,
            number=own[-1].number + 1 if own else 1,
            checkpoint=checkpoint,
            claimed=_now(),
            claimant=this_process(),
            about={},
            reason=reason if needs_reason else None,
            overlap=None if overlap is None else overlap.as_json(),
            keys=None if items is None else items.text,
        )

    def _refuse_rivals(self, look: Look, earlier: list[Look], items: Items | None) -> None:
        """Raise Refused if another database has a claim of these items from the same time.

        Two databases do not see each other's rows, but each claim writes its receipt before this
        check. So at most one of two simultaneous claims continues.
        """
        before = {other.claim for other in (*earlier, look)}
        late = [receipt for receipt in self._receipts() if receipt.claim not in before]
        if items is not None and compare(items, late).is_seen:
            problem = f"{late[0]} came from another database at the same time: both count."
            raise refused(problem, look.number)

    def unfinished(self, fingerprint: str, checkpoint: str) -> Look:
        """Return the claim without a result that this process may complete.

        It is the last look at the split, with the same checkpoint, and its process has died. Raises
        UserError if no claim lacks a result, and Refused if this process may not complete it.
        """
        looks = self.known(fingerprint)
        if not looks or looks[-1].result is not None:
            cure = "Drop complete=true."
            raise UserError("There is no claim without a result.", value=None, cure=cure)
        look = looks[-1]

        # only the database and the host of the claim can tell whether its process has died
        rows = self.looks(fingerprint)
        claimed_here = {row.number for row in rows if not mending.is_restored(row)}
        if look.number not in claimed_here or not is_of(self.path(look), look):
            raise refused(why(look, look.number in claimed_here, checkpoint), look.number)
        if look.checkpoint != checkpoint:
            raise refused(f"{look} was claimed for another checkpoint.", look.number)
        if not on_this_host(look.claimant):
            raise refused(f"{look} was claimed on another host; finish it there.", look.number)
        if is_alive(look.claimant):
            raise refused(f"{look}: its process {look.claimant['pid']} still runs.", look.number)
        return look

    def resume(self, fingerprint: str, checkpoint: str) -> Look:
        """Take over the unfinished claim, in one process alone.

        Raises what ``unfinished`` raises, and Refused if another process took it over first.
        """
        self.prepare()
        look = self.unfinished(fingerprint, checkpoint)
        mine = dataclasses.replace(look, claimant=this_process())
        with recording(look):
            if not self.rows.update(look, claimant=json.dumps(dict(mine.claimant))):
                raise refused(f"{look} was taken over by another process.", look.number)
            rewrite_receipt(self.path(mine), mine)  # it may be torn, or never written
        return mine

    def finish(self, look: Look, result: Mapping[str, Any]) -> Look:
        """Record the result of a look that this process owns, in both layers.

        Raises Refused if another process has taken the look over, and UserError if the result
        cannot be written, which ``complete=true`` can finish later.
        """
        done = dataclasses.replace(look, result=result)
        with recording(look):
            if not self.rows.update(look, result=json.dumps(dict(result), allow_nan=False)):
                raise refused(f"{look} is no longer this process's.", look.number)
            rewrite_receipt(self.path(done), done)
        return done

    def mend(self, fingerprint: str) -> list[str]:
        """Give each layer what only the other knows about the looks of a split.

        Returns a message for each row or receipt that was restored. A restored receipt is meant to
        be committed.
        """
        rows = {look.number: look for look in self.looks(fingerprint)}
        files = {look.number: look for look in self._receipts(fingerprint)}
        messages = []
        with writing():
            for look in mending.merged([*rows.values()], self._receipts(fingerprint)):
                row, receipt = rows.get(look.number), files.get(look.number)
                # receipt: a missing one comes back, unless its claimant may be about to write it
                if receipt is None and not mending.may_still_write(look):
                    self.folder.mkdir(parents=True, exist_ok=True)
                    rewrite_receipt(self.path(look), look)
                    messages.append(f"restored the receipt of {look}: {self.path(look)}")
                elif receipt is not None and mending.lacks(receipt, look):
                    rewrite_receipt(self.path(look), mending.filled(receipt, look))
                # row: a damaged receipt does not say enough to restore one
                if row is None and not look.is_torn:
                    self.prepare()
                    with self.rows.alone() as connection:
                        insert(connection, mending.restored(look))
                    messages.append(f"restored the row of {look}, from its receipt")
                elif row is not None and mending.lacks(row, look):
                    self.prepare()
                    self.rows.fill(look)
        return messages

    def without_keys(self) -> set[str]:
        """Return the fingerprints of looks that kept no keys, as in older versions."""
        return {look.fingerprint for look in self.known() if look.keys is None}

    def add_keys(self, keys: Mapping[str, frozenset[str]]) -> list[Path]:
        """Complete looks that kept no keys, by the fingerprints of their splits.

        Returns the receipts that were completed, which are meant to be committed again.
        """
        texts = {fingerprint: kept(items) for fingerprint, items in keys.items()}
        completed = list[Path]()
        with writing():
            for row in self.looks():
                if row.keys is None and row.fingerprint in texts:
                    self.prepare()
                    self.rows.fill(mending.completed(row, texts))
            for receipt in self._receipts():
                # a torn receipt may hold more than can be read, as with git's conflict markers
                if receipt.keys is None and receipt.fingerprint in texts and not receipt.is_torn:
                    rewrite_receipt(self.path(receipt), mending.completed(receipt, texts))
                    completed.append(self.path(receipt))
        return completed

    def _receipts(self, fingerprint: str | None = None) -> list[Look]:
        """Return all receipts. The ledger's own replace committed ones of the same claim."""
        folders = dict.fromkeys((self.committed or self.folder, self.folder))
        looks = [look for folder in folders for look in receipts(folder, fingerprint or "*")]
        return mending.readable({look.claim: look for look in looks}.values())

    def path(self, look: Look) -> Path:
        """Return where a look's receipt is, or where to write it: in the ledger's own folder."""
        name = f"{look.fingerprint}-{look.number}.json"
        own, committed = self.folder / name, (self.committed or self.folder) / name
        return committed if committed.exists() and not own.exists() else own


def _now() -> str:
    """Return the time to the microsecond, which tells two databases' claims of a number apart."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
