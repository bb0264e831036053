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
    """A point of a scatter plot. A page shows ``tooltip`` when you point at it.

    ``trial`` links it with the other marks of that trial on the page.
    """

    x: float
    y: float
    tooltip: str
    style: str = "complete"  # or pruned, failed, tied, winner; labelled or accent: drawn on it
    name: str = ""  # written beside it, in the figure of a campaign
    half: float | None = None  # half the width of the interval of y
    trial: int | None = None


@dataclass(frozen=True)
class Curve:
    """A line, with a band around it where ``low`` and ``high`` are given.

    ``trial`` links it with the other marks of that trial on the page.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dashed: bool = False  # also takes the colour of the curve before: same run, other loss
    trial: int | None = None
    style: str = ""  # of parallel coordinates: winner, best or other


@dataclass(frozen=True)
class Row:
    """A named row of a forest plot: a mean with its interval, and the search's own value."""

    label: str
    mean: float
    half: float
    searched: float
    style: str  # winner, tied or complete
    trial: int


@dataclass(frozen=True)
class Scale:
    """A vertical axis of parallel coordinates: what stands at which height, from 0 to 1."""

    name: str
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Chart:
    """One pair of axes, ready to draw.

    ``title`` is what is seen, ``subtitle`` what it is drawn of: n, split, unit. ``rows`` make a
    forest plot, ``scales`` parallel coordinates, whose curves have a y for each scale.
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
    subtitle: str = ""
    rows: Sequence[Row] = ()
    scales: Sequence[Scale] = ()
    whole_x: bool = False  # ticks at whole numbers, such as trials
    strip: Sequence[tuple[float, float]] = ()  # of a campaign: bars below, by x and height
    strip_top: float = 0.0  # the greatest height that a bar may have
