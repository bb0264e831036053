"""The confirmed winner of a study, and how its number is told."""

from __future__ import annotations

from sweepmore.study.attributes import Winner
from sweepmore.wording import plural, plus_minus


def seeds_of(winner: Winner) -> str:
    """Which seeds gave the mean of a winner's record: final ones, else those that chose it (a
    record from before there were final ones, or of a single configuration)."""
    kind = "fresh seed" if winner.final is None else "final seed"
    return plural(winner.seeds, kind)


def reported(winner: Winner) -> str:
    """The mean of a winner's record with its interval and the seeds that gave it; where the same
    seeds chose the winner, it says so, with the cure."""
    among = len(winner.rows)
    over = seeds_of(winner)
    if winner.final is None and among > 1:
        over += f", which also chose it among {among}: confirm.py adds final ones"
    return f"{plus_minus(winner.mean, winner.half_width)} (95 %, over {over})"
