"""The page that compares several studies: the same trials, the same time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweepmore.errors import StudyError
from sweepmore.report import figures
from sweepmore.report.document import Page, Picture, Section, Table
from sweepmore.report.runs_page import as_typed
from sweepmore.report.study import Study
from sweepmore.statistics.intervals import Interval, unpaired
from sweepmore.study.attempts import words
from sweepmore.study.edges import searched
from sweepmore.study.winners import reported
from sweepmore.sweep.preview import range_of, short
from sweepmore.wording import decimals, plural, plus_minus


def compare_studies(studies: Sequence[Study]) -> Page:
    """Return a page that compares studies at equal numbers of trials and at equal seconds of work.

    Raises StudyError as ``require_comparable`` does.
    """
    first = studies[0]
    require_comparable(studies)
    views, metric = [study.seen for study in studies], first.metrics[0]
    pictures = [
        Picture(
            [figures.anytime(views, metric, by) for by in ("trials", "time")],
            "At equal numbers of trials, and at equal work: seconds of all trials.",
            columns=2,
        ),
    ]
    facts, table = _side_by_side(studies)
    left = [study.seen.name for study in studies if study.winner is None and study.is_search]
    return Page(
        title=" and ".join(view.name for view in views),
        subtitle=f"{len(views)} studies of the same data and objective",
        facts=facts,
        warnings=[
            *unlike(studies),
            *(
                f"{name} is not confirmed: the best of many is partly luck, the more so the more "
                "trials there are"
                for name in left
            ),
        ],
        sections=[
            Section("What differs", tables=[differing(studies)]),
            Section("Side by side", tables=[table]),
            Section("Best so far", pictures=pictures),
        ],
        commands=[
            *(("Confirm it first:", first.place.verb("confirm", name)) for name in left),
            ("One of them:", first.place.verb("report", views[0].name)),
        ],
        verdict=_answer(facts),
    )


def require_comparable(studies: Sequence[Study]) -> None:
    """Raise StudyError if studies differ in their data, objectives or directions: their values
    mean different things."""
    first = studies[0]
    for other in studies[1:]:
        for what, mine, theirs in (
            ("data", first.question["identity"], other.question["identity"]),
            ("objectives", first.metrics, other.metrics),
            ("directions", first.seen.directions, other.seen.directions),
        ):
            if mine != theirs:
                raise StudyError(
                    f"{first.seen.name} and {other.seen.name} have other {what}: {_told(mine)} "
                    f"and {_told(theirs)}.",
                    value=[mine, theirs],
                    cure="Only values of the same question on the same data can be compared.",
                )


def _answer(facts: Sequence[tuple[str, str]]) -> str:
    """Write how the studies ended, and then how they did at equal numbers of trials."""
    if not facts:
        return "One of them has no complete trial yet."
    (label, text), *others = facts
    first = f"{label} {text}" if label.endswith(" is") else f"{label.capitalize()}: {text}"
    equal = [f"{label}: {text}" for label, text in others if label.startswith("best after")][:1]
    return f"{'; '.join([first, *equal])}."


def _told(value: Any) -> str:
    """Write data, objectives or directions for a message."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def differing(studies: Sequence[Study]) -> Table:
    """Return a table of what the studies ask differently: ranges, fixed settings, the search.

    A setting that a study does not have is None, which a page shows as –.
    """
    asked = [_asked(study) for study in studies]
    keys = dict.fromkeys(key for settings in asked for key in settings)
    rows = [[key, *(settings.get(key) for settings in asked)] for key in keys]
    names = [study.seen.name for study in studies]
    return Table(["setting", *names], [row for row in rows if len(set(row[1:])) > 1])


def unlike(studies: Sequence[Study]) -> list[str]:
    """Warn of fixed settings that differ: the studies are compared with them, not without."""
    fixed = [study.question["config"] for study in studies]
    keys = [
        k for k in fixed[0] if all(k in other and other[k] != fixed[0][k] for other in fixed[1:])
    ]
    if not keys:
        return []
    named = ", ".join(keys[:3]) + (" and others" if len(keys) > 3 else "")
    are = "are" if len(keys) > 1 else "is"
    return [f"{named} {are} fixed at other values, from which a difference may come"]


def _asked(study: Study) -> dict[str, str]:
    """Return what a study searches, repeats and fixes, and how it searches, as text."""
    question = study.question
    ranges = {name: range_of(part) for name, part in searched(question).items()}
    fixed = {key: as_typed(value) for key, value in question["config"].items()}
    repeats = {
        f"{key}, repeated": as_typed(v) for key, v in (question.get("repeats") or {}).items()
    }
    search = {key: short(question.get(key)) for key in ("sampler", "pruner")}
    trials = {} if study.total is None else {"trials": str(study.total)}
    return {**ranges, **fixed, **repeats, **search, **trials}


