"""Charts as PNG for files, and as SVG for pages that load nothing (plotly would add megabytes).

One file, because ``svg`` finds the marks of a figure by the ids and the order that ``draw`` gives.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from sweepmore.colours import BLUE, GREEN, GREY, ORANGE, PINK, SKY, YELLOW
from sweepmore.report.campaign_drawing import campaign
from sweepmore.report.chart import Chart, Point
from sweepmore.report.labels import label
from sweepmore.report.shapes import (
    LABELLED,
    STYLES,
    forest,
    heat_map,
    names_above,
    parallel,
    stacked,
)
from sweepmore.report.ticks import cut, has_logarithm, plain_ticks, separate_thousands
from sweepmore.statistics.importance import fence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Attributes that hold places. A page rounds them: a hundredth of a point cannot be seen.
PLACES = re.compile(r' (?:d|x|y|transform|points)="[^"]*"')

# A cut that would save a smaller share of an axis is not worth its mark (guess).
LITTLE = 0.2

COLOURS = (ORANGE, BLUE, GREEN, PINK, SKY, YELLOW)


def draw(
    charts: Sequence[Chart], columns: int = 1, *, narrow: bool = False, legend: bool = True
) -> Figure:
    """Return one figure of the charts, ``columns`` side by side, without their outliers.

    A chart that is alone in more than one column is a panel: small, its title left to the page.
    ``narrow`` is the form for a phone: rows are named above themselves, scales lie one under the
    other.
    """
    from matplotlib.figure import Figure

    charts = [without_outliers(chart) for chart in charts]
    beside = min(columns, len(charts))
    rows = -(-len(charts) // beside)
    width, height = _size(charts[0], columns, narrow)
    shown = _has_legend(charts[0], columns > 1) and legend
    figure = Figure(figsize=(width * beside, height * rows + 0.3 * (columns > 1 and shown)),
                    dpi=110, layout="constrained")  # fmt: skip
    for index, chart in enumerate(charts):
        axes = figure.add_subplot(rows, beside, index + 1)
        if chart.strip:
            campaign(axes, chart, narrow)
        elif chart.scales:
            (stacked if narrow else parallel)(axes, chart)
        elif chart.rows:
            forest(axes, chart, above=narrow)
        elif chart.counts:
            heat_map(axes, chart, numbers=not narrow)
        else:
            _draw(axes, chart, small=columns > 1, narrow=narrow)
            if shown and index == 0:
                _legend(axes, figure)
        if len(charts) > 1:  # a page writes the title of a single chart above the figure
            axes.set_title(chart.title, fontsize=10, loc="left", parse_math=False)
    for axes, chart in zip(figure.axes, charts):
        if named := [p for p in chart.points if p.style in LABELLED]:
            label(axes, [p.tooltip for p in named], [(p.x, p.y) for p in named])
    return figure


def _size(chart: Chart, columns: int, narrow: bool) -> tuple[float, float]:
    """Return inches of a chart's width and height.

    A page shows 65 to 145 pixels an inch, so that the smallest text, 9 points, has at least 10.
    """
    number = len(chart.bars) + len(chart.rows)
    if chart.strip:
        return (4.0, 5.2) if narrow else (9.0, 5.4)
    if narrow:
        heights = {
            4.0: chart.counts, 0.6 + 0.75 * len(chart.scales): chart.scales,
            0.9 + 0.5 * number: chart.bars, 1.3 + 0.7 * number: chart.rows,
        }  # fmt: skip
        return 4.0, next((height for height, given in heights.items() if given), 3.6)
    if columns > 1:
        return (4.2, 3.1) if columns == 2 else (3.4, 2.9)
    if chart.counts:
        return 6.4, 6.0
    return 9.0, 1.3 + 0.4 * number if number else 4.6


def _draw(axes: Axes, chart: Chart, small: bool, narrow: bool) -> None:
    # data; curves in reverse, so that the first lies on top
    for k, (curve, colour) in reversed([*enumerate(zip(chart.curves, colours_of(chart)))]):
        style = {"drawstyle": "steps-post"} if chart.steps else {}
        style |= {"linestyle": "dashed"} if curve.dashed else {}
        if curve.low:
            axes.fill_between(curve.x, curve.low, curve.high, color=GREY, alpha=0.25, linewidth=0)
        (line,) = axes.plot(curve.x, curve.y, color=colour, linewidth=1.4, label=curve.label,
                            **style)  # type: ignore[arg-type]  # fmt: skip
        of_trial = "" if curve.trial is None else f"-t{curve.trial}"
        line.set_gid(f"curve-{chart.name}-{k}{of_trial}")
    for style_name, colour, marker, alpha in STYLES:
        group = [p for p in chart.points if p.style == style_name]
        if group:
            labelled = style_name in LABELLED
            area = 160 if labelled else 14 if small else 24
            area *= 2 if style_name == "winner" else 1
            bars = [p for p in group if p.half is not None and math.isfinite(p.half)]
            axes.errorbar([p.x for p in bars], [p.y for p in bars], [p.half or 0.0 for p in bars],
                          fmt="none", ecolor=colour, alpha=0.6, elinewidth=1)  # fmt: skip
            dots = axes.scatter([p.x for p in group], [p.y for p in group], s=area,
                                color=colour, marker=marker, alpha=alpha,
                                label=chart.legend.get(style_name),
                                linewidths=1.2 if marker in "x|" else 0)  # fmt: skip
            dots.set_gid(f"points-{chart.name}-{style_name}")
    if chart.bars:
        _bars(axes, chart, narrow)

    # scales, which depend on the limits of the data drawn so far
    if chart.diagonal and chart.points:
        # as far as the points go in x: y may reach much further, by the intervals of a few
        low, high = min(p.x for p in chart.points), max(p.x for p in chart.points)
        axes.update_datalim([(low, low), (high, high)])
        axes.axline((low, low), slope=1, color=GREY, linewidth=0.8, zorder=0)
        axes.ticklabel_format(useOffset=False)  # 2.0962, not 0.0002 with +2.096 in a corner
    if chart.log_x and has_logarithm(axes.dataLim.intervalx):
        axes.set_xscale("log")
        plain_ticks(axes.xaxis, few=small or narrow)
    if chart.log_y and has_logarithm(axes.dataLim.intervaly):
        axes.set_yscale("log")
        plain_ticks(axes.yaxis, few=small or narrow)
    if chart.categories:
        axes.set_xticks(range(len(chart.categories)), chart.categories)
        axes.margins(x=0.15)
    if chart.whole_x:
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis in (axes.xaxis, axes.yaxis):
        separate_thousands(axis)
    if chart.top is not None or chart.bottom is not None:
        cut(axes, chart.bottom, chart.top)

    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _bars(axes: Axes, chart: Chart, narrow: bool) -> None:
    """Draw a bar for each name, the first on top."""
    names = [name for name, _ in reversed(chart.bars)]
    lengths = [length for _, length in reversed(chart.bars)]
    bars = axes.barh(names, lengths, 0.4 if narrow else 0.8, color=BLUE)
    axes.bar_label(bars, fmt="{:.0%}", padding=4, fontsize=9)
    axes.margins(x=0.1)  # room for the label of the longest
    for k, bar in enumerate(bars):
        bar.set_gid(f"bar-{chart.name}-{k}")
    if narrow:
        names_above(axes, names, 0.22)


def _has_legend(chart: Chart, small: bool) -> bool:
    named = len([curve for curve in chart.curves if curve.label]) > 1
    return bool(named or (chart.curves and chart.points and not small) or chart.legend)


def _legend(axes: Axes, figure: Figure) -> None:
    """Write the legend above the axes, where no mark lies, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        # a letter has half its 9 points, a handle 35; the axes begin 50 points from the left
        room = 72 * figure.get_figwidth() / len(figure.axes) - 50
        columns = int(room // (4.8 * max(map(len, labels)) + 35))
        axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=9, loc="lower left",
                    bbox_to_anchor=(0, 1), ncols=min(4, max(1, columns)))  # fmt: skip


