"""Intervals of means and of their differences, where several were compared: numbers only.

How often they hold the truth is simulated by benchmarks/truth.py; docs say for which noise.
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
# How often these intervals hold, as benchmarks/truth.py measures it (RESULTS.md, "Intervals").
HOLDS = (
    "In simulations such an interval holds the true mean in 95 of 100 confirmations where noise is "
    "normal, and in 88 to 90 where it is strongly skewed. A configuration that is not worse is "
    "called worse in 5 of 100, and in up to 16 where some are four times as noisy as others."
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a single run, and the degrees of freedom of that estimate."""

    deviation: float
    freedom: int


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its interval, which is infinite with fewer than two values."""

    mean: float
    half: float

    @property
    def includes_zero(self) -> bool:
        """Whether the mean may be zero at this level."""
        return abs(self.mean) <= self.half


def tie_margin(values: Floats) -> Floats:
    """Half the width of the interval of a difference between two of the k means of ``values``.

    ``values`` is (…, k, n): k configurations by n seeds. This is Tukey's honest significant
    difference: if all k configurations are equally good, no two means differ by more in 95 % of
    confirmations. Noise is the residual beside the means of configurations and seeds, pooled over
    all: with k = 2 this is the paired t interval, and with more it needs fewer seeds than k - 1 of
    those. Zero for a single configuration; infinite for a single seed.
    """
    k, n = values.shape[-2:]
    if k < 2 or n < 2:
        return np.full(values.shape[:-2], 0.0 if k < 2 else math.inf)
    of_seeds, of_configurations = values.mean(-2, keepdims=True), values.mean(-1, keepdims=True)
    residual = values - of_seeds - of_configurations + values.mean((-2, -1), keepdims=True)
    freedom = (k - 1) * (n - 1)
    deviation: Floats = np.sqrt((residual**2).sum((-2, -1)) / freedom)
    return range_quantile(k, freedom) * deviation / math.sqrt(n)


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's interval of the mean of ``values`` at ``level``."""
    return Interval(float(np.mean(values)), float(half_width(np.asarray(values), level)))


def half_width(values: Floats, level: float = LEVEL) -> Floats:
    """Half the width of Student's interval of the mean of each row of ``values`` (…, n)."""
    n = values.shape[-1]
    if n < 2:
        return np.full(values.shape[:-1], math.inf)
    deviation: Floats = values.std(-1, ddof=1)
    return t_quantile((1 + level) / 2, n - 1) * deviation / math.sqrt(n)


@functools.cache
def t_quantile(share: float, freedom: float) -> float:
    """The quantile of Student's t distribution at ``share``."""
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(freedom, share))


@functools.cache
def range_quantile(of: int, freedom: int) -> float:
    """What the range of ``of`` normal values exceeds in one case of twenty.

    In standard deviations that are estimated with ``freedom`` degrees of freedom.
    """
    from scipy import stats

    return float(stats.studentized_range.ppf(LEVEL, of, freedom))


def gain(start: float, mean: float, half: float, seeds: int, runs: int) -> Interval:
    """The interval of ``start - mean``: above zero where fresh seeds gave a lower mean.

    ``start`` is the search's value of a configuration, a mean over ``runs`` runs; ``mean`` is over
    ``seeds`` runs, with the half-width ``half``. Both kinds of run are taken as equally noisy.
    """
    return Interval(start - mean, half * math.sqrt(1 + seeds / runs))


def unpaired(first: Interval, n_first: int, second: Interval, n_second: int) -> Interval:
    """Welch's interval (1947) of the difference of two means that share no seeds, at ``LEVEL``.

    Each interval is Student's, of a mean over so many runs. Infinite where one has a single run.
    """
    numbers = (n_first, n_second)
    if min(numbers) < 2:
        return Interval(first.mean - second.mean, math.inf)
    squares = [
        (each.half / t_quantile((1 + LEVEL) / 2, n - 1)) ** 2
        for each, n in zip((first, second), numbers)
    ]
    total = sum(squares)
    if not total:
        return Interval(first.mean - second.mean, 0.0)
    freedom = total**2 / sum(square**2 / (n - 1) for square, n in zip(squares, numbers))
    half = t_quantile((1 + LEVEL) / 2, freedom) * math.sqrt(total)
    return Interval(first.mean - second.mean, half)


def resampled(values: Sequence[float], tested: float, level: float = LEVEL) -> Interval:
    """The corrected interval of a mean over random splits of one data set.

    ``tested`` is the size of a test split over that of its train split. The splits share data, so
    Student's interval is too narrow: the variance of the mean is taken for s² (1/n + ``tested``)
    (the corrected resampled t of Nadeau and Bengio 2003, "Inference for the Generalization Error").
    """
    naive, n = t_interval(values, level), len(values)
    return Interval(naive.mean, naive.half * math.sqrt(1 + n * tested))


def smallest_difference(deviation: float, seeds: int) -> float:
    """The smallest difference that ``seeds`` fresh seeds each can resolve at the 5 % level.

    It is the half-width of the interval of a difference of two independent means; pairing only
    makes it smaller.
    """
    quantile = t_quantile((1 + LEVEL) / 2, 2 * (seeds - 1))
    return quantile * deviation * math.sqrt(2 / seeds)


def smallest_single(deviation: float) -> float:
    """The smallest difference that two single runs can resolve at the 5 % level.

    It is the half-width of the interval of their difference, where the standard deviation of one
    run is known.
    """
    quantile = statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)
    return quantile * deviation * math.sqrt(2)


def told_apart_from(noise: Noise, trials: int, runs: int) -> float:
    """The smallest difference that a sweep of ``trials``, each a mean over ``runs``, can resolve.

    If all trials were equally good, no two would differ by more in 95 % of sweeps.
    """
    return range_quantile(max(2, trials), noise.freedom) * noise.deviation / math.sqrt(runs)
