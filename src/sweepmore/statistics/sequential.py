"""Whether a challenger is better than a champion, decided seed by seed: numbers only.

Both train with the same seeds, one after the other, up to a cap. A challenger that is no better on
average goes as soon as two seeds say so: most do, and cost two seeds. To be kept, its mean gain has
to pass Student's paired t test at one of three looks, at a half, three quarters and all of the cap.
The looks share the error of the challenge, and the challenges share that of their campaign, so that
the sum over all looks of a campaign is ``Rules.alpha`` (Boole's inequality; for group-sequential
tests see Jennison and Turnbull 2000). Discarding early can only make fewer errors.

The test bears noise of any size on both sides, and skewed noise that is equal on both sides. It
does not bear noise that is skewed and unequal, so skewed noise is decided more strictly, see
``looks``. How often campaigns tell the truth is simulated by benchmarks/campaigns.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sweepmore.statistics.intervals import LEVEL, Interval, t_quantile

Verdict = Literal["keep", "discard", "undecided"]
# Where a challenge may be decided for the challenger: shares of the cap, and of its error. Of the
# schedules tried, this one keeps large gains after half of the seeds and loses least power.
SCHEDULE = ((1 / 2, 0.1), (3 / 4, 0.3), (1.0, 0.6))
# With skewed noise there is one look, at the cap, at this share of the error: the largest of those
# tried (1 to 0.003) with which 95 % of campaigns of no-ops keep none up to three times the noise.
STRICT = 0.005
# Skewed noise that is so many times as large on the side that fakes gains is left undecided: with
# such noise, 93 to 95 % of campaigns would keep none, and with more fewer.
MOST_UNEQUAL = 4.0
# Fewer values say nothing about a shape.
FEWEST_FOR_SHAPE = 5
# A skewness that is so many standard errors from 0 counts; of normal noise 5 % does.
SURE = 2.0


@dataclass(frozen=True)
class Rules:
    """What a campaign declares before its first challenge.

    ``horizon`` is how many challenges share its error, ``cap`` the most seeds of one, and ``alpha``
    the probability that a campaign of changes that change nothing keeps any.
    """

    horizon: int = 100
    cap: int = 24
    alpha: float = 0.05

    def looks(self, skewed: bool) -> Mapping[int, float]:
        """The level of the one-sided test at each number of seeds where it may keep."""
        error = self.alpha / self.horizon
        if skewed:
            return {self.cap: error * STRICT}
        return {math.ceil(self.cap * at): error * share for at, share in SCHEDULE}


@dataclass(frozen=True)
class Skewness:
    """The skewness of noise, pooled over groups of runs that differ in their seeds alone.

    Each group's is Fisher and Pearson's adjusted G1, weighted by its precision for normal noise.
    """

    weighted: float = 0.0
    weight: float = 0.0

    @classmethod
    def of(cls, groups: Iterable[Sequence[float]]) -> Skewness:
        """Pool groups; those too small, or without any spread, say nothing."""
        each = [_skewness(np.asarray(group)) for group in groups if len(group) >= FEWEST_FOR_SHAPE]
        return cls(sum(g * weight for g, weight in each), sum(weight for _, weight in each))

    def __add__(self, other: Skewness) -> Skewness:
        return Skewness(self.weighted + other.weighted, self.weight + other.weight)

    @property
    def value(self) -> float:
        """The pooled skewness; 0 where nothing is known."""
        return self.weighted / self.weight if self.weight else 0.0

    @property
    def is_sure(self) -> bool:
        """Whether it is further from 0 than chance explains."""
        return abs(self.value) * math.sqrt(self.weight) > SURE


def _skewness(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    n, centred = len(values), values - values.mean()
    deviation = _deviation(values)
    weight = (n - 2) * (n + 1) * (n + 3) / (6 * n * (n - 1))
    if not deviation:
        return 0.0, 0.0
    return float((centred**3).sum()) / deviation**3 * n / ((n - 1) * (n - 2)), weight


def _deviation(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Exactly 0 where all values are equal: rounding makes some of their means differ from them."""
    return float(values.std(ddof=1)) if np.ptp(values) else 0.0


@dataclass(frozen=True)
class Decision:
    """What the first ``seeds`` pairs of runs decide.

    ``gain`` is the mean paired difference, above zero where the challenger is better. Its interval
    holds at whichever number of seeds a challenge stops, in 95 % of challenges.
    """

    verdict: Verdict
    reason: str
    seeds: int
    gain: Interval


def decide(
    champion: Sequence[float],
    challenger: Sequence[float],
    sign: float,
    rules: Rules,
    before: Skewness,
) -> Decision | None:
    """Decide between values of the same seeds, in the order of the seeds; None asks for another.

    ``sign`` is 1 where a lower value is better, else -1. ``before`` is the skewness of noise as
    other runs of the campaign show it: these values are added here. Those that come after the
    decision change nothing. What a run means that diverged is the caller's to say: values are
    finite, or ``ValueError``.
    """
    for n in range(2, min(len(champion), len(challenger), rules.cap) + 1):
        decision = _at(champion[:n], challenger[:n], sign, rules, before)
        if decision is not None:
            return decision
    return None


def _at(
    champion: Sequence[float],
    challenger: Sequence[float],
    sign: float,
    rules: Rules,
    before: Skewness,
) -> Decision | None:
    n = len(champion)
    if not np.isfinite([champion, challenger]).all():
        raise ValueError(f"values of {n} seeds are finite: {champion[-1]}, {challenger[-1]}")
    gains = sign * (np.asarray(champion) - np.asarray(challenger))
    mean, deviation = float(gains.mean()), _deviation(gains)
    gain = Interval(mean, always_valid(n, rules.cap) * deviation / math.sqrt(n))
    if not gains.any():
        return Decision("discard", "identical: the same values under every seed", n, gain)
    if mean <= 0:
        return Decision("discard", "no better on average", n, gain)
    if n not in rules.looks(skewed=False):
        return None
    # At a look, keep what passes. Skewed noise has the last one alone, and there it says so.
    skewness = before + Skewness.of([champion, challenger])
    looks, skewed = rules.looks(skewness.is_sure), ""
    if skewness.is_sure:
        skewed = f"; noise is skewed ({skewness.value:+.1f}), so the test was stricter"
    passes = n in looks and mean * math.sqrt(n) >= t_quantile(1 - looks[n], n - 1) * deviation
    # Noise with a tail of bad runs fakes gains where it is the challenger's.
    sides = (challenger, champion) if sign * skewness.value > 0 else (champion, challenger)
    apart = unequal(*sides)
    if passes and not (skewed and apart > MOST_UNEQUAL):
        return Decision("keep", f"better beyond the noise of {n} seeds{skewed}", n, gain)
    if n < rules.cap:
        return None
    if passes:
        reason = f"noise is skewed, and on one side {apart:.1f} times as large: no test bears that"
        return Decision("undecided", reason, n, gain)
    return Decision("undecided", f"perhaps better, but not surely after {n} seeds{skewed}", n, gain)


def unequal(first: Sequence[float], second: Sequence[float]) -> float:
    """The standard deviation of the first over that of the second; infinite over zero."""
    high, low = (_deviation(np.asarray(values)) for values in (first, second))
    if not high and not low:
        return 1.0
    return high / low if low else math.inf


def always_valid(n: int, cap: int) -> float:
    """Student's quantile at ``n`` values for an interval that is looked at from 2 to ``cap``.

    The looks share the 5 % equally (Bonferroni).
    """
    return t_quantile(1 - (1 - LEVEL) / (cap - 1) / 2, n - 1)
