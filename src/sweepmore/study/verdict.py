"""A study's answer in one sentence, composed from facts: for pages, terminals and the dashboard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from sweepmore.statistics.intervals import Interval, Noise, gain, told_apart_from
from sweepmore.study.attempts import Attempt, runs_each
from sweepmore.study.attributes import StudyAttributes, Winner
from sweepmore.study.campaigns import Challenge, challenges_of
from sweepmore.study.championship import champion_of, crowned
from sweepmore.study.edges import at_edge, searched
from sweepmore.study.noise import known_noise
from sweepmore.study.parts import confirmation_of
from sweepmore.study.seeds import seed_key
from sweepmore.study.view import StudyView, view
from sweepmore.study.winners import as_searched, seeds_of
from sweepmore.wording import decimals, last_parts, listed, plural, plus_minus


@dataclass(frozen=True)
class Found:
    """What a verdict is about: a search, its question, and what is known of its noise.

    ``winner`` is None until fresh seeds have named one; its trial has the number of the search.
    ``challenges`` are those against it.
    """

    seen: StudyView
    question: Mapping[str, Any]
    winner: Winner | None = None
    noise: Noise | None = None
    challenges: Sequence[Challenge] = ()

    @property
    def answer(self) -> Attempt:
        """The winner's trial, else the best one; there must be a complete trial."""
        best = self.seen.ranked[0]
        if self.winner is None:
            return best
        return next((a for a in self.seen.ranked if a.root == self.winner.trial), best)

    @property
    def first(self) -> Attempt:
        """Where the search began: its first complete trial, usually a known configuration."""
        return min(self.seen.ranked, key=lambda attempt: attempt.root)

    @property
    def gain(self) -> Interval | None:
        """By how much the answer is better than where the search began; None over itself.

        Positive where it is better. Without a winner the interval is infinite: one search cannot
        say how much of its own gain is luck.
        """
        if len(self.seen.directions) > 1 or self.first.root == self.answer.root:
            return None
        sign, start = self.seen.sign(), _value(self.first)
        if self.winner is None:
            return Interval(sign * (start - _value(self.answer)), math.inf)
        runs = runs_each(self.question.get("repeats"))
        mean, half = self.winner.mean, self.winner.half_width
        return gain(sign * start, sign * mean, half, self.winner.seeds, runs)

    @property
    def tied(self) -> int | None:
        """With how many others the answer is tied; None where nobody knows."""
        if self.winner is not None:
            return self.winner.tied - 1 if len(self.winner.rows) > 1 else None
        if self.noise is None:
            return None
        seen = self.seen
        least = told_apart_from(
            self.noise, len(seen.counted), runs_each(self.question.get("repeats"))
        )
        best = _value(self.answer)
        return sum(abs(_value(a) - best) < least for a in seen.ranked) - 1


def found_in(study: optuna.Study) -> Found:
    """Read what a search found, with its confirmation, from its storage."""
    seen, confirmed = view(study), confirmation_of(study)
    winner = None if confirmed is None else StudyAttributes.of(confirmed).winner
    return Found(
        seen,
        StudyAttributes.of(study).question,
        None if winner is None else as_searched(winner, seen),
        known_noise(study),
        challenges_of(study),
    )


def verdict(found: Found, *more: str, edges: bool = True) -> str:
    """Return the sentence, with further clauses of the application behind ours.

    Without ``edges`` it leaves out which parameters are at the edge of their range: for a page that
    says so among its warnings. Once a challenge is champion the sentence is about that alone: all
    other clauses are about the winner that it beat.
    """
    seen = found.seen
    if not seen.ranked:
        return f"No trial is complete{_ends(seen)}."
    if len(seen.directions) > 1:
        front, number = len(seen.front), plural(len(seen.ranked), "trial")
        beaten = "is" if front == 1 else "are"
        return _sentence(f"{front} of {number} {beaten} beaten by none in every objective", *more)
    if (champion := champion_of(found.challenges)) is not None:
        return _sentence(*crowned(champion, found.challenges, _named(found)))
    return _sentence(_head(found), _gained(found), _edges(found) if edges else "", *more)


def _named(found: Found) -> str:
    """Name the confirmed winner, with its number."""
    if found.winner is None:  # its confirmation was removed
        return "the confirmed winner"
    number = plus_minus(found.winner.mean, found.winner.half_width)
    return f"trial {found.winner.trial}, the confirmed winner ({number})"


def _head(found: Found) -> str:
    """Say which trial is the answer, its number, and how sure that is."""
    root, tied = found.answer.root, found.tied
    if found.winner is not None:
        number = plus_minus(found.winner.mean, found.winner.half_width)
        head = f"Trial {root} wins at {number} over {seeds_of(found.winner)}"
        return head if tied is None else f"{head}, {_ties(tied)}"
    number, runs = decimals(_value(found.answer)), runs_each(found.question.get("repeats"))
    mean = f" (mean of {runs} runs)" if runs > 1 else ""
    if len(found.seen.ranked) == 1:
        return f"Trial {root} is the only complete one, at {number}{mean}"
    head = f"Trial {root} is the best of {len(found.seen.ranked):,} at {number}{mean}"
    if tied is not None:
        return f"{head}, {_ties(tied)} within the noise"
    luck = runs == 1 and seed_key(found.question) is not None
    return f"{head}, in one run, so partly by luck" if luck else head


def _ties(tied: int) -> str:
    return f"tied with {plural(tied, 'other')}" if tied else "alone at the top"


def _gained(found: Found) -> str:
    """Say whether the gain over where the search began is real."""
    over = found.gain
    if over is None or not math.isfinite(over.mean):
        return ""
    if math.isinf(over.half):
        return f"it is {decimals(over.mean)} better than the first trial" if over.mean > 0 else ""
    if over.includes_zero:
        return f"no clear gain over the first trial: {plus_minus(over.mean, over.half)}"
    if over.mean < 0:
        return f"the first trial was {decimals(-over.mean)} better"
    return f"a real gain of {decimals(over.mean)} over the first trial"


def _edges(found: Found) -> str:
    """Name the parameters whose value is at an end of their range."""
    params, space = found.answer.params, searched(found.question)
    brief = last_parts({name: name for name in params})
    names = [short for short, name in brief.items() if at_edge({name: params[name]}, space)]
    if not names:
        return ""
    are = "is" if len(names) == 1 else "are"
    return f"{listed(names)} {are} at the edge of {'its' if len(names) == 1 else 'their'} range"


def _ends(seen: StudyView) -> str:
    """Say how the trials ended, of which none is complete."""
    ways = {
        "pruned": seen.count(TrialState.PRUNED),
        "failed": len(seen.failed),
        "diverged": len(seen.infeasible),
        "running": len(seen.running),
    }
    told = ", ".join(f"{number} {way}" for way, number in ways.items() if number)
    return f": {told}" if told else " yet"


def _sentence(*clauses: str) -> str:
    return f"{'; '.join(clause for clause in clauses if clause)}."


def _value(attempt: Attempt) -> float:
    return (attempt.values or (math.nan,))[0]