def colours_of(chart: Chart) -> list[str]:
    """Return the colour of each curve.

    A curve with a band is grey. A dashed or unlabelled curve takes the colour of the curve before
    it. A single curve beside points is orange, to stand out from them.
    """
    if len(chart.curves) == 1 and chart.points:
        return [SKY]
    colours, wheel = list[str](), iter(COLOURS * len(chart.curves))
    for curve in chart.curves:
        same = colours and (curve.dashed or not curve.label)
        colours.append(GREY if curve.low else colours[-1] if same else next(wheel))
    return colours


def without_outliers(chart: Chart) -> Chart:
    """Leave out values beyond Tukey's outer fence at the worse end, and count them in the title.

    A few very bad trials would squeeze all others together. Clipping them instead would not do: an
    SVG has no mark for a clipped point, and ``svg`` gives tooltips to marks in their order.
    """
    values = [p.y for p in chart.points] or [y for c in chart.curves for y in [*c.y, *c.high]]
    if chart.better is None or chart.bars or chart.counts or chart.strip or len(values) < 8:
        return chart
    if chart.diagonal:
        return _without_corner(chart)
    sign = -1.0 if chart.better == "high" else 1.0
    signed = [sign * value for value in values]
    worst = fence(signed)
    # curves that end a little above it need no cut
    if max(signed) <= worst + (0 if chart.points else LITTLE * (worst - min(signed))):
        return chart
    kept = [p for p in chart.points if sign * p.y <= worst]
    left, end = len(chart.points) - len(kept), sign * worst
    beyond = "below" if sign < 0 else "above"
    words = [chart.subtitle, f"{left} {beyond} {end:,.4g} left out" if left else ""]
    if not left:  # curves go on beyond the end, where the axis has a break
        words.append(f"cut {beyond} {end:,.4g}")
    subtitle = " · ".join(word for word in words if word)
    if sign < 0:
        return replace(chart, points=kept, subtitle=subtitle, bottom=end)
    return replace(chart, points=kept, subtitle=subtitle, top=end)


