"""What a figure shows, before it is drawn: points, curves and their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    pass


# Which values of a chart are better. None: neither end is, and no outlier is left out.
Better = Literal["low", "high"] | None


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot. A page shows ``tooltip`` when you point at it."""

    x: float
    y: float
    tooltip: str
    style: str = "complete"  # or pruned, tied, winner; labelled: its tooltip is drawn on it
    half: float | None = None  # half the width of the interval of y


@dataclass(frozen=True)
class Curve:
    """A line, with a band around it where ``low`` and ``high`` are given."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dashed: bool = False  # also takes the colour of the curve before: same run, other loss


@dataclass(frozen=True)
class Chart:
    """One pair of axes, ready to draw.

    ``categories`` names the ticks if x is a choice, or the rows and columns of ``counts``, a square
    table that is drawn as a heat map.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    points: Sequence[Point] = ()
    curves: Sequence[Curve] = ()
    bars: Sequence[tuple[str, float]] = ()
    counts: Sequence[Sequence[int]] = ()
    log_x: bool = False
    log_y: bool = False
    categories: Sequence[str] = ()
    diagonal: bool = False  # y = x as a thin line
    steps: bool = False  # curves as stairs
    better: Better = "low"  # outliers at the other end are left out
    top: float | None = None  # where the y axis ends; None: by the data
    bottom: float | None = None
    legend: Mapping[str, str] = field(default_factory=dict)  # style of points → what it means
