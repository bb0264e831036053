"""The figures of studies: prepared as plain numbers, then drawn; PNG for files, SVG for pages.

The SVG is matplotlib's, edited for a page that loads nothing from elsewhere: plotly would put
megabytes of script into each.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import TrialState

from sweepmore.runs.names import safe_name
from sweepmore.study.application import Curves
from sweepmore.study.attempts import Attempt, short
from sweepmore.study.attributes import Winner
from sweepmore.study.view import StudyView
from sweepmore.wording import decimals, plural

if TYPE_CHECKING:
    pass
from sweepmore.report.chart import Better, Chart, Curve, Point

# Learning curves drawn one by one; the others are a band.
BEST_CURVES = 10
# Steps at which the spread of learning curves is taken.
GRID = 60


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
        best = min(best, sign * value_of(attempt))
        stairs.append(sign * best)
    points = [Point(a.root, value_of(a), told(a)) for a in done]
    cut = [a for a in seen.counted if a.state is TrialState.PRUNED and a.values]
    points += [Point(a.root, value_of(a), told(a), "pruned") for a in cut]
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
            best = min(best, sign * value_of(attempt))
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
                value_of(a),
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


def value_of(attempt: Attempt) -> float:
    assert attempt.values is not None
    return attempt.values[0]
