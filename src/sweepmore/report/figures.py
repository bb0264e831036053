"""The figures of studies: prepared as plain numbers, then drawn; PNG for files, SVG for pages.

The SVG is matplotlib's, edited for a page that loads nothing from elsewhere: plotly would put
megabytes of script into each.
"""

from __future__ import annotations

import io
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from optuna.trial import TrialState

from sweepmore.colours import BLUE, GREEN, GREY, ORANGE, PINK, SKY, YELLOW
from sweepmore.runs.names import safe_name
from sweepmore.statistics.importance import fence
from sweepmore.study.application import Curves
from sweepmore.study.attempts import Attempt, short
from sweepmore.study.attributes import Winner
from sweepmore.study.view import StudyView
from sweepmore.wording import decimals, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Of the values of a chart; None where neither end is better, and then nothing is left out.
Better = Literal["low", "high"] | None

COLOURS = (ORANGE, BLUE, GREEN, PINK, SKY, YELLOW)
# Learning curves drawn one by one; the others are a band.
BEST_CURVES = 10
# Steps at which the spread of learning curves is taken.
GRID = 60


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


def better(seen: StudyView, objective: int = 0) -> Better:
    return "low" if seen.sign(objective) > 0 else "high"


def told(attempt: Attempt) -> str:
    """A trial in words."""
    values = "" if attempt.values is None else ", ".join(f"{v:.4g}" for v in attempt.values)
    parts = [
        f"trial {attempt.root}",
        values,
        *(f"{k}={short(v)}" for k, v in attempt.params.items()),
    ]
    return " · ".join(part for part in parts if part)


def history(seen: StudyView, metric: str) -> Chart:
    """Every trial's value in the order of trials, and the best so far."""
    done = sorted(seen.ranked, key=lambda a: a.root)
    sign = seen.sign()
    best, stairs = math.inf, list[float]()
    for attempt in done:
        best = min(best, sign * _value(attempt))
        stairs.append(sign * best)
    points = [Point(a.root, _value(a), told(a)) for a in done]
    cut = [a for a in seen.counted if a.state is TrialState.PRUNED and a.values]
    points += [Point(a.root, _value(a), told(a), "pruned") for a in cut]
    running = Curve("best so far", [a.root for a in done], stairs)
    pruned = f", {len(cut)} pruned" if cut else ""
    title = f"{seen.name}: n = {plural(len(done), 'complete trial')}{pruned}"
    return Chart("history", title, "trial", metric, points, [running], steps=True,
                 better=better(seen),
                 legend={"complete": "a trial", "pruned": "pruned"})  # fmt: skip


@dataclass(frozen=True)
class SoFar:
    """A study after its first ``trials``; ``best`` is infinite while there is none."""

    trials: int
    seconds: float
    best: float


def so_far(seen: StudyView) -> list[SoFar]:
    """After each trial in turn; ``seconds`` are those of the trials, added up."""
    sign = seen.sign()
    best, spent, found = math.inf, 0.0, list[SoFar]()
    for number, attempt in enumerate(sorted(seen.counted, key=lambda a: a.root), 1):
        spent += seen.seconds_of(attempt) or 0.0
        if attempt.state is TrialState.COMPLETE and not attempt.infeasible:
            best = min(best, sign * _value(attempt))
        found.append(SoFar(number, spent, sign * best))
    return found


def anytime(studies: Sequence[StudyView], metric: str, by: str) -> Chart:
    """Best so far of several studies, by the number of trials or by seconds of work."""
    curves = []
    for seen in studies:
        known = [one for one in so_far(seen) if math.isfinite(one.best)]
        x = [one.trials if by == "trials" else one.seconds for one in known]
        label = f"{seen.name}, n = {len(seen.counted)}"
        curves.append(Curve(label, x, [one.best for one in known]))
    label = "trials" if by == "trials" else "seconds of trials, added up"
    return Chart(f"anytime_{by}", f"best so far by {by}", label, metric, curves=curves, steps=True,
                 better=better(studies[0]))  # fmt: skip


