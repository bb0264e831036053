"""What a figure shows, before it is drawn: points, curves and their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    pass


# Of the values of a chart; None where neither end is better, and then nothing is left out.
Better = Literal["low", "high"] | None


@dataclass(frozen=True)
class Point:
    """Of a scatter: ``told`` is what a page shows when one points at it."""

    x: float
    y: float
    told: str
    style: str = "complete"  # or pruned, tied, winner; labelled: what it tells is drawn on it
    half: float | None = None  # of the interval of y


@dataclass(frozen=True)
class Curve:
    """A line, with a band around it where ``low`` and ``high`` are given."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dashed: bool = False  # and in the colour of the one before: the other loss of the same run


@dataclass(frozen=True)
class Chart:
    """One pair of axes, ready to draw. ``categories`` names the ticks of an x that is a choice, or
    the rows and columns of ``counts``, a square table that is drawn as a heat map."""

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
