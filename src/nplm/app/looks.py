"""How many looks at a split's test lines are recorded, for display; no test line is read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from nplm.data import Splits
from nplm.run_files import LOOKS
from sweepmore.compose.composing import composing
from sweepmore.errors import UserError
from sweepmore.seal.receipts import Look, receipts
from sweepmore.wording import plural

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


@dataclass(frozen=True)
class Looks:
    """Numbers of looks at this split, and at other splits of the data of the same name.

    Only ``evaluate_test.py`` can find out whether the others saw the same lines: it compares
    hashes of the test lines, which a training run must not know.
    """

    own: int
    others: int
    data: str

    def __str__(self) -> str:
        looks = plural(self.own, "look")
        if not self.others:
            return looks
        where = "another split" if self.others == 1 else "other splits"
        return f"{looks}; {self.others:,} at {where} of {self.data}, which may hold the same lines"


def looks_at(splits: Splits, folder: Path, url: URL | None) -> Looks:
    """Count looks by the receipts in ``folder`` and, where ``url`` names a database, by its rows; a
    database that does not answer is left out."""
    recorded = _recorded(folder, url)
    own = [look for look in recorded if look.fingerprint == splits.fingerprint]
    same = [look for look in recorded if look.about.get("data") == splits.name]
    return Looks(len(own), len([look for look in same if look not in own]), splits.name)


def _recorded(folder: Path, url: URL | None) -> Sequence[Look]:
    if url is not None:
        from sweepmore.seal.ledger import Ledger  # SQLAlchemy, which receipts alone do not need

        with contextlib.suppress(UserError):
            return Ledger(url, folder).known()
    return receipts(folder)


def recorded_looks(splits: Splits, root: Path, sweeper: DictConfig) -> Looks:
    """Count the looks that the application in the folder ``root`` has recorded, at this split and
    at others of the same data; ``sweeper`` says where a sweep with these settings has its
    database."""
    return looks_at(splits, root / LOOKS, _ledger(root, sweeper))


def _ledger(root: Path, sweeper: DictConfig) -> URL | None:
    """Return the database's address, or None where there is none. A database that a sweep would
    refuse is no error here: a single run does not use it."""
    written = OmegaConf.to_container(sweeper, resolve=False)
    assert isinstance(written, dict)
    outputs = root / str(written.get("outputs") or "outputs")
    if written.get("storage") is None and not (outputs / "studies.db").exists():
        return None  # no database: do not load what reads one
    from sweepmore.storage.urls import place_of, storage_url

    with contextlib.suppress(UserError), composing():
        place = place_of(written.get("storage"), sweeper.get("storage"))
        return storage_url(place.written, place.resolved, outputs)
    return None
