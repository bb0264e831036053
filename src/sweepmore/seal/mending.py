"""Two records of a look, a row and a receipt: how they are merged, and what each lacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from sweepmore.process.identity import is_alive, on_this_host
from sweepmore.seal.receipts import Look

# What one record of a look may lack and the other may know.
_MAY_LACK = ("result", "keys", "overlap")
# Marks a row that was made from its receipt: only where the look was claimed may it be finished.
_FROM_RECEIPT = {"known_by": "its receipt"}


def merged(rows: Sequence[Look], receipts: Sequence[Look]) -> list[Look]:
    """Return the looks of either layer, first one first: rows, filled with what the receipt of the
    same claim knows besides, and receipts without a row.

    Two claims of one number, from two databases, are two looks; the row is the last of them.
    """
    looks = {look.claim: look for look in receipts}
    for row in rows:
        receipt = looks.pop(row.claim, None)
        looks[row.claim] = row if receipt is None else filled(row, receipt)
    return sorted(readable(looks.values()), key=lambda look: look.place)


def readable(looks: Collection[Look]) -> list[Look]:
    """Leave out damaged receipts where another record of that number says whose claim it is."""
    places = {look.place for look in looks if not look.is_torn}
    return [look for look in looks if not look.is_torn or look.place not in places]


def lacks(record: Look, other: Look) -> bool:
    """Whether one layer's record of a look lacks what the other knows."""
    missing = [key for key in _MAY_LACK if getattr(record, key) is None]
    known = [key for key in missing if getattr(other, key) is not None]
    return record.is_torn != other.is_torn or (known != [] and record.is_same_claim(other))


def filled(record: Look, other: Look) -> Look:
    """Return a record with what it lacks, from the other layer's record of the same claim. A
    damaged record lacks everything."""
    if record.is_torn:
        return other
    missing = {key: getattr(other, key) for key in _MAY_LACK if getattr(record, key) is None}
    return dataclasses.replace(record, **missing)


def completed(look: Look, texts: Mapping[str, str]) -> Look:
    """Return a look with the keys of its split, where it has none and ``texts`` holds them by
    fingerprint."""
    if look.keys is not None or look.fingerprint not in texts:
        return look
    return dataclasses.replace(look, keys=texts[look.fingerprint])


def may_still_write(look: Look) -> bool:
    """Whether the process that claimed a look may be about to write its receipt itself."""
    if look.result is not None or is_restored(look):
        return False
    return not on_this_host(look.claimant) or is_alive(look.claimant)


def restored(look: Look) -> Look:
    """Return what is written as the row of a look of which only the receipt is left."""
    if look.result:
        return look
    return dataclasses.replace(look, claimant={**look.claimant, **_FROM_RECEIPT})


def is_restored(row: Look) -> bool:
    return _FROM_RECEIPT.items() <= row.claimant.items()
