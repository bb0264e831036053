"""A study as its page and its reports read it: once, from its storage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna

from sweepmore.confirm.rounds import told_unconfirmed, unconfirmed
from sweepmore.report.additions import Additions
from sweepmore.runs.names import CHALLENGE, searched_name
from sweepmore.runs.places import Place
from sweepmore.statistics.effects import Effect, effects
from sweepmore.statistics.importance import shares
from sweepmore.statistics.intervals import Noise
from sweepmore.storage.optuna_internals import storage_of
from sweepmore.study.application import Application
from sweepmore.study.attempts import Attempt, run_of, runs_each
from sweepmore.study.attributes import StudyAttributes, Winner
from sweepmore.study.campaigns import Campaign, Challenge, challenges_of, champions_of
from sweepmore.study.noise import known_noise
from sweepmore.study.parts import application_of, confirmation_of, is_confirmed
from sweepmore.study.records import unnamed
from sweepmore.study.verdict import Found
from sweepmore.study.view import StudyView, best_of, view
from sweepmore.study.winners import as_searched, tested


@dataclass(frozen=True)
class Study:
    """A study, read once from its storage.

    ``place`` is where it was found. ``winner`` is the one that a confirmation named, with trials
    numbered as in the study. ``tested`` says whether it, or an earlier winner, has had a look at
    the test split. ``since`` says what the search found after the winner was named, and the command
    that confirms it. ``reports`` holds each trial's reported values by its number and step.
    ``campaign`` is what the ``challenges`` against its winner have declared, None before the first;
    ``kept`` names the study of the present champion's runs, ``kept_confirmed`` says whether fresh
    seeds have confirmed it.
    """

    place: Place
    seen: StudyView
    application: Application
    attrs: StudyAttributes
    reports: Mapping[int, Mapping[int, float]]
    metrics: Sequence[str]
    winner: Winner | None
    tested: Literal["winner", "another"] | None
    shares: Mapping[str, float]
    since: tuple[str, str] | None = None
    noise: Noise | None = None
    effects: Mapping[str, Effect] = field(default_factory=dict)
    campaign: Campaign | None = None
    challenges: Sequence[Challenge] = ()
    kept: str | None = None
    kept_confirmed: bool = False

    @property
    def question(self) -> Mapping[str, Any]:
        return self.attrs.question

    @property
    def found(self) -> Found:
        """Return what the study's verdict is about."""
        return Found(self.seen, self.question, self.winner, self.noise, self.challenges)

    @property
    def best(self) -> Attempt:
        return best_of(self.seen)

    @property
    def answer(self) -> Attempt:
        """Return the confirmed winner's trial, or the best if none is confirmed."""
        roots = {attempt.root: attempt for attempt in self.seen.ranked}
        return self.best if self.winner is None else roots.get(self.winner.trial, self.best)

    @property
    def sign(self) -> float:
        """Return 1 if a lower first objective is better, else -1."""
        return self.seen.sign()

    @property
    def total(self) -> int | None:
        """Return how many trials were last asked for, or None if an older version asked."""
        return None if self.attrs.budget is None else self.attrs.budget.n_trials

    @property
    def runs_each(self) -> int:
        return runs_each(self.question.get("repeats"))

    @property
    def is_search(self) -> bool:
        """Whether it is a search, rather than a confirmation or a measurement of noise."""
        return searched_name(self.seen.name) == self.seen.name

    @property
    def winning_run(self) -> Path:
        """Return the folder of the confirmed winner's run, or else of the best trial's first."""
        return self.winner.run if self.winner else run_of(self.best)


def read_study(study: optuna.Study, additions: Additions, place: Place) -> Study:
    """Read a study and, if it has one, its confirmation.

    ``additions`` describe studies of older versions, which do not store what their values are.
    """
    study_view, attrs = view(study), StudyAttributes.of(study)
    application = application_of(study) or additions.describe(attrs.question["config"])
    metrics = names_of(study, application)
    confirmed = confirmation_of(study)
    outcome = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
    winner = None if outcome.winner is None else as_searched(outcome.winner, study_view)
    reports = {t.number: t.intermediate_values for t in study.get_trials(deepcopy=False)}
    ranked = (
        [attempt.params for attempt in study_view.ranked],
        [(attempt.values or (math.nan,))[0] for attempt in study_view.ranked],
        study_view.directions[0],
        attrs.question["space"],
    )
    news = told_unconfirmed(unconfirmed(study))
    since = (news, place.verb("confirm", study.study_name)) if news else None
    challenges = challenges_of(study)
    champion = champions_of(challenges)[-1]
    kept = f"{study.study_name}{CHALLENGE}{champion}" if champion else None
    return Study(
        place,
        study_view,
        application,
        attrs,
        reports,
        metrics,
        winner,
        tested(outcome),
        shares(*ranked),
        since,
        known_noise(study),
        effects(*ranked),
        Campaign.of(study),
        challenges,
        kept,
        kept is not None and is_confirmed(kept, storage_of(study)),
    )


def names_of(study: optuna.Study, application: Application) -> list[str]:
    """Return a name for each value: the application's, else the trials', else its index."""
    number = len(study.directions)
    for names in (application.objectives, study.metric_names or ()):
        if len(names) == number:
            return list(names)
    return unnamed(number)