def learning_curves(
    seen: StudyView, reports: Mapping[int, Mapping[int, float]], metric: str
) -> Chart | None:
    """The reports of the best trials, and the middle 80 % of all; None without reports.

    Between two reports a trial's value is on the line between them, so that trials of unequal
    length have a spread at the same step too.
    """
    ranked = seen.ranked
    known = {a.number for a in ranked}
    others = [a for a in seen.counted if a.number not in known]
    rows = [_finite(reports.get(a.number, {})) for a in [*ranked, *others]]
    best = [row for row in rows[: min(BEST_CURVES, len(ranked))] if len(row) > 1]
    if not best:
        return None
    known_rows = [row for row in rows if len(row) > 1]
    curves = _spread(known_rows)
    for k, row in enumerate(best):
        label = "the best" if k == 0 else f"the next {len(best) - 1}" if k == 1 else ""
        curves.append(Curve(label, [s for s, _ in row], [v for _, v in row]))
    all_trials = plural(len(known_rows), "trial")
    title = f"{seen.name}: the best {len(best)} and the spread of all, n = {all_trials}"
    return Chart("curves", title, "step", metric, curves=curves, log_y=True,
                 better=better(seen))  # fmt: skip


def _finite(reports: Mapping[int, float]) -> list[tuple[int, float]]:
    return sorted((step, value) for step, value in reports.items() if math.isfinite(value))


def _spread(rows: Sequence[Sequence[tuple[int, float]]]) -> list[Curve]:
    """Median and deciles at up to ``GRID`` steps, where at least three trials are."""
    first, last = min(row[0][0] for row in rows), max(row[-1][0] for row in rows)
    found = []
    for step in np.linspace(first, last, GRID):
        at = [_between(row, float(step)) for row in rows if row[0][0] <= step <= row[-1][0]]
        if len(at) >= 3:
            deciles = statistics.quantiles(at, n=10, method="inclusive")
            found.append((float(step), statistics.median(at), deciles[0], deciles[-1]))
    if not found:
        return []
    steps, medians, low, high = zip(*found)
    whole = all(row[-1][0] == last for row in rows)  # else the late ones are what pruning left
    label = f"{'all' if whole else 'of those still running'}: median, middle 80 %"
    return [Curve(label, steps, medians, low, high)]


def _between(row: Sequence[tuple[int, float]], step: float) -> float:
    return float(np.interp(step, [s for s, _ in row], [value for _, value in row]))


def importance(shares: Mapping[str, float], seen: StudyView) -> Chart | None:
    """Bars, the most important parameter first."""
    if not shares:
        return None
    positive = {name: max(0.0, share) for name, share in shares.items()}
    bars = sorted(positive.items(), key=lambda row: -row[1])
    title = f"{seen.name}: what the value depends on, n = {plural(len(seen.ranked), 'trial')}"
    return Chart("importance", title, "share of the variance that it explains", "", bars=bars)


def slices(seen: StudyView, space: Mapping[str, Mapping[str, Any]], metric: str) -> list[Chart]:
    """The value against each parameter; ``space`` is the question's."""
    charts = []
    for name, one in space.items():
        rows = [a for a in seen.ranked if name in a.params]
        about = one.get("attributes", {})
        choices = [] if "choices" not in about else [str(c) for c in about["choices"]]
        if len(rows) < 2:
            continue
        places = {choice: k for k, choice in enumerate(choices)}
        points = [
            Point(
                places[str(a.params[name])] if choices else float(a.params[name]),
                _value(a),
                told(a),
            )
            for a in rows
        ]
        charts.append(
            Chart(
                f"slice_{name}",
                name,
                name,
                metric,
                points,
                log_x=bool(about.get("log")),
                categories=choices,
                better=better(seen),
            )
        )
    return charts


