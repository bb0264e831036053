"""Kinds of figure that have a drawing of their own, and how marks look in all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from sweepmore.colours import BLUE, GREEN, GREY, ORANGE, PINK
from sweepmore.report.chart import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# name, colour, marker, opacity
STYLES = (
    ("labelled", BLUE, "o", 0.15),
    ("accent", ORANGE, "o", 0.25),
    ("pruned", GREY, "x", 0.6),
    ("failed", PINK, "|", 0.9),
    ("far", BLUE, "^", 0.4),
    ("complete", BLUE, "o", 0.65),
    ("tied", GREEN, "o", 0.9),
    ("winner", ORANGE, "D", 1.0),
)


# Points of these styles carry their tooltip as a label.
LABELLED = ("labelled", "accent")

# Characters of a row's name in a line of the narrow form.
NARROW = 44

# Lines of parallel coordinates from the back to the front: colour, opacity, width. Of 300 grey
# lines a single one hardly shows, where they run together they do.
LINES = {"other": (GREY, 0.18, 0.8), "best": (BLUE, 0.6, 1.2), "winner": (ORANGE, 1.0, 2.4)}


def _lines(axes: Axes, chart: Chart, turned: bool) -> None:
    """Draw a line for each trial across the scales; the marked one last, on top of the others."""
    order = list(LINES)
    for curve in sorted(chart.curves, key=lambda curve: order.index(curve.style)):
        colour, alpha, width = LINES[curve.style]
        across = (curve.y, [-x for x in curve.x]) if turned else (curve.x, curve.y)
        (line,) = axes.plot(*across, color=colour, alpha=alpha, linewidth=width)
        line.set_gid(f"line-{chart.name}-{curve.trial}")


def stacked(axes: Axes, chart: Chart) -> None:
    """Draw parallel coordinates with the scales below each other, the better end at the right."""
    _lines(axes, chart, turned=True)
    for k, scale in enumerate(chart.scales):
        axes.axhline(-k, color=GREY, linewidth=0.8, zorder=0)
        axes.annotate(scale.name, (0, -k), xytext=(0, 4), textcoords="offset points", va="bottom",
                      fontsize=10, parse_math=False)  # fmt: skip
        for place, text in scale.ticks:
            side = "left" if place == 0 else "right" if place == 1 else "center"
            axes.annotate(text, (place, -k), xytext=(0, -3), textcoords="offset points", va="top",
                          ha=side, fontsize=9, parse_math=False)  # fmt: skip
    axes.set_ylim(0.4 - len(chart.scales), 0.4)
    axes.set_axis_off()


def parallel(axes: Axes, chart: Chart) -> None:
    """Draw parallel coordinates, the better end of the value on top."""
    _lines(axes, chart, turned=False)
    for k, scale in enumerate(chart.scales):
        axes.axvline(k, color=GREY, linewidth=0.8, zorder=0)
        for height, text in scale.ticks:
            axes.annotate(text, (k, height), xytext=(4, 0), textcoords="offset points", va="center",
                          fontsize=9, parse_math=False)  # fmt: skip
    axes.set_xticks(range(len(chart.scales)), [scale.name for scale in chart.scales])
    axes.set_yticks([])
    axes.margins(x=0.06)
    for side in axes.spines.values():
        side.set_visible(False)


def names_above(axes: Axes, names: Sequence[str], height: float) -> None:
    """Name the rows of an axis from the bottom up, each so far above its row."""
    axes.set_yticks([])
    for k, name in enumerate(names):
        axes.annotate(name, (0, k + height), xycoords=("axes fraction", "data"), va="bottom",
                      fontsize=10, parse_math=False)  # fmt: skip
    axes.set_ylim(-0.5, len(names) - 0.1)


def forest(axes: Axes, chart: Chart, above: bool = False) -> None:
    """Draw a named row for each mean and its interval, the best on top, the search's own hollow.

    ``above`` writes the names above the rows instead of at their left.
    """
    looks = {name: (colour, marker) for name, colour, marker, _ in STYLES}
    for k, row in enumerate(reversed(chart.rows)):
        colour, marker = looks[row.style]
        if math.isfinite(row.half):
            axes.plot([row.mean - row.half, row.mean + row.half], [k, k], color=colour,
                      linewidth=1.6)  # fmt: skip
        (mark,) = axes.plot([row.mean], [k], color=colour, marker=marker, markersize=8)
        mark.set_gid(f"row-{chart.name}-{row.trial}")
        axes.plot([row.searched], [k], color=colour, marker="o", fillstyle="none", markersize=7)
    _bracket(axes, chart)
    for name, text in chart.legend.items():
        if name == "searched":
            axes.plot([], [], color=GREY, marker="o", fillstyle="none", linestyle="", label=text)
        elif any(row.style == name for row in chart.rows):
            axes.plot([], [], color=looks[name][0], marker=looks[name][1], linestyle="", label=text)
    names = [row.label for row in reversed(chart.rows)]
    if above:
        names_above(axes, [fill(name, NARROW) for name in names], 0.16)
    else:
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlabel(chart.x_label)
    axes.ticklabel_format(axis="x", useOffset=False)
    figure = axes.get_figure()
    assert figure is not None
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, fontsize=9,
                  ncols=2 if above else 4, loc="outside upper left")  # fmt: skip
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _bracket(axes: Axes, chart: Chart) -> None:
    """Join the winner and what is tied with it by a line at the right rim."""
    axes.margins(x=0.08)
    last = len(chart.rows) - 1
    tied = [last - k for k, row in enumerate(chart.rows) if row.style in ("winner", "tied")]
    if len(tied) > 1:
        ends = {"arrowstyle": "|-|, widthA=.3, widthB=.3", "color": GREEN}
        rim = ("axes fraction", "data")
        middle = (min(tied) + max(tied)) / 2
        axes.annotate("tied", (1.015, middle), xycoords=rim, rotation=90, ha="left",
                      va="center", fontsize=9, color=GREEN)  # fmt: skip
        axes.annotate("", (1, min(tied)), (1, max(tied)), xycoords=rim, textcoords=rim,
                      arrowprops=ends)  # fmt: skip


def heat_map(axes: Axes, chart: Chart, numbers: bool = True) -> None:
    """Draw counts by the darkness of their logarithm: a few pairs are far more frequent.

    ``numbers`` writes each count into its cell.
    """
    values = np.log1p(np.array(chart.counts, dtype=float))
    axes.imshow(values, cmap="Blues", aspect="auto")
    places = range(len(chart.categories))
    axes.set_xticks(places, chart.categories, fontsize=9)
    axes.set_yticks(places, chart.categories, fontsize=9)
    axes.tick_params(length=0)
    for row, column in np.ndindex(values.shape) if numbers else ():
        dark = values[row, column] > 0.6 * values.max()
        axes.text(column, row, f"{chart.counts[row][column]}", ha="center", va="center",
                  fontsize=5.2, color="#ffffff" if dark else "#333333",
                  gid=f"count-{chart.name}-{row}-{column}")  # fmt: skip
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
