"""The page of a study: the answer, what makes it doubtful, the trials, the parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from sweepmore.report import figures
from sweepmore.report.additions import Additions, tell
from sweepmore.report.commands import commands_of
from sweepmore.report.confirmation import confirmed_section
from sweepmore.report.document import Page, Picture, Section, cell
from sweepmore.report.study import Study
from sweepmore.report.trials import front_section, parameter_sections, trials_section
from sweepmore.runs.files import read_json
from sweepmore.statistics.intervals import gain
from sweepmore.study.attempts import Attempt, words
from sweepmore.study.edges import at_edge
from sweepmore.study.winners import TESTED_BEFORE, reported
from sweepmore.wording import decimals, plural, plus_minus, shown_path

# The card that names the run of the winner, else of the best.
FOLDER = "folder"


def study_page(study: Study, additions: Additions, where: str = "") -> Page:
    """``where`` are the words of outputs and storage that its commands need, " outputs=…"."""
    seen, metric, additions = study.seen, study.metrics[0], additions.of(study.application)
    told, run = tell(additions, study.winning_run), study.winning_run / "result.json"
    numbers = additions.numbers(read_json(run)) if run.exists() else ()
    evidence = [
        Section("How the search went", pictures=[Picture([figures.history(seen, metric)])]),
        trials_section(study),
    ]
    if len(seen.directions) > 1:
        evidence.insert(0, front_section(study))
    if study.winner is not None:
        evidence.insert(0, confirmed_section(study))
    curves = figures.learning_curves(seen, study.reports, metric)
    if curves is not None and not study.question.get("repeats"):  # whose reports are no steps
        evidence.append(Section("How the trials learnt", pictures=[Picture([curves])]))
    evidence += parameter_sections(study)
    fit = figures.overfitting(seen, study.application.curves)
    if fit is not None:
        evidence.append(Section("Underfitting and overfitting", pictures=[Picture([fit])]))
    return Page(
        title=seen.name,
        subtitle=subtitle_of(study),
        facts=[*facts_of(study), *((f"its run's {k}", v) for k, v in numbers), *told.facts],
        warnings=[*warnings_of(study), *told.warnings],
        sections=[*evidence, *told.sections],
        commands=commands_of(study, where, additions),
    )


def subtitle_of(study: Study) -> str:
    times = [a.started for a in study.seen.attempts if a.started is not None]
    seconds = sum(study.seen.seconds_of(a) or 0.0 for a in study.seen.counted)
    start = f"{min(times):%Y-%m-%d %H:%M}" if times else "not begun"
    trials = plural(len(study.seen.counted), "trial")
    return f"{start} · {trials} · {seconds:,.0f} s of trials, added up"


def facts_of(study: Study) -> list[tuple[str, str]]:
    """The answer first: the winner, and beside it what the search alone had found."""
    seen, best, answer = study.seen, study.best, study.answer
    facts = []
    if study.winner is not None:
        mean, half = study.winner.mean, study.winner.half_width
        facts.append(("winner", f"trial {answer.root}: {words(answer.params)}"))
        facts.append(("confirmed", reported(study.winner)))
    for k, metric in enumerate(study.metrics[: len(seen.directions)]):
        one = seen.best_in(k)
        value = cell((one.values or ())[k])
        label = f"best {metric}" if study.winner is None else f"in the search alone: best {metric}"
        facts.append((label, f"{value} (trial {one.root})"))
    if len(seen.directions) > 1:
        facts.append(
            ("no trial beats", f"{len(seen.front)} of {plural(len(seen.ranked), 'trial')}")
        )
    elif study.winner is None:
        facts.append(("its settings", words(best.params)))
    first = next((a for a in seen.ranked if a.root == min(x.root for x in seen.ranked)), best)
    start = (first.values or (math.nan,))[0]
    if first.root == (best if study.winner is None else answer).root:
        pass  # nothing was gained over itself
    elif study.winner is not None:
        over = gain(study.sign * start, study.sign * mean, half, study.winner.seeds,
                    study.runs_each)  # fmt: skip
        told = f"{plus_minus(over.mean, over.half, sign='+')} "
        told += f"(95 %; trial {first.root} is taken for as noisy as the winner)"
        facts.append((f"gain over trial {first.root}", told))
    elif best.values and len(seen.directions) == 1:
        better = study.sign * (start - best.values[0])
        gained = decimals(better, start, sign="+")
        each = "one run" if study.runs_each == 1 else plural(study.runs_each, "run")
        facts.append((f"gain over trial {first.root}", f"{gained} ({each} each, not confirmed)"))
    if len(seen.directions) == 1:
        facts.append((FOLDER, shown_path(study.winning_run)))
    counts = ", ".join(
        f"{number} {word}"
        for number, word in (
            (seen.count(TrialState.COMPLETE), "complete"),
            (seen.count(TrialState.PRUNED), "pruned"),
            (len(seen.failed), "failed"),
        )
        if number
    )
    missing = 0 if study.total is None else study.total - len(seen.counted) - len(seen.given_up)
    left = f"; {missing} of {study.total} to come" if missing > 0 else ""
    return [*facts, ("trials", counts + left)]


def warnings_of(study: Study) -> list[str]:
    seen, space = study.seen, study.question["space"]
    found = [] if study.since is None else [study.since[0]]
    if study.tested == "another":
        found.append(TESTED_BEFORE)
    found += [f"{line}: look beyond it" for line in edges_of(study.answer, space)]
    if seen.infeasible:
        share = len(seen.infeasible) / max(1, len(seen.counted))
        found.append(f"{share:.0%} of the trials have no finite value (diverged, or never there)")
    if seen.failed:
        failed = plural(len(seen.failed), "trial")
        found.append(f"{failed} failed: error.txt in the folder of each says why")
    if again := len(seen.repeated):
        counted = plural(len(seen.counted), "trial")
        found.append(
            f"{again} of {counted} have the parameters of an earlier one: with the same seed they "
            "tell nothing new"
        )
    if study.may_be_luck:
        found.append(
            "one seed a trial, and the best of many is partly luck: confirm.py tells how much"
        )
    return found


def edges_of(best: Attempt, space: Mapping[str, Any]) -> list[str]:
    distributions = {
        name: optuna.distributions.json_to_distribution(json.dumps(one))
        for name, one in space.items()
    }
    return at_edge(best.params, distributions)
