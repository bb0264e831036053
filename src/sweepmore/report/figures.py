"""What the figures of studies show, as plain numbers: ``drawing`` draws them.

One file, because the figures share how they pick, order and label trials.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna.trial import TrialState

from sweepmore.report.chart import Better, Chart, Curve, Point, Row
from sweepmore.runs.names import safe_name
from sweepmore.study.application import Curves
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import Winner
from sweepmore.study.view import StudyView
from sweepmore.wording import decimals, last_parts, plural, real_minus, short

# How many learning curves are drawn as lines; the others form a band.
BEST_CURVES = 10
# Runs whose lengths differ by more have logarithmic steps: the shorter would be a sliver (guess).
UNEVEN = 10
# Steps at which the spread of learning curves is taken.
GRID = 60


def better(view: StudyView, objective: int = 0) -> Better:
    """Return which end of an objective is better."""
    return "low" if view.sign(objective) > 0 else "high"


def tooltip_of(attempt: Attempt) -> str:
    """Return a trial in words: its number, values and parameters."""
    values = "" if attempt.values is None else ", ".join(f"{v:.4g}" for v in attempt.values)
    parts = [
        f"trial {attempt.root}",
        values,
        *(f"{k}={short(v)}" for k, v in attempt.params.items()),
    ]
    return " · ".join(part for part in parts if part)


def brief(params: Mapping[str, Any], width: int = 44) -> str:
    """Return parameters by the last parts of their names, cut where a figure has no room."""
    text = " ".join(f"{name}={short(value)}" for name, value in last_parts(params).items())
    return text if len(text) <= width else f"{text[: width - 1]}…"


def history(
    view: StudyView, metric: str, answer: int | None = None, which: str = "the best"
) -> Chart:
    """Return each trial's value by its number, with the best so far as stairs.

    The trial with the number ``answer`` is marked, by default the best. Trials that failed have no
    value, and those far worse than most would squash the others: both stand at the worse rim.
    """
    done = sorted(view.ranked, key=lambda a: a.root)
    sign = view.sign()
    best, stairs, better_at = math.inf, list[float](), list[int]()
    for attempt in done:
        if sign * value_of(attempt) < best:
            best = sign * value_of(attempt)
            better_at.append(attempt.root)
        stairs.append(sign * best)
    marked = answer if answer is not None else better_at[-1] if better_at else None
    cut = [a for a in view.counted if a.state is TrialState.PRUNED and a.values]
    rim = _rim([value_of(a) for a in [*done, *cut]], sign)
    far = [a for a in [*done, *cut] if sign * value_of(a) > sign * rim]
    points = [
        Point(a.root, value_of(a), tooltip_of(a), "winner" if a.root == marked else "complete",
              trial=a.root)
        for a in done if a not in far
    ]  # fmt: skip
    points += [
        Point(a.root, value_of(a), tooltip_of(a), "pruned", trial=a.root)
        for a in cut if a not in far
    ]  # fmt: skip
    points += [Point(a.root, rim, tooltip_of(a), "far", trial=a.root) for a in far]
    lost = [a for a in view.counted if a.state is TrialState.FAIL or a.infeasible]
    points += [
        Point(a.root, rim, f"trial {a.root} {'diverged' if a.infeasible else 'failed'}", "failed",
              trial=a.root)
        for a in lost
    ]  # fmt: skip
    running = Curve("best so far", [a.root for a in done], stairs)
    beyond = any(sign * value > sign * rim for value in stairs)  # the axis is cut at the rim
    ends = [(len(cut), "pruned"), (len(lost), "failed or diverged"), (len(far), "beyond the rim")]
    others = "".join(f", {number} {how}" for number, how in ends if number)
    return Chart("history", _improved(better_at), "trial", metric, points,
                 [running], steps=True, better=None, whole_x=True,
                 subtitle=f"n = {plural(len(done), 'complete trial')}{others}",
                 top=rim if beyond and sign > 0 else None,
                 bottom=rim if beyond and sign < 0 else None,
                 legend={"complete": "a trial", "pruned": "pruned", "winner": which,
                         "failed": "failed or diverged", "far": "far worse"})  # fmt: skip


def _rim(values: Sequence[float], sign: float) -> float:
    """Return the worst value that is drawn: three times as far from the best as the median is.

    So the better half of the trials has a third of the height, however bad the others are.
    """
    losses = sorted(sign * value for value in values)
    if not losses:
        return 0.0
    limit = losses[0] + 3 * (statistics.median(losses) - losses[0])
    return sign * max((loss for loss in losses if loss <= limit), default=losses[-1])


def _improved(better_at: Sequence[int]) -> str:
    """Say when the search last found something better."""
    if not better_at:
        return "No trial is complete"
    if len(better_at) == 1:
        return f"No later trial was better than trial {better_at[0]}"
    times = plural(len(better_at) - 1, "time")
    last = better_at[-1]
    return f"The search improved {times}, last at trial {last}"


@dataclass(frozen=True)
class SoFar:
    """A study after its first ``trials`` and ``seconds`` of work.

    ``best`` is infinite while no trial is complete.
    """

    trials: int
    seconds: float
    best: float


def so_far(view: StudyView) -> list[SoFar]:
    """Return the study after each trial in turn. Seconds of parallel trials are added up."""
    sign = view.sign()
    best, spent, moments = math.inf, 0.0, list[SoFar]()
    for number, attempt in enumerate(sorted(view.counted, key=lambda a: a.root), 1):
        spent += view.seconds_of(attempt) or 0.0
        if attempt.state is TrialState.COMPLETE and not attempt.infeasible:
            best = min(best, sign * value_of(attempt))
        moments.append(SoFar(number, spent, sign * best))
    return moments


def anytime(studies: Sequence[StudyView], metric: str, by: str) -> Chart:
    """Return the best so far of several studies, ``by`` "trials" or by seconds of work."""
    curves = []
    for view in studies:
        moments = [moment for moment in so_far(view) if math.isfinite(moment.best)]
        x = [moment.trials if by == "trials" else moment.seconds for moment in moments]
        label = f"{view.name}, n = {len(view.counted)}"
        curves.append(Curve(label, x, [moment.best for moment in moments]))
    label = "trials" if by == "trials" else "seconds of trials, added up"
    return Chart(f"anytime_{by}", _leads(curves, better(studies[0]), by), label, metric,
                 curves=curves, steps=True, better=better(studies[0]), whole_x=by == "trials",
                 subtitle="the best value so far")  # fmt: skip


def _leads(curves: Sequence[Curve], best: Better, by: str) -> str:
    """Say whose best is better where the shortest study ends."""
    if not all(len(curve.x) for curve in curves):
        return "One of them has no complete trial"
    end = min(curve.x[-1] for curve in curves)
    late = [curve for curve in curves if curve.x[0] > end]
    if late:
        where = f"{end:,.0f} {'trials' if by == 'trials' else 's'}"
        return f"{late[0].label.rpartition(', n = ')[0]} has no complete trial after {where}"
    values = [curve.y[sum(x <= end for x in curve.x) - 1] for curve in curves]
    ahead = (min if best == "low" else max)(range(len(curves)), key=lambda k: values[k])
    where = f"{end:,.0f} trials" if by == "trials" else f"{end:,.0f} s"
    if values.count(values[ahead]) > 1:
        return f"Level after {where}"
    return f"{curves[ahead].label.rpartition(', n = ')[0]} is ahead after {where}"


def learning_curves(
    view: StudyView, reports: Mapping[int, Mapping[int, float]], metric: str
) -> Chart | None:
    """Return the reports of the best trials and the middle 80 % of all, or None without reports.

    ``reports`` holds each trial's reported values by its number and step. Values between two
    reports are interpolated linearly, so that trials that reported at other steps can be compared.
    """
    # a line needs two finite reports; trials without a rank count towards the spread alone
    ranked = view.ranked
    ranked_numbers = {a.number for a in ranked}
    others = [a for a in view.counted if a.number not in ranked_numbers]
    rows = [_finite(reports.get(a.number, {})) for a in [*ranked, *others]]
    places = [k for k in range(min(BEST_CURVES, len(ranked))) if len(rows[k]) > 1]
    best = [rows[k] for k in places]
    if not best:
        return None
    reported = [row for row in rows if len(row) > 1]
    curves = _spread(reported)

    # one legend entry for the best, one for all the next
    for k, row in enumerate(best):
        label = "the best" if k == 0 else f"the next {len(best) - 1}" if k == 1 else ""
        trial = ranked[places[k]].root
        curves.append(Curve(label, [s for s, _ in row], [v for _, v in row], trial=trial))
    all_trials = plural(len(reported), "trial")
    subtitle = f"{metric}: the best {len(best)} and the spread of all, n = {all_trials}"
    return Chart("curves", _early(best[0], reported, view.sign()), "step", metric, curves=curves,
                 log_y=True, better=better(view), subtitle=subtitle)  # fmt: skip


def _early(
    best: Sequence[tuple[int, float]], all_rows: Sequence[Sequence[tuple[int, float]]], sign: float
) -> str:
    """Say from which step on the best trial was among the best quarter."""
    since = None
    for step, value in reversed(best):
        others = [_between(row, step) for row in all_rows if row[0][0] <= step <= row[-1][0]]
        if len(others) < 4:  # a quarter of fewer says nothing
            continue
        if sign * value > statistics.quantiles([sign * other for other in others], n=4)[0]:
            break
        since = step
    if since is None:
        return "How the value develops"
    return f"The best trial was in the best quarter from step {since:,} on"


def _finite(reports: Mapping[int, float]) -> list[tuple[int, float]]:
    return sorted((step, value) for step, value in reports.items() if math.isfinite(value))


def _spread(rows: Sequence[Sequence[tuple[int, float]]]) -> list[Curve]:
    """Return median and deciles at up to ``GRID`` steps that at least three trials reached."""
    first, last = min(row[0][0] for row in rows), max(row[-1][0] for row in rows)
    spread = []
    for step in np.linspace(first, last, GRID):
        at = [_between(row, float(step)) for row in rows if row[0][0] <= step <= row[-1][0]]
        if len(at) >= 3:
            deciles = statistics.quantiles(at, n=10, method="inclusive")
            spread.append((float(step), statistics.median(at), deciles[0], deciles[-1]))
    if not spread:
        return []
    steps, medians, low, high = zip(*spread)
    whole = all(row[-1][0] == last for row in rows)  # else pruning chose who is left at the end
    label = f"{'all' if whole else 'of those still running'}: median, middle 80 %"
    return [Curve(label, steps, medians, low, high)]


def _between(row: Sequence[tuple[int, float]], step: float) -> float:
    return float(np.interp(step, [s for s, _ in row], [value for _, value in row]))


def overfitting(view: StudyView, curves: Curves) -> Chart | None:
    """Return each trial's result on held-out data against its result on what it learnt from.

    A trial far above the diagonal overfits, and one far along it underfits. Returns None if the
    application names no such pair, or if fewer than two trials keep both results.
    """
    if curves.overfit is None:
        return None
    learnt, held_out = curves.overfit
    points = []
    for attempt in view.counted:
        kept = attempt.attrs.result or {}
        x, y = kept.get(learnt), kept.get(held_out)
        if x is not None and y is not None and math.isfinite(x + y):
            points.append(Point(x, y, tooltip_of(attempt), trial=attempt.root))
    if len(points) < 2:
        return None
    gaps = [point.y - point.x for point in points]
    title = f"The median gap is {real_minus(decimals(statistics.median(gaps)))}"
    if view.ranked and (best := [p for p in points if p.trial == view.ranked[0].root]):
        title += f", that of the best trial {real_minus(decimals(best[0].y - best[0].x))}"
    subtitle = (
        f"n = {plural(len(points), 'trial')}; the further above the line, the more overfitting"
    )
    return Chart("fit", title, curves.label(learnt), curves.label(held_out), points, diagonal=True,
                 subtitle=subtitle)  # fmt: skip


def logged(
    curves: Curves, runs: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], data: Mapping[str, Any]
) -> Chart:
    """Return the curves that runs logged at their evaluations.

    ``runs`` holds the name of each run (empty for a single run) and its rows. ``data`` is the
    section of that name in ``result.json``, which counts the examples.
    """
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
    subtitle = f"n = {numbers} examples" if numbers else ""
    lengths = [curve.x[-1] for curve in drawn if len(curve.x)]
    uneven = len(lengths) > 1 and max(lengths) > UNEVEN * min(lengths) > 0
    if uneven:  # a logarithm has no step 0
        drawn = [replace(c, x=[x for x in c.x if x > 0], y=c.y[sum(x <= 0 for x in c.x) :])
                 for c in drawn]  # fmt: skip
    return Chart(safe_name(curves.title.lower()), _ends(drawn), "step", curves.label(),
                 curves=drawn, log_x=uneven, log_y=True, subtitle=subtitle)  # fmt: skip


def _ends(drawn: Sequence[Curve]) -> str:
    """Say where the curves end: the lowest of several runs, or how far apart those of one are."""
    ended = [curve for curve in drawn if len(curve.y) and math.isfinite(curve.y[-1])]
    if not ended:
        return "Nothing finite was logged"
    lowest = min((c for c in ended if not c.dashed), key=lambda c: c.y[-1], default=ended[0])
    name, what = lowest.label.rpartition(": ")[::2]
    if name:
        return f"{name} ends lowest in {what}, at {decimals(lowest.y[-1])}"
    others = [curve for curve in ended if curve is not lowest]
    if not others:
        return f"{what} ends at {decimals(lowest.y[-1])}"
    gap = lowest.y[-1] - others[0].y[-1]
    side = "above" if gap >= 0 else "below"
    return f"{what} ends {decimals(abs(gap), lowest.y[-1])} {side} {others[0].label}"


def confirmed(winner: Winner, metric: str) -> Chart:
    """Return a row for each confirmed configuration: its mean over fresh seeds, best first.

    Each row has its interval and, hollow, the value of the search.
    """
    rows = []
    for row in winner.rows:
        style = "winner" if row.trial == winner.trial else "tied" if row.tied else "complete"
        label = f"trial {row.trial}: {brief(row.params)}"
        rows.append(Row(label, row.mean, row.half_width, row.searched, style, row.trial))
    tied = sum(row.style == "tied" for row in rows)
    title = f"Trial {winner.trial} is better than the others beyond chance"
    if tied:
        others = len(rows) - 1
        of = f"{tied} of " if tied < others else "all " if others > 1 else ""
        title = f"Trial {winner.trial} is tied with {of}{plural(others, 'other')}"
    subtitle = f"mean of {plural(winner.seeds, 'fresh seed')} each, 95 % intervals"
    legend = {"winner": "the winner", "tied": "tied with the best",
              "complete": "worse, seed by seed", "searched": "in the search"}  # fmt: skip
    return Chart("confirmed", title, metric, "", rows=rows, better=None, legend=legend,
                 subtitle=subtitle)  # fmt: skip


def front(view: StudyView, labels: Sequence[str], group: str | None = None) -> Chart:
    """Return two objectives against each other, and the line of the trials that nothing beats.

    With ``group``, there is a line for each value of that parameter instead. ``labels`` names the
    two objectives.
    """
    points = [
        Point(a.values[1], a.values[0], tooltip_of(a), trial=a.root)
        for a in view.ranked
        if a.values
    ]
    curves = [_front_curve(view, "no trial beats these")]
    if group is not None:
        curves = []
        for value in sorted({a.params[group] for a in view.ranked}):
            of_value = [a for a in view.attempts if a.params.get(group) == value]
            part = StudyView(view.name, view.directions, tuple(of_value))
            curves.append(_front_curve(part, f"{group}={short(value)}"))
    title = f"{len(view.front)} of {plural(len(points), 'trial')} are beaten by none"
    return Chart("front", title, labels[1], labels[0], points, curves, log_x=True, steps=True,
                 better=better(view), subtitle=f"n = {plural(len(points), 'trial')}")  # fmt: skip


def _front_curve(view: StudyView, label: str) -> Curve:
    rows = sorted((a.values[1], a.values[0]) for a in view.front if a.values)
    return Curve(label, [x for x, _ in rows], [y for _, y in rows])


def value_of(attempt: Attempt) -> float:
    """Return the first objective of an attempt that has values."""
    assert attempt.values is not None
    return attempt.values[0]
