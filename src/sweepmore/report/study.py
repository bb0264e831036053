"""A study as its page and its reports read it: once, from its storage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna

from sweepmore.confirm.rounds import next_round, told_unconfirmed, unconfirmed
from sweepmore.report.additions import Additions
from sweepmore.runs.names import searched_name
from sweepmore.statistics.importance import shares
from sweepmore.study.application import Application
from sweepmore.study.attempts import Attempt, key_of, run_of, runs_each
from sweepmore.study.attributes import StudyAttributes, Winner, WinnerRow
from sweepmore.study.parts import application_of, confirmation_of
from sweepmore.study.view import StudyView, best_of, view
from sweepmore.study.winners import tested


@dataclass(frozen=True)
class Study:
    """A study, read once. ``winner`` is what confirm.py left, its trials numbered as in the study;
    ``tested`` whether it, or an earlier winner, has had a look at test; ``since`` says what the
    search has found after the winner was named, with the command that confirms it."""

    seen: StudyView
    application: Application
    attrs: StudyAttributes
    reports: Mapping[int, Mapping[int, float]]
    metrics: Sequence[str]
    winner: Winner | None
    tested: Literal["winner", "another"] | None
    shares: Mapping[str, float]
    since: tuple[str, str] | None = None

    @property
    def question(self) -> Mapping[str, Any]:
        return self.attrs.question

    @property
    def best(self) -> Attempt:
        return best_of(self.seen)

    @property
    def answer(self) -> Attempt:
        """The confirmed winner's trial, else the best."""
        roots = {attempt.root: attempt for attempt in self.seen.ranked}
        return self.best if self.winner is None else roots.get(self.winner.trial, self.best)

    @property
    def sign(self) -> float:
        """Of the first objective: 1 where lower is better."""
        return self.seen.sign()

    @property
    def total(self) -> int | None:
        """How many trials it was last asked for; None where an older version asked."""
        return None if self.attrs.budget is None else self.attrs.budget.n_trials

    @property
    def runs_each(self) -> int:
        return runs_each(self.question.get("repeats"))

    @property
    def is_search(self) -> bool:
        """Whether it is no confirmation of another, nor a measure of its noise."""
        return searched_name(self.seen.name) == self.seen.name

    @property
    def may_be_luck(self) -> bool:
        """Whether the best is the best of many single seeds, and not yet confirmed."""
        seeds = "seed" in (self.question.get("repeats") or {})
        one = len(self.seen.directions) == 1
        return self.winner is None and not seeds and one and self.is_search

    @property
    def winning_run(self) -> Path:
        """The confirmed winner's run, else the best trial's (its first, of several repeats)."""
        return self.winner.run if self.winner else run_of(self.best)


def read_study(study: optuna.Study, additions: Additions) -> Study:
    """With its confirmation, where there is one."""
    seen, attrs = view(study), StudyAttributes.of(study)
    application = application_of(study) or additions.describe(attrs.question["config"])
    metrics = names_of(study, application)
    confirmed = confirmation_of(study)
    known = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
    winner = None if known.winner is None else as_searched(known.winner, seen)
    reports = {t.number: t.intermediate_values for t in study.get_trials(deepcopy=False)}
    found = shares(
        [attempt.params for attempt in seen.ranked],
        [(attempt.values or (math.nan,))[0] for attempt in seen.ranked],
        seen.directions[0],
        attrs.question["space"],
    )
    told = told_unconfirmed(unconfirmed(study))
    since = (told, next_round(study)) if told else None
    return Study(seen, application, attrs, reports, metrics, winner, tested(known), found, since)


def names_of(study: optuna.Study, application: Application) -> list[str]:
    """Of each value: the application's name, else the one that its trials gave, else its place."""
    number = len(study.directions)
    for names in (application.objectives, study.metric_names or ()):
        if len(names) == number:
            return list(names)
    return [f"value {k}" for k in range(number)]


def as_searched(winner: Winner, seen: StudyView) -> Winner:
    """A winner's record with the trials' numbers in the search instead of the confirmation's."""
    numbers = {key_of(attempt.params): attempt.root for attempt in reversed(seen.ranked)}

    def renumbered(row: WinnerRow) -> WinnerRow:
        return replace(row, trial=numbers.get(key_of(row.params), row.trial))

    trial = numbers.get(key_of(winner.params), winner.trial)
    return replace(winner, trial=trial, rows=tuple(map(renumbered, winner.rows)))
