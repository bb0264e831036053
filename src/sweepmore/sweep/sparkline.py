"""A study's history as a sparkline: a block for each complete trial, in the order they began."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from sweepmore.study.view import StudyView
from sweepmore.wording import decimals, plural

BLOCKS = "▁▂▃▄▅▆▇█"
# Fewer trials than these are no history.
FEWEST = 3
# Blocks at most: more are hard to compare by eye (a guess).
WIDEST = 100
# The scale ends half as far beyond the third quartile as that is from the best: a quarter of bad
# trials, however bad they are, leaves two thirds of the height to the others.
QUARTILE, REACH = 0.75, 1.5
# From this ratio of the third quartile to the best on, the scale is logarithmic (a guess).
DECADES = 100.0


@dataclass(frozen=True)
class History:
    """What the sparkline shows: a block for each ``each`` trials, as high as the best of them.

    ``heights`` are from 0 to 1, and ``improved`` says which blocks beat all before. ``best`` and
    ``limit`` are the values at the two ends; ``is_cut`` says that some are worse than ``limit``.
    The best was the ``found``-th of all ``complete`` trials.
    """

    heights: tuple[float, ...]
    improved: tuple[bool, ...]
    each: int
    best: float
    limit: float
    is_cut: bool
    found: int
    complete: int


def history(seen: StudyView, room: int) -> History | None:
    """Prepare a study's history for ``room`` columns.

    None with several objectives, whose best is not a number, and with fewer than ``FEWEST`` trials.
    """
    if len(seen.directions) > 1 or len(seen.ranked) < FEWEST:
        return None
    # Losses from here on: lower is better.
    sign, trials = seen.sign(), sorted(seen.ranked, key=lambda attempt: attempt.root)
    losses = [sign * (attempt.values or (math.nan,))[0] for attempt in trials]
    each = math.ceil(len(losses) / max(1, min(room, WIDEST)))
    binned = [min(losses[at : at + each]) for at in range(0, len(losses), each)]
    # From the best to what outliers leave of the range.
    scale = _scale(binned)
    places = [scale.place(loss) for loss in binned]
    best, quartile, worst = min(places), _quartile(places), max(places)
    limit = min(worst, best + REACH * (quartile - best)) if quartile > best else worst
    span = limit - best
    depths = [min(1.0, (place - best) / span) if span > 0 else 0.5 for place in places]
    return History(
        heights=tuple(depth if sign > 0 else 1 - depth for depth in depths),
        improved=tuple(loss < min(binned[:at], default=math.inf) for at, loss in enumerate(binned)),
        each=each,
        best=sign * min(binned),
        limit=sign * (max(binned) if limit == worst else scale.loss(limit)),
        is_cut=limit < worst,
        found=1 + losses.index(min(losses)),
        complete=len(losses),
    )


def _quartile(numbers: Sequence[float]) -> float:
    return sorted(numbers)[math.floor(QUARTILE * (len(numbers) - 1))]


@dataclass(frozen=True)
class _Scale:
    """Where a loss lies on the axis, and back."""

    side: int  # 0: linear; else logarithmic, for losses above zero (1) or below it (-1)

    def place(self, loss: float) -> float:
        # A quarter, because the distance between two floats may be larger than any float.
        return self.side * math.log(abs(loss)) if self.side else loss / 4

    def loss(self, place: float) -> float:
        return self.side * math.exp(self.side * place) if self.side else 4 * place


def _scale(losses: Sequence[float]) -> _Scale:
    """Choose a scale: a linear one would show only the largest of losses that span decades."""
    if min(losses) <= 0 <= max(losses):
        return _Scale(0)
    ends = sorted((abs(min(losses)), abs(_quartile(losses))))
    return _Scale(int(math.copysign(1, losses[0])) if ends[1] / DECADES >= ends[0] else 0)


def drawn(shown: History) -> Text:
    """Draw the blocks; those that beat all before are bold and green."""
    return Text.assemble(
        *(
            (BLOCKS[round(height * (len(BLOCKS) - 1))], "bold green" if improved else "cyan")
            for height, improved in zip(shown.heights, shown.improved)
        )
    )


def told(shown: History) -> str:
    """Say what the lowest and the highest block stand for, and when the best was found."""
    best, worst = decimals(shown.best, shown.limit), decimals(shown.limit, shown.best)
    if shown.is_cut:
        worst += " or worse"
    low, high = (best, worst) if shown.best <= shown.limit else (worst, best)
    parts = [f"▁ {low} · █ {high}"]
    if shown.each > 1:
        parts.append(f"a block is the best of {plural(shown.each, 'trial')}")
    parts.append(f"the best came after {shown.found:,} of {plural(shown.complete, 'trial')}")
    return "; ".join(parts)
