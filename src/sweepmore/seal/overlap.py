"""Which items of a split earlier looks have seen, and whether chance explains how many.

Items are known by keys, which the application makes: nothing here knows what an item is.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepmore.seal.receipts import Look

# Hex digits of a key: 64 bits, so that among 10 million items two share one in 1 of 370,000 files.
DIGITS = 16
# Standard deviations above what chance gives: an honest split is refused in one of 10^9.
SIGMAS = 6


def key_of(text: str) -> str:
    """A prefix of the hash of what an item says."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


@dataclass(frozen=True)
class Items:
    """What a look would see: ``keys`` (texts without blanks) of its distinct items; ``times``, how
    often all data together hold each key; ``share`` of the data, which chance put into the split.
    """

    keys: frozenset[str]
    times: Mapping[str, int]
    share: float

    @property
    def text(self) -> str:
        """The keys as a look keeps them."""
        return kept(self.keys)


def kept(keys: frozenset[str]) -> str:
    return " ".join(sorted(keys))


@dataclass(frozen=True)
class Before:
    """An earlier look: how many items of the new one it saw, how many chance gives two splits of
    these data, and the most that passes for chance."""

    look: Look
    shared: int
    expected: float
    limit: float

    def as_json(self) -> dict[str, Any]:
        return {
            "fingerprint": self.look.fingerprint,
            "number": self.look.number,
            "claimed": self.look.claimed,
            "shared": self.shared,
            "by_chance": round(self.expected, 1),
        }


@dataclass(frozen=True)
class Overlap:
    """The items of a new look that earlier ones saw. ``before`` are the looks that share some,
    ``union`` is how many any of them saw, ``unknown`` are the looks that kept no keys."""

    items: int
    before: Sequence[Before]
    union: int
    unknown: Sequence[Look]

    @property
    def beyond_chance(self) -> Before | None:
        """The earlier look that saw the most items, of those that saw more than chance gives."""
        beyond = [one for one in self.before if one.shared > one.limit]
        return max(beyond, key=lambda one: one.shared, default=None)

    @property
    def is_used_up(self) -> bool:
        """Whether half of the items or more were seen before, by whichever looks."""
        return bool(self.before) and 2 * self.union >= self.items

    @property
    def is_seen(self) -> bool:
        """Whether a look at these items needs a reason: one earlier look saw more of them than
        chance gives, or all of these together saw half."""
        return self.beyond_chance is not None or self.is_used_up

    def as_json(self) -> dict[str, Any]:
        return {
            "items": self.items,
            "looks": [one.as_json() for one in self.before],
            "union": self.union,
            "unknown": [
                {"fingerprint": look.fingerprint, "number": look.number} for look in self.unknown
            ],
        }


def compare(items: Items, earlier: Sequence[Look]) -> Overlap:
    """A new look beside each earlier one, whatever data and settings that had."""
    known = [(look, look.items) for look in earlier if look.items is not None]
    before = [compared(items, look, seen) for look, seen in known]
    union = frozenset[str]().union(*(seen for _, seen in known))
    return Overlap(
        items=len(items.keys),
        before=[one for one in before if one.shared],
        union=len(union & items.keys),
        unknown=[look for look in earlier if look.items is None],
    )


def compared(items: Items, look: Look, seen: frozenset[str]) -> Before:
    """An item that the data hold c times is in a split of share s with p = 1 - (1 - s)^c; chance
    gives two splits the sum of p over the items that the earlier look saw and the data hold."""
    held = sorted(key for key in seen if key in items.times)
    chances = [1 - (1 - items.share) ** items.times[key] for key in held]
    expected = math.fsum(chances)
    spread = math.sqrt(math.fsum(p * (1 - p) for p in chances))
    return Before(look, len(seen & items.keys), expected, expected + SIGMAS * spread)


def in_words(overlap: Mapping[str, Any] | None) -> Iterator[str]:
    """A line for each earlier look that ``Overlap.as_json`` holds, and one for all together."""
    overlap = overlap or {}
    items = overlap.get("items", 0)
    for one in overlap.get("looks", ()):
        yield (
            f"seen     {one['shared']:,} of {items:,} distinct lines by look {one['number']} at "
            f"{one['fingerprint'][:8]} ({one['claimed'][:10]}); by chance {one['by_chance']:,.0f}"
        )
    if len(overlap.get("looks", ())) > 1:
        yield f"seen     {overlap['union']:,} of {items:,} distinct lines by any of these looks"
    for one in overlap.get("unknown", ()):
        yield (
            f"unknown  which lines look {one['number']} at {one['fingerprint'][:8]} saw: it kept "
            "no keys, and this file does not give its split"
        )
