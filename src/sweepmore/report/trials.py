"""The trials of a study as tables, and what the parameters have to do with their values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from sweepmore.report import chart, figures, parameter_figures
from sweepmore.report.document import Picture, Section, Table
from sweepmore.report.study import Study
from sweepmore.statistics.importance import FEWEST
from sweepmore.study.attempts import Attempt
from sweepmore.study.noise import noise
from sweepmore.study.view import SHOWN, StudyView
from sweepmore.wording import plural

TRIALS = "The trials"
# A study of more trials than this is shown by its best; csv=true writes them all.
MOST_ROWS = 200


def front_section(study: Study) -> Section:
    """Return the trials that no other beats, in a chart of the first two objectives."""
    labels = study.metrics[:2]
    text = f"{labels[0]} against {labels[1]}; the lines are the best known."
    table = table_of(study, study.seen.front)
    return Section("What no trial beats", text, [Picture([front_of(study)])], [table])


def front_of(study: Study) -> chart.Chart:
    """Return the chart of two objectives, with a line for each value of a searched choice.

    That choice is the first with two to six values: more lines could not be told apart.
    """
    space = study.question["space"]
    choices = [
        name
        for name, distribution in space.items()
        if "choices" in distribution.get("attributes", {})
    ]
    group = next((name for name in choices if 2 <= len(values_of(study.seen, name)) <= 6), None)
    return figures.front(study.seen, study.metrics[:2], group)


def values_of(view: StudyView, name: str) -> set[Any]:
    """Return the values of a parameter among the ranked trials."""
    return {a.params.get(name) for a in view.ranked}


def trials_section(study: Study) -> Section:
    """Return the section that lists the ranked trials, the best ``MOST_ROWS`` of them."""
    ranked = study.seen.ranked
    text = f"The best {MOST_ROWS} of {len(ranked)}; csv=true writes all to {study.seen.name}.csv."
    return Section(
        TRIALS, text if len(ranked) > MOST_ROWS else "", tables=[table_of(study, ranked)]
    )


def table_of(study: Study, shown: Sequence[Attempt]) -> Table:
    """Return a table with a row for each of the trials ``shown``.

    The best is marked or, with several objectives, each trial that no other beats.
    """
    # a column appears only if some trial has a value for it
    view, names = study.seen, list(study.question["space"])
    error = noise(view.ranked[:SHOWN])
    kept = {
        key: head
        for key, head in study.application.columns.items()
        if any(_kept(attempt, key) is not None for attempt in shown)
    }
    on_gpus = any(_gpus(attempt) for attempt in shown)
    head = [
        "trial",
        *study.metrics[: len(view.directions)],
        *(["± s.e."] if error else []),
        *kept.values(),
        *(["GPU"] if on_gpus else []),
        "seconds",
        *names,
    ]
    rows = []
    for a in shown[:MOST_ROWS]:
        std = [None if a.attrs.std is None else a.attrs.std / len(a.attrs.repeats or ()) ** 0.5]
        rows.append([a.root, *(a.values or ()), *(std if error else []),
                     *(_kept(a, key) for key in kept), *([_gpus(a)] if on_gpus else []),
                     view.seconds_of(a),
                     *(a.params.get(name) for name in names)])  # fmt: skip

    # marking every row would say nothing
    best = study.seen.front if len(study.seen.directions) > 1 else [study.answer]
    roots = {attempt.root for attempt in best} if len(shown) > len(best) else set()
    marked = [k for k, row in enumerate(rows) if row[0] in roots]
    params = range(len(head) - len(names), len(head))
    return Table(head, rows, marked=marked, typed=[0, *params])


def _kept(attempt: Attempt, key: str) -> Any:
    """Return what the application keeps with a trial under a key, or None."""
    return (attempt.attrs.result or {}).get(key)


def _gpus(attempt: Attempt) -> str:
    """Return the GPUs that its worker got, with how many shared them: ``0 (1 of 4)``."""
    placed = attempt.attrs.placed or {"gpus": [], "workers": 1}
    sharing = f" (1 of {placed['workers']})" if placed["workers"] > 1 else ""
    return f"{', '.join(placed['gpus'])}{sharing}" if placed["gpus"] else ""


def parameter_sections(study: Study) -> list[Section]:
    """Return the sections on parameters: values against each, then how important each is."""
    view, metric = study.seen, study.metrics[0]
    answer = study.answer.root if view.ranked else None
    charts = parameter_figures.slices(view, study.question["space"], metric, study.effects, answer)
    caption = (
        f"Each point is one of n = {plural(len(view.ranked), 'trial')}; the diamond is the marked "
        "trial. A trend is drawn where an effect remains beside the other parameters (95 %)."
    )
    sections = []
    if charts:
        sections.append(
            Section(
                "Each parameter",
                pictures=[Picture(charts, caption, columns=2 if len(charts) in (2, 4) else 3)],
                tables=trial_lists(study),
            )
        )
    bars = parameter_figures.importance(study.shares, view, study.effects)
    if bars is not None:
        left = 1 - sum(max(0.0, share) for share in study.shares.values())  # as drawn
        text = (
            f"How much of the variance of {metric} each parameter explains by itself, corrected "
            "for chance; two that the sampler moved together share it. The other "
            f"{max(0.0, left):.0%} is interactions and noise. It is about these trials, the bad "
            "ones too (far outliers are drawn in), not about the best alone: a parameter whose "
            "range is narrow, or that the sampler soon settled, looks unimportant."
        )
        sections.append(Section("What mattered", text, [Picture([bars])]))
    elif view.ranked:
        parameters = plural(len(study.question["space"]), "parameter")
        text = (
            f"{plural(len(view.ranked), 'complete trial')} cannot tell what {parameters} explain: "
            f"at least {FEWEST} are needed, more for many parameters, and different values."
        )
        sections.append(Section("What mattered", text))
    return sections


def trial_lists(study: Study) -> list[Table]:
    """Return a table for each searched choice: trials, best and mean of each of its values."""
    tables = []
    for name, distribution in study.question["space"].items():
        rows = []
        for choice in distribution.get("attributes", {}).get("choices", ()):
            of_it = [a for a in study.seen.ranked if repr(a.params.get(name)) == repr(choice)]
            values = [(a.values or (math.nan,))[0] for a in of_it]
            if values:
                best = min(values, key=lambda value: study.sign * value)
                rows.append([choice, len(values), best, statistics.fmean(values)])
        if len(rows) > 1:
            head = [name, "trials", f"best {study.metrics[0]}", "mean"]
            tables.append(Table(head, rows, typed=[0]))
    return tables