def against(first: Study, second: Study) -> str:
    """Say whether the first of two confirmed studies is better than the second."""
    one, two = first.winner, second.winner
    assert one is not None
    assert two is not None
    gap = unpaired(
        Interval(one.mean, one.half_width), one.seeds, Interval(two.mean, two.half_width), two.seeds
    )
    apart = plus_minus(abs(gap.mean), gap.half)
    if gap.includes_zero:
        return f"tied with {second.seen.name}: the difference is {apart} (95 %)"
    return f"better than {second.seen.name} by {apart} (95 %)"


def _side_by_side(studies: Sequence[Study]) -> tuple[list[tuple[str, str]], Table]:
    """Return the facts, and a table with a row for each study; the one that ended best is marked.

    How they ended comes first: by confirmed means, else by the best. Then come equal budgets,
    because a longer search finds a better value by luck alone. A best that is ahead of a confirmed
    mean is not marked.
    """
    # equal budgets: the fewest trials and the least work that any of the studies has had
    ways = [figures.so_far(study.seen) for study in studies]
    trials = min(len(way) for way in ways)
    seconds = min(way[-1].seconds if way else 0.0 for way in ways)
    early = [last_best(moment for moment in way if moment.trials <= trials) for way in ways]
    quick = [last_best(moment for moment in way if moment.seconds <= seconds) for way in ways]
    number = plural(trials, "trial")
    equal = [(f"best after {number}", early), (f"best after {seconds:,.1f} s", quick)]
    rows = [
        [s.seen.name, len(way), way[-1].seconds if way else 0.0, early[k], quick[k],
         (s.best.values or (math.nan,))[0], s.winner.mean if s.winner else None,
         s.winner.half_width if s.winner else None, words(s.answer.params)]
        for k, (s, way) in enumerate(zip(studies, ways))
    ]  # fmt: skip
    head = ["study", "trials", "seconds", *(label for label, _ in equal),
            f"best {studies[0].metrics[0]}", "confirmed", "± (95 %)",
            "settings of the winner, else of the best"]  # fmt: skip

    order = best_first([_ended_at(study) for study in studies], studies[0].sign)
    facts = _ended([studies[k] for k in order])
    for label, values in equal:
        ahead = best_first(values, studies[0].sign)
        if len(ahead) == len(studies):  # else nothing is compared
            told = (f"{decimals(values[k] or 0.0)} ({rows[k][0]})" for k in ahead)
            facts.append((label, ", ".join(told)))
    confirmed = [study.winner is not None for study in studies]
    is_marked = confirmed[order[0]] or not any(confirmed)
    return facts, Table(head, rows, marked=order[:1] if is_marked else [])


def _ended_at(study: Study) -> float:
    """Return the confirmed mean of a study, else its best value."""
    if study.winner is not None:
        return study.winner.mean
    return (study.best.values or (math.nan,))[0]


def _ended(ordered: Sequence[Study]) -> list[tuple[str, str]]:
    """Return how studies ended, the best first: whether it is better, if all are confirmed."""
    if all(study.winner is not None for study in ordered):
        confirmed = [
            (f"{study.seen.name}, confirmed", reported(study.winner))
            for study in ordered
            if study.winner is not None
        ]
        first, second, *_ = ordered
        return [(f"{first.seen.name} is", against(first, second)), *confirmed]
    return [("best in the end", ", ".join(map(_end, ordered)))]


def _end(study: Study) -> str:
    """Say at which value a study ended, and whether that is confirmed."""
    if study.winner is None:
        return f"{decimals(_ended_at(study))} ({study.seen.name}, not confirmed)"
    number = plus_minus(study.winner.mean, study.winner.half_width)
    return f"{number} ({study.seen.name}, confirmed)"


def last_best(moments: Iterable[figures.SoFar]) -> float | None:
    """Return the best value of the last moment, or None if no trial was complete by then."""
    best = [moment.best for moment in moments if math.isfinite(moment.best)]
    return best[-1] if best else None


def best_first(values: Sequence[float | None], sign: float) -> list[int]:
    """Return the indices of the values that are not None, the best first.

    ``sign`` is 1 if a lower value is better, else -1.
    """
    signed = [(sign * value, k) for k, value in enumerate(values) if value is not None]
    return [k for _, k in sorted(signed)]
