"""Which configuration is really the best: fresh seeds, paired intervals, ties, selection bias.

The best of N noisy trials is optimistic. Therefore the best few are trained again with seeds that
the search has not used, the same for each configuration, so that their differences are paired. The
best of k noisy means is optimistic in turn. Therefore the winner is trained once more with final
seeds, which have chosen nothing, and their mean is the number to report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sweepmore.errors import StudyError
from sweepmore.statistics.intervals import Interval, t_interval, tie_margin
from sweepmore.study.attempts import Attempt, key_of
from sweepmore.study.view import StudyView


@dataclass(frozen=True)
class Candidate:
    """A configuration with its value in the search and its values under fresh seeds.

    All values have the unit of the study's first objective.
    """

    root: int  # the trial's number in the confirmation
    params: Mapping[str, Any]
    searched: float  # the value in the search
    values: tuple[float, ...]  # one for each fresh seed, in seed order
    # (parameters, steps): the smaller pair is the simpler; 0 where the application does not say
    cost: tuple[float, float] = (0.0, 0.0)
    seconds: float | None = None  # of training
    searched_root: int = 0  # the trial's number in the search
    folder: str = ""  # the trial's; it holds one run for each seed

    @property
    def mean(self) -> float:
        """The mean over the fresh seeds."""
        return float(np.mean(self.values))

    @property
    def bias(self) -> float:
        """The value in the search minus the mean.

        Where lower is better, a negative bias means that the search was optimistic.
        """
        return self.searched - self.mean

    @property
    def median_seed(self) -> int:
        """The index of the seed with the lower median value: typical, not the luckiest."""
        return int(np.argsort(self.values, kind="stable")[(len(self.values) - 1) // 2])


@dataclass(frozen=True)
class Row:
    """A candidate compared with the best one."""

    candidate: Candidate
    interval: Interval  # of the candidate's own mean, 95 %
    difference: Interval  # paired, to the best mean; positive means worse
    tied: bool  # the difference may be zero


@dataclass(frozen=True)
class Confirmation:
    """All candidates, best mean first."""

    rows: tuple[Row, ...]
    sign: float = 1.0  # -1 where higher is better

    @property
    def tied(self) -> list[Candidate]:
        """Candidates whose difference to the best may be zero, and the best; best mean first."""
        return [row.candidate for row in self.rows if row.tied]

    @property
    def winner(self) -> Candidate:
        """The simplest of the tied: fewest parameters, then fewest steps, then the best mean.

        Where the data cannot decide, simplicity does.
        """
        return min(self.tied, key=lambda candidate: candidate.cost)


@dataclass(frozen=True)
class Outcome:
    """A confirmation, and its winner with the values to report.

    Those values come from final seeds. A single configuration was not chosen among others, so its
    fresh seeds are reported.
    """

    confirmation: Confirmation
    final: Candidate  # the winner with the values to report
    seeds: tuple[int, ...]  # those of `final.values`

    @property
    def has_final_seeds(self) -> bool:
        """Whether the reported values come from seeds that did not choose the winner."""
        return self.final is not self.confirmation.winner


def confirm(candidates: Sequence[Candidate], sign: float = 1.0) -> Confirmation:
    """Rank candidates by their means under fresh seeds.

    A candidate is tied with the best when the interval of their paired difference includes zero.
    That interval allows for the best having been picked after looking at all of them. ``sign`` is
    1 where lower is better, and -1 where higher is. All candidates need the same number of values.
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


def without_seed(snapshot: StudyView, seed_key: str) -> list[Attempt]:
    """Return a study's complete trials, best first; those that differ only in their seed are one.

    Its value is their mean, and its number that of the best of them. A challenge searches over the
    seed alone, and so do some people.
    """
    if not any(seed_key in attempt.params for attempt in snapshot.ranked):
        return snapshot.ranked
    same: dict[str, list[Attempt]] = {}
    for attempt in snapshot.ranked:
        rest = {key: value for key, value in attempt.params.items() if key != seed_key}
        same.setdefault(key_of(rest), []).append(replace(attempt, params=rest))
    sign = snapshot.sign()
    means = [
        replace(group[0], values=(float(np.mean([(a.values or (math.nan,))[0] for a in group])),))
        for group in same.values()
    ]
    return sorted(means, key=lambda attempt: sign * (attempt.values or (math.nan,))[0])


def distinct_best(snapshot: StudyView, top: int, seed_key: str) -> list[Attempt]:
    """Return the best ``top`` trials with different parameters beside the seed, the best first.

    A search may try the same values twice, and confirming them twice would waste the runs. Raises
    StudyError when no trial is complete.
    """
    best_of: dict[str, Attempt] = {}
    for attempt in without_seed(snapshot, seed_key):
        best_of.setdefault(key_of(attempt.params), attempt)
    if not best_of:
        cure = "Let the sweep finish a trial with a finite value first."
        raise StudyError(f"{snapshot.name} has no complete trial.", value=snapshot.name, cure=cure)
    return list(best_of.values())[:top]


def fresh_seeds(uid: str, count: int, used: Sequence[int]) -> list[int]:
    """Draw ``count`` seeds below 2³¹ that are not in ``used``.

    They depend only on ``uid``, the study's id in hexadecimal, and on ``used``. So a confirmation
    that was interrupted continues with the same seeds, and nobody can choose lucky ones.
    """
    generator = np.random.default_rng(int(uid, 16))
    seeds: list[int] = []
    while len(seeds) < count:
        seed = int(generator.integers(0, 2**31))
        if seed not in used and seed not in seeds:
            seeds.append(seed)
    return seeds


def candidates(searched: Sequence[Attempt], confirmed: StudyView) -> list[Candidate]:
    """Join the trials of a confirmation with those of the search that they repeat.

    Slot k of the confirmation repeats ``searched[k]``. Configurations that failed or diverged under
    a fresh seed are left out.
    """
    joined = []
    for attempt in confirmed.ranked:
        values = [value for value in attempt.attrs.repeats or () if value is not None]
        # A seed without a finite value is missing: a mean over the others would flatter.
        if not values or len(values) < len(attempt.attrs.repeats or ()):
            continue
        before = searched[attempt.slot]
        result = attempt.attrs.result or {}
        joined.append(
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
    return joined