def overfitting(seen: StudyView, curves: Curves) -> Chart | None:
    """What each trial has learnt from against what it has not: the further above the diagonal, the
    more it has learnt by heart; the further along it, the less it has learnt of either. None where
    the application names no such pair, or fewer than two trials keep both."""
    if curves.overfit is None:
        return None
    learnt, held_out = curves.overfit
    points = []
    for attempt in seen.counted:
        kept = attempt.attrs.result or {}
        x, y = kept.get(learnt), kept.get(held_out)
        if x is not None and y is not None and math.isfinite(x + y):
            points.append(Point(x, y, told(attempt)))
    if len(points) < 2:
        return None
    title = (
        f"{seen.name}: n = {plural(len(points), 'trial')}; "
        "the further above the line, the more overfitting"
    )
    return Chart("fit", title, curves.label(learnt), curves.label(held_out), points, diagonal=True)


def logged(
    curves: Curves, runs: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], data: Mapping[str, Any]
) -> Chart:
    """What runs logged at their evaluations, by name (empty for a single one) and rows; ``data``
    is what their results say of the data."""
    first = curves.drawn[0]
    drawn = []
    for name, rows in runs:
        evaluated = [row for row in rows if row.get(first.key) is not None]
        for curve in curves.drawn:
            values = [float(row.get(curve.key, math.nan)) for row in evaluated]
            drawn.append(Curve(f"{name}: {curve.name}" if name else curve.name,
                               [row["step"] for row in evaluated], values,
                               dashed=curve is not first))  # fmt: skip
    numbers = ", ".join(
        f"{data[curve.examples]:,} {curve.name}"
        for curve in reversed(curves.drawn)
        if curve.examples is not None and curve.examples in data
    )
    title = f"n = {numbers} examples" if numbers else curves.title
    return Chart(safe_name(curves.title.lower()), title, "step", curves.label(), curves=drawn,
                 log_y=True)  # fmt: skip


def confirmed(winner: Winner, metric: str) -> Chart:
    """What the search promised against the mean over fresh seeds."""
    points = []
    for row in winner.rows:
        style = "winner" if row.trial == winner.trial else "tied" if row.tied else "complete"
        text = f"trial {row.trial}: {decimals(row.searched)} → {decimals(row.mean)}"
        points.append(Point(row.searched, row.mean, text, style, row.half_width))
    title = f"the search's promise and fresh seeds, n = {plural(len(points), 'configuration')}"
    mean = f"{metric}, mean of {plural(winner.seeds, 'fresh seed')}"
    legend = {"winner": "the winner", "tied": "tied with the best",
              "complete": "worse than the best, seed by seed"}  # fmt: skip
    return Chart("confirmed", title, f"{metric} in the search", mean, points, diagonal=True,
                 better=None, legend=legend)  # fmt: skip


def front(seen: StudyView, labels: Sequence[str], group: str | None = None) -> Chart:
    """Two objectives against each other, and the line of the trials that nothing beats; with
    ``group`` a line for each value of that parameter."""
    points = [Point(a.values[1], a.values[0], told(a)) for a in seen.ranked if a.values]
    curves = [_front_curve(seen, "no trial beats these")]
    if group is not None:
        curves = []
        for value in sorted({a.params[group] for a in seen.ranked}):
            of_value = [a for a in seen.attempts if a.params.get(group) == value]
            part = StudyView(seen.name, seen.directions, tuple(of_value))
            curves.append(_front_curve(part, f"{group}={short(value)}"))
    title = f"{seen.name}: n = {plural(len(points), 'trial')}"
    return Chart("front", title, labels[1], labels[0], points, curves, log_x=True, steps=True,
                 better=better(seen))  # fmt: skip


def _front_curve(seen: StudyView, label: str) -> Curve:
    rows = sorted((a.values[1], a.values[0]) for a in seen.front if a.values)
    return Curve(label, [x for x, _ in rows], [y for _, y in rows])


def _value(attempt: Attempt) -> float:
    assert attempt.values is not None
    return attempt.values[0]


