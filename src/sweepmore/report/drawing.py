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
from typing import TYPE_CHECKING, Any

from sweepmore.colours import BLUE, GREEN, GREY, ORANGE, PINK, SKY, YELLOW
from sweepmore.report.shapes import STYLES, forest, heat_map, parallel
from sweepmore.statistics.importance import fence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
from sweepmore.report.chart import Chart, Point

# Attributes that hold places. A page rounds them: a hundredth of a point cannot be seen.
PLACES = re.compile(r' (?:d|x|y|transform|points)="[^"]*"')

COLOURS = (ORANGE, BLUE, GREEN, PINK, SKY, YELLOW)


def draw(charts: Sequence[Chart], columns: int = 1) -> Figure:
    """Return one figure of the charts, ``columns`` side by side, without their outliers."""
    from matplotlib.figure import Figure

    charts = [without_outliers(chart) for chart in charts]
    rows = -(-len(charts) // columns)
    size = (9.0, 4.6) if columns == 1 else (max(9.0, 3.4 * columns), 2.9 * rows)
    if charts[0].counts:
        size = (7.2, 6.8)
    elif charts[0].bars or charts[0].rows:
        size = (9.0, 1.3 + 0.4 * (len(charts[0].bars) + len(charts[0].rows)))
    figure = Figure(figsize=(size[0], size[1] * (rows if columns == 1 else 1)), dpi=110,
                    layout="constrained")  # fmt: skip
    for index, chart in enumerate(charts):
        axes = figure.add_subplot(rows, columns, index + 1)
        if chart.scales:
            parallel(axes, chart)
        elif chart.rows:
            forest(axes, chart)
        else:
            _draw(axes, chart, small=columns > 1, legend=columns == 1 or index == 0)
    return figure


def _draw(axes: Axes, chart: Chart, small: bool, legend: bool) -> None:
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
            labelled = style_name in ("labelled", "accent")
            area = 160 if labelled else 14 if small else 24
            area *= 2 if style_name == "winner" else 1
            bars = [p for p in group if p.half is not None and math.isfinite(p.half)]
            axes.errorbar([p.x for p in bars], [p.y for p in bars], [p.half or 0.0 for p in bars],
                          fmt="none", ecolor=colour, alpha=0.6, elinewidth=1)  # fmt: skip
            dots = axes.scatter([p.x for p in group], [p.y for p in group], s=area,
                                color=colour, marker=marker, alpha=alpha,
                                label=chart.legend.get(style_name),
                                linewidths=1.2 if marker in "x|" else 0)  # fmt: skip
            if labelled:
                for p in group:
                    axes.annotate(p.tooltip, (p.x, p.y), ha="center", va="center", parse_math=False)
            dots.set_gid(f"points-{chart.name}-{style_name}")
    if chart.bars:
        names = [name for name, _ in reversed(chart.bars)]
        bars_drawn = axes.barh(names, [v for _, v in reversed(chart.bars)], color=BLUE)
        axes.bar_label(bars_drawn, fmt="{:.0%}", padding=4, fontsize=9)
        for k, bar in enumerate(bars_drawn):
            bar.set_gid(f"bar-{chart.name}-{k}")
    if chart.counts:
        heat_map(axes, chart)
        return

    _hide_overlaps(axes)

    # scales, which depend on the limits of the data drawn so far
    if chart.diagonal and chart.points:
        # as far as the points go in x: y may reach much further, by the intervals of a few
        low, high = min(p.x for p in chart.points), max(p.x for p in chart.points)
        axes.update_datalim([(low, low), (high, high)])
        axes.axline((low, low), slope=1, color=GREY, linewidth=0.8, zorder=0)
        axes.ticklabel_format(useOffset=False)  # 2.0962, not 0.0002 with +2.096 in a corner
    if chart.log_x and _has_logarithm(axes.dataLim.intervalx):
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis, few=small)
    if chart.log_y and _has_logarithm(axes.dataLim.intervaly):
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis, few=small)
    if chart.categories:
        axes.set_xticks(range(len(chart.categories)), chart.categories)
        axes.margins(x=0.15)
    if chart.whole_x:
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis in (axes.xaxis, axes.yaxis):
        _separate_thousands(axis)
    if chart.top is not None or chart.bottom is not None:
        axes.set_ylim(chart.bottom, chart.top)

    # words; a page writes the title of a single chart above the figure
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    if small:
        axes.set_title(chart.title, fontsize=10, loc="left", parse_math=False)
    named = len([curve for curve in chart.curves if curve.label]) > 1
    if legend and (named or (chart.curves and chart.points and not small) or chart.legend):
        # above the axes, where no mark lies
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=9, loc="lower left",
                    bbox_to_anchor=(0, 1.08 if small else 1), ncols=2 if small else 4)  # fmt: skip
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _hide_overlaps(axes: Axes) -> None:
    """Hide labels of points that overlap an earlier one; the tooltip still tells them."""
    shown = list[Any]()
    for label in axes.texts:
        box = label.get_window_extent()
        if any(box.overlaps(other) for other in shown):
            label.set_visible(False)
        else:
            shown.append(box)


def _has_logarithm(interval: Sequence[float]) -> bool:
    """Whether an axis may be logarithmic. A share, a gain or a reward may be 0 or less."""
    return bool(min(interval) > 0)


def _separate_thousands(axis: Axis) -> None:
    """Write 200,000 for 200000 on a linear axis; a logarithmic one has its own formatter."""
    from matplotlib.ticker import FixedFormatter, ScalarFormatter

    low, high = sorted(axis.get_view_interval())
    formatter = axis.get_major_formatter()
    if not isinstance(formatter, ScalarFormatter) or isinstance(formatter, FixedFormatter):
        return
    if 10_000 <= max(abs(low), abs(high)) < 1e9:
        axis.set_major_formatter("{x:,.0f}")


def _plain_ticks(axis: Axis, few: bool) -> None:
    """Label 0.01, 0.02, 0.05 instead of powers of ten, and matplotlib's places within a decade.

    Over many decades matplotlib labels every second or third, but none at all if 2 and 5 are asked
    for, too.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    within_a_decade = high / low < 10
    axis.set_major_locator(
        MaxNLocator(4 if few else 7) if within_a_decade
        else LogLocator(subs=(1,) if high / low > (100 if few else 10_000) else (1, 2, 5))
    )  # fmt: skip
    axis.set_major_formatter(lambda x, _: f"{x:,.0f}" if 1_000 <= x < 1e9 else f"{x:.4g}")
    axis.set_minor_formatter(NullFormatter())


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
    if chart.better is None or chart.bars or chart.counts or len(values) < 8:
        return chart
    if chart.diagonal:
        return _without_corner(chart)
    sign = -1.0 if chart.better == "high" else 1.0
    worst = fence([sign * value for value in values])
    if not any(sign * value > worst for value in values):
        return chart
    kept = [p for p in chart.points if sign * p.y <= worst]
    left, end = len(chart.points) - len(kept), sign * worst
    subtitle = chart.subtitle
    if left:
        subtitle += f" · {left} {'below' if sign < 0 else 'above'}"
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


def svg(figure: Figure, charts: Sequence[Chart]) -> str:
    """Return a figure for a page: it scales, takes the text colour and has a tooltip a point."""
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
    prefix = charts[0].name
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
