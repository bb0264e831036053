"""The page of a study: the answer, what makes it doubtful, the trials, the parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.trial import TrialState

from sweepmore.report import figures, parameter_figures
from sweepmore.report.additions import Additions, tell
from sweepmore.report.campaign import campaign_section
from sweepmore.report.commands import commands_of
from sweepmore.report.confirmation import confirmed_section
from sweepmore.report.document import Page, Picture, Section, cell
from sweepmore.report.study import Study
from sweepmore.report.trials import front_section, parameter_sections, trials_section
from sweepmore.runs.files import read_json
from sweepmore.runs.names import campaign_of
from sweepmore.statistics.intervals import gain, t_interval
from sweepmore.study.attempts import words
from sweepmore.study.campaigns import Challenge
from sweepmore.study.championship import champion_named, champion_of, fresh_values, settings_of
from sweepmore.study.edges import at_edge, searched
from sweepmore.study.verdict import verdict
from sweepmore.study.winners import TESTED_BEFORE, contradicted, reported, seeds_of
from sweepmore.wording import decimals, plural, plus_minus, real_minus, shown_path

# The card that names the run of the winner, else of the best.
FOLDER = "folder"


def study_page(study: Study, additions: Additions) -> Page:
    """Return the page of a study."""
    view, metric, additions = study.seen, study.metrics[0], additions.of(study.application)
    remarks, run = tell(additions, study.winning_run), study.winning_run / "result.json"
    numbers = additions.numbers(read_json(run)) if run.exists() else ()

    answer = study.answer.root if view.ranked and len(view.directions) == 1 else None
    which = "the best" if study.winner is None else "the winner"
    history = figures.history(view, metric, answer, which)

    # a confirmation goes above the trials, because it counts for more than any of them
    evidence = [
        Section("How the search went", pictures=[Picture([history])]),
        trials_section(study),
    ]
    lines = parameter_figures.parallel(view, study.question["space"], metric, study.shares, answer)
    if lines is not None:
        evidence.insert(1, Section("All trials at once", pictures=[Picture([lines])]))
    if len(view.directions) > 1:
        evidence.insert(0, front_section(study))
    if study.winner is not None:
        evidence.insert(0, confirmed_section(study))
    if study.campaign is not None:
        evidence.insert(0, campaign_section(study, study.campaign))
    curves = figures.learning_curves(view, study.reports, metric)
    if curves is not None and not study.question.get("repeats"):  # they report runs, not steps
        evidence.append(Section("How the trials learnt", pictures=[Picture([curves])]))
    evidence += parameter_sections(study)
    fit = figures.overfitting(view, study.application.curves)
    if fit is not None:
        evidence.append(Section("Underfitting and overfitting", pictures=[Picture([fit])]))
    return Page(
        title=view.name,
        subtitle=subtitle_of(study),
        facts=[*facts_of(study), *((f"its run's {k}", v) for k, v in numbers), *remarks.facts],
        warnings=[*warnings_of(study), *remarks.warnings],
        sections=[*evidence, *remarks.sections],
        commands=commands_of(study, additions),
        verdict=verdict(study.found, *remarks.clauses, edges=False),
        number=number_of(study),
        settings=settings_line(study),
        chips=[*chips_of(study), *remarks.chips],
    )


def number_of(study: Study) -> tuple[str, str] | None:
    """Return the value to remember, with its interval if fresh seeds gave one, and what it is."""
    if len(study.seen.directions) > 1:
        return None
    metric = f"{study.metrics[0]}, {'lower' if study.sign > 0 else 'higher'} is better"
    if (champion := champion_of(study.challenges)) is not None:
        return number_of_champion(champion, study.challenges, metric)
    if study.winner is not None:
        value = plus_minus(study.winner.mean, study.winner.half_width)
        return value, f"{metric}, {seeds_of(study.winner)}, 95 %"
    value = cell((study.best.values or (math.nan,))[0])
    each = "one run" if study.runs_each == 1 else f"mean of {study.runs_each} runs"
    return value, f"{metric}, {each}, not confirmed"


def number_of_champion(
    champion: Challenge, challenges: Sequence[Challenge], metric: str
) -> tuple[str, str] | None:
    """Return a champion's mean over fresh seeds or, before it has met any challenge, its gain."""
    named = f"challenge {champion.number}"
    if len(values := fresh_values(champion.number, challenges)) > 1:
        level = t_interval(values)
        number = real_minus(plus_minus(level.mean, level.half))
        return number, f"{metric}, {named} over {plural(len(values), 'fresh seed')}, 95 %"
    if (gain := champion.interval) is None:
        return None
    over = f"gain of {named} over {champion_named(champion.champion)}"
    seeds = plural(len(champion.seeds), "seed")
    return plus_minus(gain.mean, gain.half, sign="+"), f"{over}, {metric}, {seeds}, 95 %"


def settings_line(study: Study) -> str:
    """Return the settings that the answer was reached with, for a line below its number."""
    if (champion := champion_of(study.challenges)) is not None:
        return settings_of(champion)
    return words(study.answer.params) if len(study.seen.directions) == 1 else ""


