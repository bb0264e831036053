"""Which items of a split earlier looks have seen, and whether chance explains how many.

Items are compared by keys, which the application makes: nothing here knows what an item is.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepmore.seal.receipts import Look

# Hex digits of a key: with 64 bits, two of 10 million items share a key in 1 of 370,000 files.
DIGITS = 16
# Standard deviations above what chance gives: 1 honest split in 10^9 is refused.
SIGMAS = 6


def key_of(text: str) -> str:
    """Return the key of an item: a prefix of the SHA-256 of its text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


@dataclass(frozen=True)
class Items:
    """What a look would see.

    ``keys`` (texts without blanks) are those of its distinct items. ``times`` is how often each key
    occurs in all data, and ``share`` the fraction of the data that is in the split.
    """

    keys: frozenset[str]
    times: Mapping[str, int]
    share: float

    @property
    def text(self) -> str:
        """Return the keys as a look stores them."""
        return kept(self.keys)


def kept(keys: frozenset[str]) -> str:
    """Return keys as a look stores them: sorted, with blanks between them."""
    return " ".join(sorted(keys))


@dataclass(frozen=True)
class Before:
    """An earlier look beside a new one.

    ``shared`` is how many items of the new look it saw, ``expected`` how many two random splits of
    these data share, and ``limit`` the most that still passes for chance.
    """

    look: Look
    shared: int
    expected: float
    limit: float

    def as_json(self) -> dict[str, Any]:
        """Return the plain values that a receipt stores."""
        return {
            "fingerprint": self.look.fingerprint,
            "number": self.look.number,
            "claimed": self.look.claimed,
            "shared": self.shared,
            "by_chance": round(self.expected, 1),
        }


@dataclass(frozen=True)
class Overlap:
    """Which of a new look's ``items`` earlier looks saw.

    ``before`` holds the looks that share some. ``union`` counts the items that any of them saw, and
    ``unknown`` holds the looks that kept no keys, as in older versions.
    """

    items: int
    before: Sequence[Before]
    union: int
    unknown: Sequence[Look]

    @property
    def beyond_chance(self) -> Before | None:
        """Return the earlier look that saw the most items, if any saw more than chance gives."""
        beyond = [earlier for earlier in self.before if earlier.shared > earlier.limit]
        return max(beyond, key=lambda earlier: earlier.shared, default=None)

    @property
    def is_used_up(self) -> bool:
        """Whether earlier looks together saw at least half of the items."""
        return bool(self.before) and 2 * self.union >= self.items

    @property
    def is_seen(self) -> bool:
        """Whether a look at these items needs a reason.

        It does if an earlier look saw more of them than chance gives, or if all earlier looks
        together saw half.
        """
        return self.beyond_chance is not None or self.is_used_up

    def as_json(self) -> dict[str, Any]:
        """Return the plain values that a receipt stores."""
        return {
            "items": self.items,
            "looks": [earlier.as_json() for earlier in self.before],
            "union": self.union,
            "unknown": [
                {"fingerprint": look.fingerprint, "number": look.number} for look in self.unknown
            ],
        }


def compare(items: Items, earlier: Sequence[Look]) -> Overlap:
    """Compare a new look with each earlier one, whatever data and settings that had."""
    keyed = [(look, look.items) for look in earlier if look.items is not None]
    before = [compared(items, look, keys) for look, keys in keyed]
    union = frozenset[str]().union(*(keys for _, keys in keyed))
    return Overlap(
        items=len(items.keys),
        before=[comparison for comparison in before if comparison.shared],
        union=len(union & items.keys),
        unknown=[look for look in earlier if look.items is None],
    )


def compared(items: Items, look: Look, keys: frozenset[str]) -> Before:
    """Compare a new look with an earlier one, which saw the items with these ``keys``.

    An item that occurs c times in the data is in a random split of share s with probability
    p = 1 - (1 - s)^c. So by chance, the new look shares the sum of p over those of the earlier
    look's items that are in the data, with variance sum of p (1 - p).
    """
    held = sorted(key for key in keys if key in items.times)
    chances = [1 - (1 - items.share) ** items.times[key] for key in held]
    expected = math.fsum(chances)
    spread = math.sqrt(math.fsum(p * (1 - p) for p in chances))
    return Before(look, len(keys & items.keys), expected, expected + SIGMAS * spread)


def in_words(overlap: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield a line for each earlier look of ``Overlap.as_json``, and a line for all together."""
    overlap = overlap or {}
    items = overlap.get("items", 0)
    for look in overlap.get("looks", ()):
        yield (
            f"seen     {look['shared']:,} of {items:,} distinct lines by look {look['number']} at "
            f"{look['fingerprint'][:8]} ({look['claimed'][:10]}); "
            f"by chance {look['by_chance']:,.0f}"
        )
    if len(overlap.get("looks", ())) > 1:
        yield f"seen     {overlap['union']:,} of {items:,} distinct lines by any of these looks"
    for look in overlap.get("unknown", ()):
        yield (
            f"unknown  which lines look {look['number']} at {look['fingerprint'][:8]} saw: it kept "
            "no keys, and this file does not give its split"
        )
