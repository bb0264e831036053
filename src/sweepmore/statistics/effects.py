"""Whether a parameter has an effect on the value beside the others, and where it is best.

A search does not draw its parameters independently: a sampler that likes small rates also likes
what goes with them. So each parameter is judged beside all others, in the additive model of
``importance``, and called real where a Wald test rejects at ``LEVEL`` after Bonferroni. What the
model lacks, such as an interaction, makes some trials scatter more than others; the test's variance
allows for that (HC3: MacKinnon and White 1985, Long and Ervin 2000), where an F test would see
effects that are none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sweepmore.statistics.directions import sign_of
from sweepmore.statistics.importance import DEGREE, FEWEST, Floats, clipped, columns

# Of all parameters together: one study of twenty without any effect shows one.
LEVEL = 0.05
# A curve whose best lies within this share of the tried range's end says lower or higher (guess).
NEAR_END = 0.15


@dataclass(frozen=True)
class Effect:
    """A parameter's effect beside the others.

    ``is_real`` tells whether noise explains it badly enough. ``best`` is the tried value with the
    best fitted one, and ``where`` the part of the tried range in which that lies. ``x`` and ``y``
    are the fitted curve, in the objective's unit; a choice has a point for each of its members.
    """

    p: float
    is_real: bool
    best: Any
    where: Literal["low", "high", "inside", "choice"]
    x: Sequence[Any]
    y: Sequence[float]


def effects(
    params: Sequence[Mapping[str, Any]],
    objective: Sequence[float],
    direction: str,
    space: Mapping[str, Mapping[str, Any]],
) -> dict[str, Effect]:
    """Return the effect of each parameter that all trials have; arguments as of ``shares``.

    Empty where there are too few trials for so many parameters, or all values are equal.
    """
    names = [name for name in space if all(name in trial for trial in params)]
    values = clipped(objective, direction)
    if len(params) < FEWEST or not names or np.ptp(values) == 0:
        return {}
    drawn = {name: [trial[name] for trial in params] for name in names}
    for degree in range(DEGREE, 0, -1):
        blocks = [columns(drawn[name], space[name]["attributes"], degree) for name in names]
        if 2 * sum(block.shape[1] for block in blocks) < len(params):
            return {
                name: _effect(k, drawn[name], blocks, values, space[name], direction)
                for k, name in enumerate(names)
            }
    return {}


def _effect(
    k: int,
    drawn: Sequence[Any],
    blocks: Sequence[Floats],
    values: Floats,
    about: Mapping[str, Any],
    direction: str,
) -> Effect:
    """Judge the parameter with the ``k``-th block of columns beside all others."""
    design = np.hstack([np.ones((len(values), 1)), *blocks])
    before = 1 + sum(block.shape[1] for block in blocks[:k])
    own = slice(before, before + blocks[k].shape[1])
    fitted = np.linalg.lstsq(design, values)[0]
    p = _p_value(values, design, np.asarray(fitted, float), own)
    # the parameter's own part of the fit, at each value that was tried
    part = blocks[k] @ fitted[own] + values.mean()
    is_choice = "choices" in about["attributes"]
    curve = {repr(x): (x, float(y)) for x, y in zip(drawn, part)}
    points = list(curve.values()) if is_choice else sorted(curve.values())
    sign = sign_of(direction)
    best = min(points, key=lambda point: sign * point[1])[0]
    where = "choice" if is_choice else _part_of_range(best, points, about["attributes"])
    real = p < LEVEL / len(blocks)
    return Effect(p, real, best, where, [x for x, _ in points], [y for _, y in points])


def _p_value(values: Floats, design: Floats, fitted: Floats, own: slice) -> float:
    """The p of no effect of the ``own`` columns: by Wald's F; 1 if there are none.

    ``design`` is (trials, columns) with a column of ones, ``fitted`` its least squares solution.
    """
    from scipy import stats

    number, freedom = own.stop - own.start, len(values) - design.shape[1]
    if not number or freedom <= 0:
        return 1.0
    inverse = np.linalg.pinv(design)
    rest = values - design @ fitted
    if rest @ rest <= 1e-20 * float(values @ values):  # a perfect fit leaves no variance
        return float(np.abs(design[:, own] @ fitted[own]).max() <= 1e-9 * np.abs(values).max())
    leverage = np.clip((design * inverse.T).sum(1), 0.0, 1 - 1e-9)
    scaled = inverse[own] * (rest / (1 - leverage))
    wald = fitted[own] @ np.linalg.pinv(scaled @ scaled.T) @ fitted[own]
    return float(stats.f.sf(wald / number, number, freedom))


def _part_of_range(
    best: float, points: Sequence[tuple[Any, float]], attributes: Mapping[str, Any]
) -> Literal["low", "high", "inside"]:
    low, high, at = points[0][0], points[-1][0], best
    if attributes.get("log"):
        low, high, at = math.log(low), math.log(high), math.log(best)
    if high == low:
        return "inside"
    share = (at - low) / (high - low)
    return "low" if share <= NEAR_END else "high" if share >= 1 - NEAR_END else "inside"
