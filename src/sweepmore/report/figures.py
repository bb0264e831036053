"""What the figures of studies show, as plain numbers: ``drawing`` draws them.

One file, because the figures share how they pick, order and label trials.
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
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import Winner
from sweepmore.study.view import StudyView
from sweepmore.wording import decimals, plural, short

if TYPE_CHECKING:
    pass
from sweepmore.report.chart import Better, Chart, Curve, Point

# How many learning curves are drawn as lines; the others form a band.
BEST_CURVES = 10
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


def history(view: StudyView, metric: str) -> Chart:
    """Return each trial's value by its number, with the best so far as stairs."""
    done = sorted(view.ranked, key=lambda a: a.root)
    sign = view.sign()
    best, stairs = math.inf, list[float]()
    for attempt in done:
        best = min(best, sign * value_of(attempt))
        stairs.append(sign * best)
    points = [Point(a.root, value_of(a), tooltip_of(a)) for a in done]
    cut = [a for a in view.counted if a.state is TrialState.PRUNED and a.values]
    points += [Point(a.root, value_of(a), tooltip_of(a), "pruned") for a in cut]
    running = Curve("best so far", [a.root for a in done], stairs)
    pruned = f", {len(cut)} pruned" if cut else ""
    title = f"{view.name}: n = {plural(len(done), 'complete trial')}{pruned}"
    return Chart("history", title, "trial", metric, points, [running], steps=True,
                 better=better(view),
                 legend={"complete": "a trial", "pruned": "pruned"})  # fmt: skip


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
    return Chart(f"anytime_{by}", f"best so far by {by}", label, metric, curves=curves, steps=True,
                 better=better(studies[0]))  # fmt: skip


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
    best = [row for row in rows[: min(BEST_CURVES, len(ranked))] if len(row) > 1]
    if not best:
        return None
    reported = [row for row in rows if len(row) > 1]
    curves = _spread(reported)

    # one legend entry for the best, one for all the next
    for k, row in enumerate(best):
        label = "the best" if k == 0 else f"the next {len(best) - 1}" if k == 1 else ""
        curves.append(Curve(label, [s for s, _ in row], [v for _, v in row]))
    all_trials = plural(len(reported), "trial")
    title = f"{view.name}: the best {len(best)} and the spread of all, n = {all_trials}"
    return Chart("curves", title, "step", metric, curves=curves, log_y=True,
                 better=better(view))  # fmt: skip


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


def importance(shares: Mapping[str, float], view: StudyView) -> Chart | None:
    """Return a bar for each parameter, the most important first, or None without ``shares``."""
    if not shares:
        return None
    positive = {name: max(0.0, share) for name, share in shares.items()}
    bars = sorted(positive.items(), key=lambda row: -row[1])
    title = f"{view.name}: what the value depends on, n = {plural(len(view.ranked), 'trial')}"
    return Chart("importance", title, "share of the variance that it explains", "", bars=bars)


def slices(view: StudyView, space: Mapping[str, Mapping[str, Any]], metric: str) -> list[Chart]:
    """Return a chart of the value against each parameter that at least two trials have.

    ``space`` holds the distributions of the study's question, as Optuna writes them in JSON.
    """
    charts = []
    for name, distribution in space.items():
        rows = [a for a in view.ranked if name in a.params]
        about = distribution.get("attributes", {})
        choices = [] if "choices" not in about else [str(c) for c in about["choices"]]
        if len(rows) < 2:
            continue
        places = {choice: k for k, choice in enumerate(choices)}
        points = [
            Point(
                places[str(a.params[name])] if choices else float(a.params[name]),
                value_of(a),
                tooltip_of(a),
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
                better=better(view),
            )
        )
    return charts


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
            points.append(Point(x, y, tooltip_of(attempt)))
    if len(points) < 2:
        return None
    title = (
        f"{view.name}: n = {plural(len(points), 'trial')}; "
        "the further above the line, the more overfitting"
    )
    return Chart("fit", title, curves.label(learnt), curves.label(held_out), points, diagonal=True)


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
    title = f"n = {numbers} examples" if numbers else curves.title
    return Chart(safe_name(curves.title.lower()), title, "step", curves.label(), curves=drawn,
                 log_y=True)  # fmt: skip


def confirmed(winner: Winner, metric: str) -> Chart:
    """Return the mean over fresh seeds against what the search promised, in the metric's unit."""
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


def front(view: StudyView, labels: Sequence[str], group: str | None = None) -> Chart:
    """Return two objectives against each other, and the line of the trials that nothing beats.

    With ``group``, there is a line for each value of that parameter instead. ``labels`` names the
    two objectives.
    """
    points = [Point(a.values[1], a.values[0], tooltip_of(a)) for a in view.ranked if a.values]
    curves = [_front_curve(view, "no trial beats these")]
    if group is not None:
        curves = []
        for value in sorted({a.params[group] for a in view.ranked}):
            of_value = [a for a in view.attempts if a.params.get(group) == value]
            part = StudyView(view.name, view.directions, tuple(of_value))
            curves.append(_front_curve(part, f"{group}={short(value)}"))
    title = f"{view.name}: n = {plural(len(points), 'trial')}"
    return Chart("front", title, labels[1], labels[0], points, curves, log_x=True, steps=True,
                 better=better(view))  # fmt: skip


def _front_curve(view: StudyView, label: str) -> Curve:
    rows = sorted((a.values[1], a.values[0]) for a in view.front if a.values)
    return Curve(label, [x for x, _ in rows], [y for _, y in rows])


def value_of(attempt: Attempt) -> float:
    """Return the first objective of an attempt that has values."""
    assert attempt.values is not None
    return attempt.values[0]
