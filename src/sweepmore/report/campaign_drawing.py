"""The figure of a campaign: dots with intervals, the line of champions, seeds in a strip below."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sweepmore.colours import GREEN, GREY
from sweepmore.report.chart import Chart, Point
from sweepmore.report.labels import apart
from sweepmore.report.shapes import STYLES
from sweepmore.report.ticks import separate_thousands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Styles whose intervals are drawn strongly: the others are many, and of two seeds each.
STRONG = ("keep", "undecided")
# A campaign of fewer challenges leaves room for those to come.
FEWEST = 4
# Above so many challenges, dots are small.
MANY = 30
# Pixels of a dot that a name should not hide.
DOT = 8.0


def campaign(axes: Axes, chart: Chart, narrow: bool = False) -> Axes:
    """Draw a campaign in the place of ``axes``, and return the axes that have its dots."""
    figure, place = axes.get_figure(root=True), axes.get_subplotspec()
    assert figure is not None
    assert place is not None
    axes.remove()
    grid = place.subgridspec(2, 1, height_ratios=(6, 1))
    top = figure.add_subplot(grid[0])
    below = figure.add_subplot(grid[1], sharex=top)
    _champions(top, chart)
    _challenges(top, chart)
    _strip(below, chart)
    _frame(top, below, chart)
    _legend(figure, top, chart, narrow)
    _names(top, chart)
    return top


def _champions(axes: Axes, chart: Chart) -> None:
    """Draw the line of champions with its band, and what a loop would have kept."""
    for k, curve in enumerate(chart.curves):
        look = {"color": GREY, "linewidth": 1.0, "linestyle": (0, (4, 3))} if curve.dashed else {
            "color": GREEN, "linewidth": 1.8}  # fmt: skip
        # a piece for each champion: where one has no interval, its neighbours keep theirs
        for ends, low, high in zip(pairwise(curve.x), curve.low, curve.high):
            if math.isfinite(low):
                axes.fill_between(ends, low, high, color=GREEN, alpha=0.15, linewidth=0)
        (line,) = axes.plot(curve.x, curve.y, drawstyle="steps-post", label=curve.label,
                            zorder=1.5, **look)  # type: ignore[arg-type]  # fmt: skip
        line.set_gid(f"curve-{chart.name}-{k}")


def _challenges(axes: Axes, chart: Chart) -> None:
    """Draw a dot for each challenge, and its interval as far as the axis goes."""
    small = len(chart.points) > MANY
    for style, colour, marker, alpha in STYLES:
        group = [point for point in chart.points if point.style == style]
        if not group:
            continue
        faint = 1.0 if style in STRONG else 0.25 if small else 0.45
        for point in group:
            _interval(axes, chart, point, colour, faint)
        if style == "far" and chart.better == "high":
            marker = "v"
        area = (14 if small else 30) * (2 if style in STRONG else 1)
        dots = axes.scatter([p.x for p in group], [p.y for p in group], s=area, color=colour,
                            marker=marker, alpha=alpha, label=chart.legend[style], zorder=3,
                            linewidths=1.4 if marker == "|" else 0)  # fmt: skip
        dots.set_gid(f"points-{chart.name}-{style}")


def _interval(axes: Axes, chart: Chart, point: Point, colour: str, alpha: float) -> None:
    """Draw an interval: a bar across each end of it, and nothing where the axis cuts it."""
    if not point.half:
        return
    bottom, top = chart.bottom or 0.0, chart.top or 0.0
    low, high = point.y - point.half, point.y + point.half
    axes.plot([point.x] * 2, [max(low, bottom), min(high, top)], color=colour, alpha=alpha,
              linewidth=1, zorder=1)  # fmt: skip
    for end, is_cut, open_end in ((low, low < bottom, 7), (high, high > top, 6)):
        place, marker = (min(max(end, bottom), top), open_end if is_cut else "_")
        axes.plot([point.x], [place], marker=marker, markersize=4 if is_cut else 5, color=colour,
                  alpha=alpha, linestyle="", zorder=1)  # fmt: skip


def _strip(axes: Axes, chart: Chart) -> None:
    """Draw the seeds of each challenge."""
    x, heights = zip(*chart.strip)
    axes.bar(x, heights, 0.7, color=GREY, alpha=0.8)
    axes.set_ylim(0, chart.strip_top * 1.05)
    axes.set_yticks([0, chart.strip_top])
    axes.set_ylabel("seeds")


def _frame(top: Axes, below: Axes, chart: Chart) -> None:
    """Set limits, ticks and words."""
    from matplotlib.ticker import MaxNLocator

    top.set_ylim(chart.bottom, chart.top)
    top.set_xlim(0.4, max(FEWEST, *(point.x for point in chart.points)) + 0.95)
    top.ticklabel_format(useOffset=False)
    separate_thousands(top.yaxis)
    top.set_ylabel(chart.y_label)
    top.tick_params(axis="x", labelbottom=False)
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    below.set_xlabel(chart.x_label)
    for axes in (top, below):
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)


def _legend(figure: Figure, axes: Axes, chart: Chart, narrow: bool) -> None:
    """Write the legend above the axes: the lines, then what stands for which verdict."""
    handles, labels = axes.get_legend_handles_labels()
    drawn = dict(zip(labels, handles))
    lines = [label for label in labels if label not in chart.legend.values()]
    order = [*lines, *(label for label in chart.legend.values() if label in drawn)]
    figure.legend([drawn[label] for label in order], order, frameon=False, fontsize=9,
                  ncols=2 if narrow else 4, loc="outside upper left")  # fmt: skip


def _names(axes: Axes, chart: Chart) -> None:
    """Write the names of challenges beside their dots, moved apart where they would overlap."""
    named = [point for point in chart.points if point.name]
    if not named:
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    # behind the step of the line, and beyond it, where no challenge lies
    side = -9 if chart.better == "low" else 9
    texts = [
        axes.annotate(p.name, (p.x, p.y), (-7, side), textcoords="offset points", ha="right",
                      va="center", fontsize=9, parse_math=False, zorder=4)
        for p in named
    ]  # fmt: skip
    for text in texts:
        text.set_in_layout(False)
    figure.draw_without_rendering()
    frame = np.array(axes.get_window_extent().get_points())
    for text in texts:
        if text.get_window_extent().x0 < frame[0, 0]:  # no room before it
            text.set_horizontalalignment("left")
            text.xyann = (7, side)
    # other dots first: they stay, and names go where they leave room
    dots = axes.transData.transform([(p.x, p.y) for p in chart.points if not p.name] or [(0, 0)])
    boxes = [text.get_window_extent() for text in texts]
    middles = np.array([[(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2] for box in boxes])
    sizes = np.array([*[(DOT, DOT)] * len(dots), *((box.width, box.height) for box in boxes)])
    places, placed = apart(np.vstack([dots, middles]), sizes, frame)
    moved = (places[len(dots) :] - middles) * 72 / figure.dpi
    for text, by, shown in zip(texts, moved, placed[len(dots) :]):
        text.set_visible(shown)
        text.xyann = (text.xyann[0] + by[0], text.xyann[1] + by[1])
