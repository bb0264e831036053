"""Two records of a look, a row and a receipt: how they are merged, and what each lacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from sweepmore.process.identity import is_alive, on_this_host
from sweepmore.seal.receipts import Look

# What one record of a look may lack and the other may know.
_MAY_LACK = ("result", "keys", "overlap")
# Marks a row that was made from its receipt: a look may only be finished where it was claimed.
_FROM_RECEIPT = {"known_by": "its receipt"}


def merged(rows: Sequence[Look], receipts: Sequence[Look]) -> list[Look]:
    """Return the looks of both layers in order: rows, and receipts that have no row.

    A row is filled with what only the receipt of the same claim knows. Two claims of one number,
    from two databases, are two looks, and the row is the later of them.
    """
    looks = {look.claim: look for look in receipts}
    for row in rows:
        receipt = looks.pop(row.claim, None)
        looks[row.claim] = row if receipt is None else filled(row, receipt)
    return sorted(readable(looks.values()), key=lambda look: look.place)


def readable(looks: Collection[Look]) -> list[Look]:
    """Leave out a damaged receipt if another record of its number says whose claim it is."""
    places = {look.place for look in looks if not look.is_torn}
    return [look for look in looks if not look.is_torn or look.place not in places]


def lacks(record: Look, other: Look) -> bool:
    """Whether one layer's record of a look lacks what the other knows."""
    missing = [key for key in _MAY_LACK if getattr(record, key) is None]
    fillable = [key for key in missing if getattr(other, key) is not None]
    return record.is_torn != other.is_torn or (fillable != [] and record.is_same_claim(other))


def filled(record: Look, other: Look) -> Look:
    """Return a record with what it lacks, taken from the other layer's record of the same claim.

    A damaged record lacks everything.
    """
    if record.is_torn:
        return other
    missing = {key: getattr(other, key) for key in _MAY_LACK if getattr(record, key) is None}
    return dataclasses.replace(record, **missing)


def completed(look: Look, texts: Mapping[str, str]) -> Look:
    """Return a look with the keys of its split, if it has none and ``texts`` holds them.

    ``texts`` maps the fingerprint of a split to its keys, as a look stores them.
    """
    if look.keys is not None or look.fingerprint not in texts:
        return look
    return dataclasses.replace(look, keys=texts[look.fingerprint])


def may_still_write(look: Look) -> bool:
    """Whether the process that claimed a look may be about to write its receipt itself."""
    if look.result is not None or is_restored(look):
        return False
    return not on_this_host(look.claimant) or is_alive(look.claimant)


def restored(look: Look) -> Look:
    """Return the row to write for a look that has only a receipt left.

    Without a result it is marked, because only the database of the claim may finish a look.
    """
    if look.result:
        return look
    return dataclasses.replace(look, claimant={**look.claimant, **_FROM_RECEIPT})


def is_restored(row: Look) -> bool:
    """Whether the row of an unfinished look was made from its receipt."""
    return _FROM_RECEIPT.items() <= row.claimant.items()
