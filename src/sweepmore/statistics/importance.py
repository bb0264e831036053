"""What the values of a study depend on: how much of their variance each parameter explains.

An additive model: a level for each member of a list, a curve for a number, on the logarithm where
it is searched on that. Every parameter explains a little by luck, a list of many members more than
one of two, so what counts is the adjusted R² (Ezekiel 1930), which is 0 on average where there is
nothing. A parameter's share is what it adds when it joins, averaged over the orders in which all
can join (Lindeman, Merenda and Gold 1980): those that a sampler moved together share what they
explain together. What is left over is interactions and noise. Not ``optuna.importance``: its
shares are never below 0, so noise has one, too, and its fANOVA needs scikit-learn (a test compares
the two).
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweepmore.statistics.directions import sign_of

Floats = NDArray[np.float64]

# Of fewer complete trials nothing is estimated (guess).
FEWEST = 10
# A curve of a number has at most two bends.
DEGREE = 3
# Of more parameters than this not all orders are tried, but so many, drawn with a fixed seed.
ALL_ORDERS, SOME_ORDERS = 5, 40


def shares(
    params: Sequence[Mapping[str, Any]],
    objective: Sequence[float],
    direction: str,
    space: Mapping[str, Mapping[str, Any]],
) -> dict[str, float]:
    """Each parameter's share of the objective's variance.

    ``params`` and ``objective`` are those of each complete trial, ``space`` is the question's:
    Optuna's distributions as JSON. A parameter without effect has a share around 0, by chance also
    below it. Returns nothing where the trials are too few for so many parameters, or all equal.
    """
    names = [name for name in space if all(name in one for one in params)]
    values = clipped(objective, direction)
    if len(params) < FEWEST or not names or np.ptp(values) == 0:
        return {}
    drawn = {name: [one[name] for one in params] for name in names}
    for degree in range(DEGREE, 0, -1):
        blocks = [columns(drawn[name], space[name]["attributes"], degree) for name in names]
        if 2 * sum(block.shape[1] for block in blocks) < len(params):  # half is left for the noise
            return dict(zip(names, _joining(blocks, values - values.mean())))
    return {}


def clipped(values: Sequence[float], direction: str) -> Floats:
    """A few very bad values would be all the variance there is: those beyond the fence count as
    the fence."""
    sign = sign_of(direction)
    losses = sign * np.array(values)
    return np.asarray(sign * np.minimum(losses, fence(losses.tolist())))


def fence(values: Sequence[float]) -> float:
    """Tukey's upper outer fence (1977): three quartile distances above the third."""
    if len(values) < 2:
        return math.inf
    first, _, third = statistics.quantiles(values, n=4)
    return third + 3 * (third - first)


def columns(drawn: Sequence[Any], attributes: Mapping[str, Any], degree: int) -> Floats:
    """(trials, columns), each of mean 0: for a list one a member but the first, for a number its
    powers up to ``degree``, as far as its distinct values tell them apart."""
    texts = [repr(value) for value in drawn]
    members = list(dict.fromkeys(texts))
    if "choices" in attributes:
        found = np.array([[text == member for member in members[1:]] for text in texts], float)
    else:
        log = bool(attributes.get("log"))
        scale = np.array([math.log(value) if log else float(value) for value in drawn])
        unit = (scale - scale.mean()) / (np.ptp(scale) or 1.0)
        powers = range(1, min(degree, len(members) - 1) + 1)
        found = np.array([unit**power for power in powers]).T.reshape(len(drawn), len(powers))
    return np.asarray(found - found.mean(0))


def _joining(blocks: Sequence[Floats], values: Floats) -> list[float]:
    """What each block adds to the adjusted R², averaged over orders."""
    total, freedom = float(values @ values), len(values) - 1

    @functools.cache
    def explained(members: frozenset[int]) -> float:
        if not members:
            return 0.0
        design = np.hstack([blocks[k] for k in sorted(members)])
        fitted, _, rank, _ = np.linalg.lstsq(design, values)
        left = values - design @ fitted
        return 1 - float(left @ left) / total * freedom / (freedom - rank)

    added = np.zeros(len(blocks))
    orders = _orders(len(blocks))
    for order in orders:
        for place, k in enumerate(order):
            before = frozenset(order[:place])
            added[k] += explained(before | {k}) - explained(before)
    return [float(one) for one in added / len(orders)]


def _orders(count: int) -> list[tuple[int, ...]]:
    if count <= ALL_ORDERS:
        return list(itertools.permutations(range(count)))
    generator = np.random.default_rng(0)
    return [tuple(generator.permutation(count).tolist()) for _ in range(SOME_ORDERS)]
