"""Which configuration is really the best: fresh seeds, paired intervals, ties, selection bias.

The best of N noisy trials is optimistic. The best few are trained again with seeds that the
search has not seen, the same for each, so that their differences are paired. The winner is the
best of k noisy means, so these are optimistic in turn: it is trained once more with final seeds
that have chosen nothing, and their mean is the number to report.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sweepmore.errors import StudyError
from sweepmore.studies import Attempt, Noise, StudyView, key_of
from sweepmore.wording import plural, plus_minus

LEVEL = 0.95
# What these intervals hold, as benchmarks/truth.py measures it (RESULTS.md, "Intervals").
HOLDS = (
    "By simulation such an interval holds the true mean in 95 of 100 confirmations where noise is "
    "normal, and in 88 to 90 where it is strongly skewed; a configuration is called worse that is "
    "not in 5 of 100, and in up to 16 where some are four times as noisy as others."
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its interval (infinite from fewer than two values)."""

    mean: float
    half: float

    @property
    def includes_zero(self) -> bool:
        return abs(self.mean) <= self.half


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
    maximize: bool = False

    @property
    def tied(self) -> list[Candidate]:
        """Those that cannot be told from the best, itself among them; best mean first."""
        return [row.candidate for row in self.rows if row.tied]

    @property
    def winner(self) -> Candidate:
        """The simplest of the tied: fewest parameters, then fewest steps, then the best mean."""
        return min(self.tied, key=lambda candidate: candidate.cost)


def confirm(candidates: Sequence[Candidate], maximize: bool = False) -> Confirmation:
    """Rank by fresh means. A candidate is tied with the best when the interval of their paired
    difference includes zero; the best was picked after looking, which that interval allows for.
    """
    sign = -1.0 if maximize else 1.0
    ranked = sorted(candidates, key=lambda c: sign * c.mean)
    best = ranked[0]
    margin = float(tie_margin(np.array([candidate.values for candidate in ranked])))
    rows = []
    for candidate in ranked:
        difference = Interval(sign * (candidate.mean - best.mean), margin)
        rows.append(
            Row(candidate, t_interval(candidate.values), difference, difference.includes_zero)
        )
    return Confirmation(tuple(rows), maximize)


def tie_margin(values: Floats) -> Floats:
    """Half the width of the interval of a difference between two of the k means of ``values``
    (…, k, n), whose columns are seeds. Tukey's honest significant difference: of k configurations
    that are equally good, no two means differ by more, in 95 % of confirmations.

    Noise is what is left beside the means of configurations and seeds, pooled over all: with k = 2
    it is the paired t interval, and with more it needs fewer seeds than k - 1 of these.
    """
    k, n = values.shape[-2:]
    if k < 2 or n < 2:
        return np.full(values.shape[:-2], 0.0 if k < 2 else math.inf)
    of_seeds, of_configurations = values.mean(-2, keepdims=True), values.mean(-1, keepdims=True)
    left = values - of_seeds - of_configurations + values.mean((-2, -1), keepdims=True)
    freedom = (k - 1) * (n - 1)
    deviation: Floats = np.sqrt((left**2).sum((-2, -1)) / freedom)
    return range_quantile(k, freedom) * deviation / math.sqrt(n)


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's interval of a mean."""
    return Interval(float(np.mean(values)), float(half_width(np.asarray(values), level)))


def half_width(values: Floats, level: float = LEVEL) -> Floats:
    """Of Student's interval of the mean of each row of ``values`` (…, n)."""
    n = values.shape[-1]
    if n < 2:
        return np.full(values.shape[:-1], math.inf)
    deviation: Floats = values.std(-1, ddof=1)
    return t_quantile((1 + level) / 2, n - 1) * deviation / math.sqrt(n)


@functools.cache
def t_quantile(share: float, freedom: int) -> float:
    from scipy import stats  # takes a second, which a list of studies need not wait for

    return float(stats.t.ppf(share, freedom))


@functools.cache
def range_quantile(of: int, freedom: int) -> float:
    """What the range of so many normal values exceeds, in estimated standard deviations, in one
    case of twenty."""
    from scipy import stats

    return float(stats.studentized_range.ppf(LEVEL, of, freedom))


def gain(start: float, mean: float, half: float, seeds: int, runs: int) -> Interval:
    """From the search's value of a configuration, of ``runs`` runs, to the mean of ``seeds`` runs
    with its interval: above zero where that is lower. The former is taken for as noisy a run."""
    return Interval(start - mean, half * math.sqrt(1 + seeds / runs))


def smallest_difference(deviation: float, seeds: int) -> float:
    """What ``seeds`` fresh seeds each can tell apart at the 5 % level: the half width of the
    interval of a difference of two independent means (pairing only makes it smaller)."""
    quantile = t_quantile((1 + LEVEL) / 2, 2 * (seeds - 1))
    return quantile * deviation * math.sqrt(2 / seeds)


def told_apart_from(noise: Noise, trials: int, runs: int) -> float:
    """The smallest difference that a sweep of ``trials``, each the mean of ``runs`` runs, can tell
    apart: if all were equally good, no two would differ by more, in 95 % of sweeps."""
    return range_quantile(max(2, trials), noise.freedom) * noise.deviation / math.sqrt(runs)


def seeds_of(record: Mapping[str, Any]) -> str:
    """Which seeds gave the mean of a winner's record: final ones, else those that chose it (a
    record from before there were final ones, or of a single configuration)."""
    kind = "fresh seed" if record.get("final") is None else "final seed"
    return plural(record["seeds"], kind)


def reported(record: Mapping[str, Any]) -> str:
    """The mean of a winner's record with its interval and the seeds that gave it; where the same
    seeds chose the winner, it says so, with the cure."""
    among = len(record.get("rows", ()))
    over = seeds_of(record)
    if record.get("final") is None and among > 1:
        over += f", which also chose it among {among}: confirm.py adds final ones"
    return f"{plus_minus(record['mean'], record['half_width'])} (95 %, over {over})"


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
        values = attempt.attrs.get("repeats")
        if not values or None in values:
            continue
        before = searched[attempt.slot]
        result = attempt.attrs.get("result", {})
        found.append(
            Candidate(
                root=attempt.root,
                params=before.params,
                searched=(before.values or (math.nan,))[0],
                values=tuple(values),
                cost=(float(result.get("parameters") or 0), float(result.get("steps") or 0)),
                seconds=result.get("seconds"),
                searched_root=before.root,
                folder=attempt.attrs["folder"],
            )
        )
    return found
