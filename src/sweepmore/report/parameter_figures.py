"""What the figures on parameters show, as plain numbers: ``drawing`` draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweepmore.report.chart import Chart, Curve, Point, Scale
from sweepmore.report.figures import better, brief, tooltip_of, value_of
from sweepmore.statistics.effects import Effect
from sweepmore.statistics.importance import fence
from sweepmore.study.attempts import Attempt
from sweepmore.study.view import StudyView
from sweepmore.wording import plural, short

# Lines of parallel coordinates: more could not be told apart.
MOST_LINES = 300


def importance(
    shares: Mapping[str, float], view: StudyView, found: Mapping[str, Effect]
) -> Chart | None:
    """Return a bar for each parameter, the most important first, or None without ``shares``.

    The title names those whose effect in ``found`` is real.
    """
    if not shares:
        return None
    positive = {name: max(0.0, share) for name, share in shares.items()}
    bars = sorted(positive.items(), key=lambda row: -row[1])
    real = [name for name, _ in bars if name in found and found[name].is_real]
    subtitle = (
        f"adjusted R² of an additive model, n = {plural(len(view.ranked), 'trial')}; the "
        "dashboard's fANOVA counts interactions and noise, too"
    )
    return Chart("importance", _matters(real), "share of the variance that it explains", "",
                 bars=bars, subtitle=subtitle)  # fmt: skip


def _matters(names: Sequence[str]) -> str:
    """Say which parameters have an effect beyond noise."""
    if not names:
        return "No parameter has a clear effect"
    *first, last = names
    return f"{', '.join(first)} and {last} matter" if first else f"{last} matters"


def effect_title(name: str, effect: Effect | None) -> str:
    """Say what a parameter does to the value, as far as the trials show it beside the others."""
    if effect is None:
        return f"{name}: too few trials to tell"
    if not effect.is_real:
        return f"no clear effect of {name}"
    if effect.where == "choice":
        if len(effect.worse) == len(effect.x) - 1:
            return f"{name}={short(effect.best)} is best"
        worse, are = ", ".join(map(short, effect.worse)), "is" if len(effect.worse) == 1 else "are"
        return f"{name}: {worse} {are} worse" if worse else f"{name} matters"
    ends = {"low": f"lower {name} is better", "high": f"higher {name} is better"}
    return ends.get(effect.where, f"{name} is best near {effect.best:.2g}")


def slices(
    view: StudyView,
    space: Mapping[str, Mapping[str, Any]],
    metric: str,
    found: Mapping[str, Effect],
    answer: int | None = None,
) -> list[Chart]:
    """Return a chart of the value against each parameter that at least two trials have.

    ``space`` holds the distributions of the study's question, as Optuna writes them in JSON. A
    parameter whose effect in ``found`` is real gets a trend; the trial ``answer`` is marked.
    """
    charts = []
    marked = answer if answer is not None else view.ranked[0].root if view.ranked else None
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
                "winner" if a.root == marked else "complete",
                trial=a.root,
            )
            for a in rows
        ]
        effect = found.get(name)
        trend = []
        if effect is not None and effect.is_real and effect.where != "choice":
            trend = [Curve("", [float(x) for x in effect.x], list(effect.y))]
        charts.append(
            Chart(
                f"slice_{name}",
                effect_title(name, effect),
                name,
                metric,
                points,
                trend,
                log_x=bool(about.get("log")),
                categories=choices,
                better=better(view),
            )
        )
    return charts


def parallel(
    view: StudyView,
    space: Mapping[str, Mapping[str, Any]],
    metric: str,
    shares: Mapping[str, float],
    answer: int | None = None,
) -> Chart | None:
    """Return parallel coordinates: a line for each complete trial, a scale for each parameter.

    The scales of parameters reach as far as the trials. The more of the value one explains by its
    ``shares``, the closer to the value it is: lines show only how two neighbours go together. The
    last scale is the value, the better end on top; its outliers stand at the worse end. None with
    fewer than two parameters or trials.
    """
    names = [name for name in space if all(name in a.params for a in view.ranked)]
    names.sort(key=lambda name: shares.get(name, 0.0))
    if len(names) < 2 or len(view.ranked) < 2:
        return None
    chosen = view.ranked[:MOST_LINES]
    heights, scales = list[list[float]](), list[Scale]()
    for name in names:
        about = space[name].get("attributes", {})
        scale, at = _scale(name, about, [a.params[name] for a in chosen])
        scales.append(scale)
        heights.append(at)
    sign = view.sign()
    values = [sign * value_of(a) for a in chosen]
    low, high = values[0], max(min(max(values), fence(values)), values[0])
    span = (high - low) or 1.0
    heights.append([1 - min(1.0, (value - low) / span) for value in values])
    scales.append(Scale(metric, [(1.0, f"{sign * low:.4g}"), (0.0, f"{sign * high:.4g}")]))
    tenth = max(1, round(len(chosen) / 10))
    marked = chosen[0].root if answer is None else answer
    curves = [
        Curve(tooltip_of(a), list(range(len(scales))), [at[k] for at in heights], trial=a.root,
              style="winner" if a.root == marked else "best" if k < tenth else "other")
        for k, a in enumerate(chosen)
    ]  # fmt: skip
    best = "the best trial" if tenth == 1 else f"the best {tenth}"
    subtitle = f"n = {plural(len(chosen), 'trial')}; in colour {best}, in orange the marked one"
    if shares:
        subtitle += f"; beside {metric} the most important parameter"
    return Chart("parallel", _shared(chosen[:tenth], names), "", metric, curves=curves,
                 scales=scales, better=None, subtitle=subtitle)  # fmt: skip


def _shared(best: Sequence[Attempt], names: Sequence[str]) -> str:
    """Say which parameters the best trials have in common."""
    if len(best) < 2:
        return "Where the best trial lies"
    same = {
        name: best[0].params[name]
        for name in names
        if len({repr(a.params[name]) for a in best}) == 1
    }
    number = f"The best {len(best)} trials"
    return f"{number} share {brief(same)}" if same else f"Where the best {len(best)} trials lie"


def _scale(name: str, about: Mapping[str, Any], values: Sequence[Any]) -> tuple[Scale, list[float]]:
    """Return a parameter's scale and each value's height on it, from 0 to 1."""
    if "choices" in about:
        texts = [short(choice) for choice in about["choices"]]
        step = 1 / max(1, len(texts) - 1)
        ticks = [(k * step, text) for k, text in enumerate(texts)]
        if len(ticks) > 6:  # more could not be read
            ticks = [ticks[0], ticks[-1]]
        places = [repr(choice) for choice in about["choices"]]
        return Scale(name, ticks), [places.index(repr(value)) * step for value in values]
    log = bool(about.get("log"))
    at = [math.log(value) if log else float(value) for value in values]
    low, span = min(at), (max(at) - min(at)) or 1.0
    ticks = [(0.0, f"{min(values):.3g}"), (1.0, f"{max(values):.3g}")]
    return Scale(name, ticks), [(place - low) / span for place in at]