def chips_of(study: Study) -> list[str]:
    """Return what the answer rests on: challenges, or else the winner's seeds, and trials."""
    trials = plural(len(study.seen.counted), "trial")
    if champion_of(study.challenges) is not None:
        return [plural(len(study.challenges), "challenge"), trials]
    return [trials] if study.winner is None else [seeds_of(study.winner), trials]


def subtitle_of(study: Study) -> str:
    """Return when a study began, how many trials it has, and their seconds, added up."""
    times = [a.started for a in study.seen.attempts if a.started is not None]
    seconds = sum(study.seen.seconds_of(a) or 0.0 for a in study.seen.counted)
    start = f"{min(times):%Y-%m-%d %H:%M}" if times else "not begun"
    trials = plural(len(study.seen.counted), "trial")
    return f"{start} · {trials} · {seconds:,.0f} s of trials, added up"


def facts_of(study: Study) -> list[tuple[str, str]]:
    """Return the labelled facts of a study: the winner, then the best of the search alone."""
    view, best, answer = study.seen, study.best, study.answer
    facts = []
    if (champion := champion_of(study.challenges)) is not None:
        facts.append(("champion", f"challenge {champion.number}: {settings_of(champion)}"))
    if study.winner is not None:
        mean, half = study.winner.mean, study.winner.half_width
        facts.append(("winner", f"trial {answer.root}: {words(answer.params)}"))
        facts.append(("confirmed", reported(study.winner)))

    # with a winner, the label says that the search's own best is no confirmed value
    for k, metric in enumerate(study.metrics[: len(view.directions)]):
        attempt = view.best_in(k)
        value = cell((attempt.values or ())[k])
        label = f"best {metric}" if study.winner is None else f"in the search alone: best {metric}"
        facts.append((label, f"{value} (trial {attempt.root})"))
    if len(view.directions) > 1:
        facts.append(
            ("no trial beats", f"{len(view.front)} of {plural(len(view.ranked), 'trial')}")
        )
    elif study.winner is None:
        facts.append(("its settings", words(best.params)))

    # the gain over the first trial, which is usually a configuration that was known before
    first = next((a for a in view.ranked if a.root == min(x.root for x in view.ranked)), best)
    start = (first.values or (math.nan,))[0]
    if first.root == (best if study.winner is None else answer).root:
        pass  # nothing was gained over itself
    elif study.winner is not None:
        over = gain(study.sign * start, study.sign * mean, half, study.winner.seeds,
                    study.runs_each)  # fmt: skip
        interval = f"{plus_minus(over.mean, over.half, sign='+')} "
        interval += f"(95 %; trial {first.root} is assumed to be as noisy as the winner)"
        facts.append((f"gain over trial {first.root}", interval))
    elif best.values and len(view.directions) == 1:
        better = study.sign * (start - best.values[0])
        gained = decimals(better, start, sign="+")
        each = "one run" if study.runs_each == 1 else plural(study.runs_each, "run")
        facts.append((f"gain over trial {first.root}", f"{gained} ({each} each, not confirmed)"))

    # the page that shows what this was part of
    if campaign := campaign_of(view.name):
        facts.append(("part of", f"a campaign: {study.place.verb('report', campaign)}"))

    # where the run is, and how many trials ended in which way
    if len(view.directions) == 1:
        facts.append((FOLDER, shown_path(study.winning_run)))
    counts = ", ".join(
        f"{number} {word}"
        for number, word in (
            (view.count(TrialState.COMPLETE), "complete"),
            (view.count(TrialState.PRUNED), "pruned"),
            (len(view.failed), "failed"),
        )
        if number
    )
    missing = 0 if study.total is None else study.total - len(view.counted) - len(view.given_up)
    left = f"; {missing} of {study.total} to come" if missing > 0 else ""
    return [*facts, ("trials", counts + left)]


def warnings_of(study: Study) -> list[str]:
    """Return what makes a study's answer doubtful, a sentence each.

    That one run each is partly luck is said by the verdict, beside the value.
    """
    view, space = study.seen, searched(study.question)
    # first what makes the answer out of date, then what limits it, then trials that were lost
    warnings = [] if study.since is None else [study.since[0]]
    if study.tested == "another":
        warnings.append(TESTED_BEFORE)
    if study.winner is not None and (luck := contradicted(study.winner, study.sign)):
        warnings.append(luck)
    # a champion may have other settings than the winner that it beat
    if champion_of(study.challenges) is None and (edges := at_edge(study.answer.params, space)):
        warnings.append(edges)
    if view.infeasible:
        share = len(view.infeasible) / max(1, len(view.counted))
        warnings.append(
            f"{share:.0%} of the trials have no finite value (diverged, or never there)"
        )
    if view.failed:
        failed = plural(len(view.failed), "trial")
        warnings.append(f"{failed} failed: error.txt in the folder of each says why")
    if again := len(view.repeated):
        counted = plural(len(view.counted), "trial")
        warnings.append(
            f"{again} of {counted} have the parameters of an earlier one: with the same seed they "
            "tell nothing new"
        )
    return warnings
