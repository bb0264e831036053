"""Intervals of means and of their differences, where several were compared: numbers alone.

By simulation (benchmarks/truth.py) they hold what they promise; docs tell for which noise.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
# What these intervals hold, as benchmarks/truth.py measures it (RESULTS.md, "Intervals").
HOLDS = (
    "By simulation such an interval holds the true mean in 95 of 100 confirmations where noise is "
    "normal, and in 88 to 90 where it is strongly skewed; a configuration is called worse that is "
    "not in 5 of 100, and in up to 16 where some are four times as noisy as others."
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """One run's standard deviation, and the degrees of freedom that it is known with."""

    deviation: float
    freedom: int


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its interval (infinite from fewer than two values)."""

    mean: float
    half: float

    @property
    def includes_zero(self) -> bool:
        return abs(self.mean) <= self.half


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


def smallest_single(deviation: float) -> float:
    """What two single runs can tell apart at the 5 % level, where one run's standard deviation is
    known: the half width of the interval of their difference."""
    quantile = statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)
    return quantile * deviation * math.sqrt(2)


def told_apart_from(noise: Noise, trials: int, runs: int) -> float:
    """The smallest difference that a sweep of ``trials``, each the mean of ``runs`` runs, can tell
    apart: if all were equally good, no two would differ by more, in 95 % of sweeps."""
    return range_quantile(max(2, trials), noise.freedom) * noise.deviation / math.sqrt(runs)
