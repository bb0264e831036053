"""How many looks at test are known of a split, for whoever only says so; no test line is read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from nplm.data import Splits
from sweepmore.compose.composing import composing
from sweepmore.errors import UserError
from sweepmore.seal.receipts import Look, receipts
from sweepmore.wording import plural

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


@dataclass(frozen=True)
class Looks:
    """Looks under a split's fingerprint, and looks at other splits of the data of that name.

    Whether the others saw the same lines only ``evaluate_test.py`` can find out: it compares
    hashes of the test lines, which a training run must not know.
    """

    own: int
    others: int
    data: str

    def __str__(self) -> str:
        told = plural(self.own, "look")
        if not self.others:
            return told
        where = "another split" if self.others == 1 else "other splits"
        return f"{told}; {self.others:,} at {where} of {self.data}, which may hold the same lines"


def looks_at(splits: Splits, folder: Path, url: URL | None) -> Looks:
    """By the receipts in ``folder`` and, where there is a database, by its rows; one that does not
    answer is not counted."""
    known = _known(folder, url)
    own = [look for look in known if look.fingerprint == splits.fingerprint]
    same = [look for look in known if look.about.get("data") == splits.name]
    return Looks(len(own), len([look for look in same if look not in own]), splits.name)


def _known(folder: Path, url: URL | None) -> Sequence[Look]:
    if url is not None:
        from sweepmore.seal.ledger import Ledger  # SQLAlchemy, which receipts alone do not need

        with contextlib.suppress(UserError):
            return Ledger(url, folder).known()
    return receipts(folder)


def known_here(splits: Splits, root: Path, sweeper: DictConfig) -> Looks:
    """The looks that are known to the application in the folder ``root``, of this split and of
    other ones of the same data; ``sweeper`` says where a sweep with these settings has its
    database."""
    return looks_at(splits, root / "sweeps" / "looks", _ledger(root, sweeper))


def _ledger(root: Path, sweeper: DictConfig) -> URL | None:
    """None where there is no database. One that a sweep would refuse is no error here: a single
    run has no use for it."""
    written = OmegaConf.to_container(sweeper, resolve=False)
    assert isinstance(written, dict)
    outputs = root / str(written.get("outputs") or "outputs")
    if written.get("storage") is None and not (outputs / "studies.db").exists():
        return None  # no reason to load what reads one
    from sweepmore.storage.urls import place_of, storage_url

    with contextlib.suppress(UserError), composing():
        place = place_of(written.get("storage"), sweeper.get("storage"))
        return storage_url(place.written, place.resolved, outputs)
    return None
