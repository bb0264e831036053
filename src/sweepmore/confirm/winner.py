"""Which configuration is really the best: fresh seeds, paired intervals, ties, selection bias.

The best of N noisy trials is optimistic. The best few are trained again with seeds that the
search has not seen, the same for each, so that their differences are paired. The winner is the
best of k noisy means, so these are optimistic in turn: it is trained once more with final seeds
that have chosen nothing, and their mean is the number to report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweepmore.errors import StudyError
from sweepmore.statistics.intervals import Interval, t_interval, tie_margin
from sweepmore.study.attempts import Attempt, key_of
from sweepmore.study.view import StudyView


@dataclass(frozen=True)
class Candidate:
    """A configuration with its value in the search and those of the fresh seeds, in seed order.

    ``root`` is its number in the confirmation, ``searched_root`` in the search. ``cost`` is what
    makes it simple, in this order: parameters, steps (0 where the application does not tell);
    ``seconds`` of training. ``folder`` is its trial's, which holds a run for each seed.
    """

    root: int
    params: Mapping[str, Any]
    searched: float
    values: tuple[float, ...]
    cost: tuple[float, float] = (0.0, 0.0)
    seconds: float | None = None
    searched_root: int = 0
    folder: str = ""

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def bias(self) -> float:
        """Promised less confirmed: below 0, where lower is better, the search was optimistic."""
        return self.searched - self.mean

    @property
    def median_seed(self) -> int:
        """Index of the lower median value: a typical checkpoint, not the luckiest."""
        return int(np.argsort(self.values, kind="stable")[(len(self.values) - 1) // 2])


@dataclass(frozen=True)
class Row:
    """A candidate beside the best one: its interval, and the paired difference."""

    candidate: Candidate
    interval: Interval
    difference: Interval
    tied: bool


@dataclass(frozen=True)
class Confirmation:
    """All candidates, best mean first."""

    rows: tuple[Row, ...]
    sign: float = 1.0  # -1 where higher is better

    @property
    def tied(self) -> list[Candidate]:
        """Those that cannot be told from the best, itself among them; best mean first."""
        return [row.candidate for row in self.rows if row.tied]

    @property
    def winner(self) -> Candidate:
        """The simplest of the tied: fewest parameters, then fewest steps, then the best mean."""
        return min(self.tied, key=lambda candidate: candidate.cost)


@dataclass(frozen=True)
class Outcome:
    """A confirmation, and its winner with the values to report, of ``seeds``: final ones, or of a
    single configuration, among which none was chosen, its fresh ones."""

    confirmation: Confirmation
    final: Candidate
    seeds: tuple[int, ...]

    @property
    def has_final_seeds(self) -> bool:
        return self.final is not self.confirmation.winner


def confirm(candidates: Sequence[Candidate], sign: float = 1.0) -> Confirmation:
    """Rank by fresh means. A candidate is tied with the best when the interval of their paired
    difference includes zero; the best was picked after looking, which that interval allows for.
    ``sign`` is 1 where lower is better, -1 where higher is.
    """
    ranked = sorted(candidates, key=lambda c: sign * c.mean)
    best = ranked[0]
    margin = float(tie_margin(np.array([candidate.values for candidate in ranked])))
    rows = []
    for candidate in ranked:
        difference = Interval(sign * (candidate.mean - best.mean), margin)
        rows.append(
            Row(candidate, t_interval(candidate.values), difference, difference.includes_zero)
        )
    return Confirmation(tuple(rows), sign)


def distinct_best(seen: StudyView, top: int) -> list[Attempt]:
    """The best ``top`` trials with different parameters."""
    found: dict[str, Attempt] = {}
    for attempt in seen.ranked:
        found.setdefault(key_of(attempt.params), attempt)
    if not found:
        cure = "Let the sweep finish a trial with a finite value first."
        raise StudyError(f"{seen.name} has no complete trial.", value=seen.name, cure=cure)
    return list(found.values())[:top]


def fresh_seeds(uid: str, count: int, used: Sequence[int]) -> list[int]:
    """Seeds that depend on the study alone, so that a confirmation goes on where it stopped, and
    that the search did not use."""
    generator = np.random.default_rng(int(uid, 16))
    found: list[int] = []
    while len(found) < count:
        seed = int(generator.integers(0, 2**31))
        if seed not in used and seed not in found:
            found.append(seed)
    return found


def candidates(searched: Sequence[Attempt], confirmed: StudyView) -> list[Candidate]:
    """Search and confirmation joined: slot k of the confirmation is ``searched[k]``. One that
    failed or diverged under a fresh seed is left out."""
    found = []
    for attempt in confirmed.ranked:
        values = [value for value in attempt.attrs.repeats or () if value is not None]
        if not values or len(values) < len(attempt.attrs.repeats or ()):
            continue
        before = searched[attempt.slot]
        result = attempt.attrs.result or {}
        found.append(
            Candidate(
                root=attempt.root,
                params=before.params,
                searched=(before.values or (math.nan,))[0],
                values=tuple(values),
                cost=(float(result.get("parameters") or 0), float(result.get("steps") or 0)),
                seconds=result.get("seconds"),
                searched_root=before.root,
                folder=str(attempt.attrs.folder),
            )
        )
    return found
