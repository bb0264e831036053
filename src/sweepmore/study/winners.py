"""The confirmed winner of a study, and how its number is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweepmore.wording import plural, plus_minus


def seeds_of(record: Mapping[str, Any]) -> str:
    """Which seeds gave the mean of a winner's record: final ones, else those that chose it (a
    record from before there were final ones, or of a single configuration)."""
    kind = "fresh seed" if record.get("final") is None else "final seed"
    return plural(record["seeds"], kind)


def reported(record: Mapping[str, Any]) -> str:
    """The mean of a winner's record with its interval and the seeds that gave it; where the same
    seeds chose the winner, it says so, with the cure."""
    among = len(record.get("rows", ()))
    over = seeds_of(record)
    if record.get("final") is None and among > 1:
        over += f", which also chose it among {among}: confirm.py adds final ones"
    return f"{plus_minus(record['mean'], record['half_width'])} (95 %, over {over})"