def draw(charts: Sequence[Chart], columns: int = 1) -> Figure:
    """One figure of a chart or of several side by side."""
    from matplotlib.figure import Figure

    charts = [without_outliers(chart) for chart in charts]
    rows = -(-len(charts) // columns)
    size = (9.0, 4.6) if columns == 1 else (max(9.0, 3.4 * columns), 2.9 * rows)
    if charts[0].counts:
        size = (7.2, 6.8)
    elif charts[0].bars:
        size = (9.0, 1.2 + 0.4 * len(charts[0].bars))
    figure = Figure(figsize=(size[0], size[1] * (rows if columns == 1 else 1)), dpi=110,
                    layout="constrained")  # fmt: skip
    for index, chart in enumerate(charts):
        _draw(figure.add_subplot(rows, columns, index + 1), chart, small=columns > 1)
    return figure


def _draw(axes: Axes, chart: Chart, small: bool) -> None:
    # reversed: the first curve is the one to see
    for k, (curve, colour) in reversed([*enumerate(zip(chart.curves, _colours(chart)))]):
        style = {"drawstyle": "steps-post"} if chart.steps else {}
        style |= {"linestyle": "dashed"} if curve.dashed else {}
        if curve.low:
            axes.fill_between(curve.x, curve.low, curve.high, color=GREY, alpha=0.25, linewidth=0)
        (line,) = axes.plot(curve.x, curve.y, color=colour, linewidth=1.4, label=curve.label,
                            **style)  # type: ignore[arg-type]  # fmt: skip
        line.set_gid(f"curve-{chart.name}-{k}")
    for style_name, colour, marker, alpha in STYLES:
        group = [p for p in chart.points if p.style == style_name]
        if group:
            area = 160 if style_name == "labelled" else 14 if small else 24
            bars = [p for p in group if p.half is not None and math.isfinite(p.half)]
            axes.errorbar([p.x for p in bars], [p.y for p in bars], [p.half or 0.0 for p in bars],
                          fmt="none", ecolor=colour, alpha=0.6, elinewidth=1)  # fmt: skip
            dots = axes.scatter([p.x for p in group], [p.y for p in group], s=area,
                                color=colour, marker=marker, alpha=alpha,
                                label=chart.legend.get(style_name),
                                linewidths=1.2 if marker == "x" else 0)  # fmt: skip
            if style_name == "labelled":
                for p in group:
                    axes.annotate(p.told, (p.x, p.y), ha="center", va="center", parse_math=False)
            dots.set_gid(f"points-{chart.name}-{style_name}")
    if chart.bars:
        names = [name for name, _ in reversed(chart.bars)]
        for k, bar in enumerate(axes.barh(names, [v for _, v in reversed(chart.bars)], color=BLUE)):
            bar.set_gid(f"bar-{chart.name}-{k}")
    if chart.counts:
        _heat_map(axes, chart)
        return
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
    if chart.top is not None or chart.bottom is not None:
        axes.set_ylim(chart.bottom, chart.top)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    if not small:
        axes.set_title(chart.title, fontsize=10, loc="left", parse_math=False)
    if len(chart.curves) > 1 or (chart.curves and chart.points) or chart.legend:
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8, loc="upper right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _heat_map(axes: Axes, chart: Chart) -> None:
    """Darker is more, by the logarithm, for a few pairs are far more frequent than the others."""
    values = np.log1p(np.array(chart.counts, dtype=float))
    axes.imshow(values, cmap="Blues", aspect="auto")
    places = range(len(chart.categories))
    axes.set_xticks(places, chart.categories, fontsize=8)
    axes.set_yticks(places, chart.categories, fontsize=8)
    axes.tick_params(length=0)
    for row, column in np.ndindex(values.shape):
        dark = values[row, column] > 0.6 * values.max()
        axes.text(column, row, f"{chart.counts[row][column]}", ha="center", va="center",
                  fontsize=4, color="#ffffff" if dark else "#333333",
                  gid=f"count-{chart.name}-{row}-{column}")  # fmt: skip
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.set_title(chart.title, fontsize=10, loc="left", parse_math=False)


def _has_logarithm(interval: Sequence[float]) -> bool:
    """A share, a gain or a reward may be 0 or less: then the axis is linear."""
    return bool(min(interval) > 0)


def _plain_ticks(axis: Axis, few: bool) -> None:
    """0.01, 0.02, 0.05 instead of powers of ten; within one decade matplotlib's own places. Over
    many decades it labels every second or third one, and none where 2 and 5 are asked for, too."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    within_a_decade = high / low < 10
    axis.set_major_locator(
        MaxNLocator(4 if few else 7) if within_a_decade
        else LogLocator(subs=(1,) if high / low > (100 if few else 10_000) else (1, 2, 5))
    )  # fmt: skip
    axis.set_major_formatter("{x:.4g}")
    axis.set_minor_formatter(NullFormatter())


# name, colour, marker, opacity
STYLES = (
    ("labelled", BLUE, "o", 0.15),
    ("pruned", GREY, "x", 0.6),
    ("complete", BLUE, "o", 0.65),
    ("tied", GREEN, "o", 0.9),
    ("winner", ORANGE, "D", 1.0),
)


def _colours(chart: Chart) -> list[str]:
    """A curve with a band is grey, one that is dashed or has no label has the colour of the one
    before it, and a single one beside points stands out from them."""
    if len(chart.curves) == 1 and chart.points:
        return [ORANGE]
    found, wheel = list[str](), iter(COLOURS * len(chart.curves))
    for curve in chart.curves:
        same = found and (curve.dashed or not curve.label)
        found.append(GREY if curve.low else found[-1] if same else next(wheel))
    return found


def without_outliers(chart: Chart) -> Chart:
    """A few very bad trials would press all others together: without those beyond Tukey's outer
    fence at the worse end, which the title counts.

    Left in and clipped, they would also be missing among the marks of an SVG, whose titles are
    told off in order.
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
    title = chart.title
    if left:
        title += f" · {left} {'below' if sign < 0 else 'above'}"
    if sign < 0:
        return replace(chart, points=kept, title=title, bottom=end)
    return replace(chart, points=kept, title=title, top=end)


def _without_corner(chart: Chart) -> Chart:
    """Of two losses on equal terms: without the points that are far beyond the others in either."""
    right, top = fence([p.x for p in chart.points]), fence([p.y for p in chart.points])
    kept = [p for p in chart.points if p.x <= right and p.y <= top]
    if len(kept) == len(chart.points):
        return chart
    left = len(chart.points) - len(kept)
    return replace(chart, points=kept, title=f"{chart.title} · {left} beyond")


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def svg(figure: Figure, charts: Sequence[Chart]) -> str:
    """For a page: scales with it, takes its text colour, tells each point when pointed at."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sweepmore"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    label = escape(", ".join(chart.title for chart in charts), quote=True)
    (box,) = re.findall(r'<svg [^>]*?viewBox="([^"]*)"', text)
    text = f'<svg viewBox="{box}" role="img" aria-label="{label}">' + text[text.index(">") + 1 :]
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"(stroke|fill): #000000", r"\1: currentColor", text)
    text = text.replace("<text ", '<text fill="currentColor" ')
    text = text.replace(BLUE.lower(), "var(--accent)")  # the page's: lighter on a dark ground
    for chart in map(without_outliers, charts):
        for style_name, *_ in STYLES:
            group = [p for p in chart.points if p.style == style_name]
            text = _with_titles(text, f"points-{chart.name}-{style_name}", group)
    prefix = charts[0].name
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'"#([^"]+)"', rf'"#{prefix}-\1"', text)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)


def _with_titles(text: str, gid: str, points: Sequence[Point]) -> str:
    """``<use … />`` of the group with this id, one a point, gets a ``<title>``."""
    begin = text.find(f'<g id="{gid}">')
    if begin < 0:
        return text
    end = text.index("</g>\n  ", begin) if "</g>\n  " in text[begin:] else len(text)
    titles = iter(points)

    def titled(match: re.Match[str]) -> str:
        point = next(titles, None)
        if point is None:
            return match.group(0)
        return f"<use {match.group(1)}><title>{escape(point.told)}</title></use>"

    changed = re.sub(r"<use ([^>]*?)/>", titled, text[begin:end])
    return text[:begin] + changed + text[end:]