def _without_corner(chart: Chart) -> Chart:
    """Leave out points that are far beyond the others in x or y, two losses on equal terms."""
    right, top = fence([p.x for p in chart.points]), fence([p.y for p in chart.points])
    kept = [p for p in chart.points if p.x <= right and p.y <= top]
    if len(kept) == len(chart.points):
        return chart
    left = len(chart.points) - len(kept)
    return replace(chart, points=kept, subtitle=f"{chart.subtitle} · {left} beyond")


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix, and create its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def titled(chart: Chart) -> Figure:
    """Return a chart as it is shown by itself, with its title above all else."""
    figure = draw([chart])
    figure.suptitle(chart.title, x=0.01, ha="left", fontsize=11, parse_math=False)
    return figure


def png(chart: Chart) -> bytes:
    """Return a picture of a chart with its title."""
    buffer = io.BytesIO()
    titled(chart).savefig(buffer, format="png")
    return buffer.getvalue()


def svg(figure: Figure, charts: Sequence[Chart], form: str = "") -> str:
    """Return a figure for a page: it scales, takes the text colour and has a tooltip a point.

    ``form`` tells apart the ids of two figures of the same charts.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sweepmore"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()

    # a size that scales, a name for screen readers, and colours that follow the page's theme
    text = text[text.index("<svg") :]
    label = escape(", ".join(chart.title for chart in charts), quote=True)
    (box,) = re.findall(r'<svg [^>]*?viewBox="([^"]*)"', text)
    text = f'<svg viewBox="{box}" role="img" aria-label="{label}">' + text[text.index(">") + 1 :]
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(PLACES, lambda places: re.sub(r"(\d\.\d\d)\d+", r"\1", places[0]), text)
    text = re.sub(r"(stroke|fill): #000000", r"\1: currentColor", text)
    text = text.replace("<text ", '<text fill="currentColor" ')
    text = text.replace(BLUE.lower(), "var(--accent)")  # the page's: lighter on a dark ground

    # tooltips, and ids that no other figure of the page shares
    for chart in map(without_outliers, charts):
        for style_name, *_ in STYLES:
            group = [p for p in chart.points if p.style == style_name]
            text = _with_titles(text, f"points-{chart.name}-{style_name}", group)
    # curves and rows of a trial; points have theirs already
    of_trial = r'(<g id="(?:line-\w+|row-\w+|curve-\w+-\d+)-t?(\d+)")'
    text = re.sub(of_trial, r'\1 data-trial="\2"', text)
    prefix = charts[0].name + form
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'"#([^"]+)"', rf'"#{prefix}-\1"', text)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)


def _with_titles(text: str, gid: str, points: Sequence[Point]) -> str:
    """Give each ``<use … />`` of the group with this id the tooltip of its point."""
    begin = text.find(f'<g id="{gid}">')
    if begin < 0:
        return text
    end = text.index("</g>\n  ", begin) if "</g>\n  " in text[begin:] else len(text)
    titles = iter(points)

    def titled(match: re.Match[str]) -> str:
        point = next(titles, None)
        if point is None:
            return match.group(0)
        trial = "" if point.trial is None else f' data-trial="{point.trial}"'
        return f"<use {match.group(1)}{trial}><title>{escape(point.tooltip)}</title></use>"

    changed = re.sub(r"<use ([^>]*?)/>", titled, text[begin:end])
    styles = set(re.findall(r'<use [^>]*?( style="[^"]*")', changed))
    if len(styles) == 1:  # what all marks share is said once: it is a tenth of a page
        (style,) = styles
        changed = changed.replace(style, "").replace("<g ", f"<g{style} ", 1)
    return text[:begin] + changed + text[end:]
