"""How many looks at test are known of a split, for whoever only says so; no test line is read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nplm.data import Splits
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
