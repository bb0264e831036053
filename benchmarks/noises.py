"""Made-up noise of runs, of mean 0 and standard deviation 1: a higher loss is worse."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sweepmore.statistics.intervals import Floats

# Noise of mean 0 and standard deviation 1, of this shape.
Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return random.standard_normal(shape)


def exponential(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return random.standard_exponential(shape) - 1


def log_normal(random: np.random.Generator, shape: tuple[int, ...], sigma: float = 0.8) -> Floats:
    """Of skewness 3.7."""
    square = math.exp(sigma**2)
    drawn: Floats = random.lognormal(0, sigma, shape) - math.sqrt(square)
    return drawn / math.sqrt((square - 1) * square)


def bad_runs(random: np.random.Generator, shape: tuple[int, ...], share: float = 0.05) -> Floats:
    """Normal, but for a run in twenty that is 13 of its standard deviations worse."""
    deviation, worse = 0.3, 4.0
    drawn: Floats = deviation * random.standard_normal(shape) + worse * (
        (random.random(shape) < share) - share
    )
    return drawn / math.sqrt(deviation**2 + worse**2 * share * (1 - share))


NOISES = {
    "normal": normal,
    "exponential": exponential,
    "log-normal": log_normal,
    "bad runs in 5 %": bad_runs,
}


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
