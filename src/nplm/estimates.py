"""A loss with its interval. Lines are resampled, because the tokens of a line depend on each other.

We keep our own bootstrap because the draws of ``scipy.stats.bootstrap``, with which a test compares
it, would change the intervals of recorded looks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nplm.data import Split
from nplm.result import Estimate

# 10,000 resamples put the ends of a 95 % interval within about 1 % of its width (Efron &
# Tibshirani 1993 ask for 1,000 or more).
RESAMPLES = 10_000
COVERED = (2.5, 97.5)
# Lines drawn at once: 16 MB of float64 for sums and as much for tokens (guess).
CHUNK = 2**21

Floats = NDArray[np.float64]


def line_sums(nats: Floats, split: Split) -> Floats:
    """Return (lines,) the nats of each line, from those of its tokens (n,) in order."""
    ends = np.flatnonzero((split.targets == 0).numpy())
    sums: Floats = np.diff(np.concatenate([[0.0], np.cumsum(nats)[ends]]))
    return sums


def line_tokens(split: Split) -> Floats:
    """Return (lines,) the number of tokens in each line, with its end."""
    return line_sums(np.ones(len(split)), split)


def bootstrap(sums: Floats, tokens: Floats, seed: int) -> Estimate:
    """Return sum(sums) / sum(tokens) with a percentile interval over resampled lines; ``sums`` and
    ``tokens`` are (lines,), ``seed`` is of the resampling."""
    generator, n = np.random.default_rng(seed), len(sums)
    ratios = []
    for rows in _chunks(RESAMPLES, max(1, CHUNK // n)):
        drawn = generator.integers(0, n, (rows, n))
        ratios.append(sums[drawn].sum(1) / tokens[drawn].sum(1))
    low, high = np.percentile(np.concatenate(ratios), COVERED)
    return Estimate(float(sums.sum() / tokens.sum()), float(low), float(high))


def _chunks(total: int, most: int) -> list[int]:
    return [min(most, total - begin) for begin in range(0, total, most)]
