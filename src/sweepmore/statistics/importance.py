"""What the values of a study depend on: how much of their variance each parameter explains.

The model is additive: a level for each member of a list, and a curve for a number, over its
logarithm where it is searched on a log scale. Every parameter explains a little by luck, a list of
many members more than a list of two, so what counts is the adjusted R² (Ezekiel 1930), which is 0
on average where there is no effect. A parameter's share is what it adds when it joins the model,
averaged over the orders in which all can join (Lindeman, Merenda and Gold 1980): parameters that a
sampler moved together share what they explain together. The rest is interactions and noise.

We do not use ``optuna.importance``: its shares are never below 0, so that noise has a share, too,
and its fANOVA needs scikit-learn. A test compares the two.
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

# With fewer complete trials nothing is estimated (guess).
FEWEST = 10
# Degree of a number's polynomial: its curve has at most two bends.
DEGREE = 3
# Up to this many parameters all orders are averaged; with more, this many orders are drawn with a
# fixed seed.
ALL_ORDERS, SOME_ORDERS = 5, 40


def shares(
    params: Sequence[Mapping[str, Any]],
    objective: Sequence[float],
    direction: str,
    space: Mapping[str, Mapping[str, Any]],
) -> dict[str, float]:
    """Each parameter's share of the objective's variance, at most 1.

    ``params`` and ``objective`` are those of each complete trial; ``space`` is the question's,
    Optuna's distributions as JSON. A parameter without effect has a share around 0, by chance also
    below it. Returns ``{}`` where there are too few trials for so many parameters, or all values
    are equal.
    """
    values = clipped(objective, direction)
    blocks = blocks_of(params, values, space)
    if not blocks:
        return {}
    return dict(zip(blocks, _joining([*blocks.values()], values - values.mean())))


def blocks_of(
    params: Sequence[Mapping[str, Any]], values: Floats, space: Mapping[str, Mapping[str, Any]]
) -> dict[str, Floats]:
    """Each parameter's columns of the additive model, by its name.

    They are the most detailed curves that leave half the degrees of freedom to the noise. Empty
    where there are too few trials for so many parameters, or all ``values`` are equal.
    """
    names = [name for name in space if all(name in trial for trial in params)]
    if len(params) < FEWEST or not names or np.ptp(values) == 0:
        return {}
    for degree in range(DEGREE, 0, -1):
        blocks = {
            name: columns([trial[name] for trial in params], space[name]["attributes"], degree)
            for name in names
        }
        if 2 * sum(block.shape[1] for block in blocks.values()) < len(params):
            return blocks
    return {}


def clipped(values: Sequence[float], direction: str) -> Floats:
    """``values``, of which those worse than the fence count as the fence.

    Otherwise a few very bad values would make up all of the variance.
    """
    sign = sign_of(direction)
    losses = sign * np.array(values)
    return np.asarray(sign * np.minimum(losses, fence(losses.tolist())))


def fence(values: Sequence[float]) -> float:
    """Tukey's upper outer fence (1977): three interquartile ranges above the third quartile."""
    if len(values) < 2:
        return math.inf
    first, _, third = statistics.quantiles(values, n=4)
    return third + 3 * (third - first)


def columns(drawn: Sequence[Any], attributes: Mapping[str, Any], degree: int) -> Floats:
    """The design matrix of one parameter, (trials, columns), each column of mean 0.

    A list has a column for each member but the first. A number has its powers up to ``degree``,
    as far as its distinct values can distinguish them.
    """
    texts = [repr(value) for value in drawn]
    members = list(dict.fromkeys(texts))
    if "choices" in attributes:
        design = np.array([[text == member for member in members[1:]] for text in texts], float)
    else:
        log = bool(attributes.get("log"))
        scale = np.array([math.log(value) if log else float(value) for value in drawn])
        unit = (scale - scale.mean()) / (np.ptp(scale) or 1.0)
        powers = range(1, min(degree, len(members) - 1) + 1)
        design = np.array([unit**power for power in powers]).T.reshape(len(drawn), len(powers))
    return np.asarray(design - design.mean(0))


def _joining(blocks: Sequence[Floats], values: Floats) -> list[float]:
    """What each block of columns adds to the adjusted R², averaged over orders."""
    total, freedom = float(values @ values), len(values) - 1

    @functools.cache
    def explained(members: frozenset[int]) -> float:
        if not members:
            return 0.0
        design = np.hstack([blocks[k] for k in sorted(members)])
        fitted, _, rank, _ = np.linalg.lstsq(design, values)
        residual = values - design @ fitted
        return 1 - float(residual @ residual) / total * freedom / (freedom - rank)

    added = np.zeros(len(blocks))
    orders = _orders(len(blocks))
    for order in orders:
        for place, k in enumerate(order):
            before = frozenset(order[:place])
            added[k] += explained(before | {k}) - explained(before)
    return [float(share) for share in added / len(orders)]


def _orders(count: int) -> list[tuple[int, ...]]:
    if count <= ALL_ORDERS:
        return list(itertools.permutations(range(count)))
    generator = np.random.default_rng(0)
    return [tuple(generator.permutation(count).tolist()) for _ in range(SOME_ORDERS)]
