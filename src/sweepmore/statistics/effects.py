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
from sweepmore.statistics.importance import Floats, blocks_of, clipped
from sweepmore.statistics.intervals import t_quantile

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
    ``worse`` holds those members of a choice that are worse than the best one beyond chance.
    """

    p: float
    is_real: bool
    best: Any
    where: Literal["low", "high", "inside", "choice"]
    x: Sequence[Any]
    y: Sequence[float]
    worse: Sequence[Any] = ()


def effects(
    params: Sequence[Mapping[str, Any]],
    objective: Sequence[float],
    direction: str,
    space: Mapping[str, Mapping[str, Any]],
) -> dict[str, Effect]:
    """Return the effect of each parameter that all trials have; arguments as of ``shares``.

    Empty where there are too few trials for so many parameters, or all values are equal.
    """
    values = clipped(objective, direction)
    blocks = blocks_of(params, values, space)
    return {
        name: _effect(
            k, [trial[name] for trial in params], [*blocks.values()], values, space[name], direction
        )
        for k, name in enumerate(blocks)
    }


def _effect(
    k: int,
    drawn: Sequence[Any],
    blocks: Sequence[Floats],
    values: Floats,
    about: Mapping[str, Any],
    direction: str,
) -> Effect:
    """Judge the parameter with the ``k``-th block of columns beside all others."""
    # in units of their range, so that roundings are small beside 1 at any scale
    centre, unit = float(values.mean()), float(np.ptp(values))
    values = (values - centre) / unit
    design = np.hstack([np.ones((len(values), 1)), *blocks])
    before = 1 + sum(block.shape[1] for block in blocks[:k])
    own = slice(before, before + blocks[k].shape[1])
    fitted: Floats = np.asarray(np.linalg.lstsq(design, values)[0], np.float64)
    fit = _Fit(fitted[own], *_variance(values, design, fitted, own))
    p = fit.p()
    # the parameter's own part of the fit, at each value that was tried
    part = blocks[k] @ fitted[own] * unit + centre
    is_choice = "choices" in about["attributes"]
    curve = {repr(x): (x, float(y)) for x, y in zip(drawn, part)}
    points = list(curve.values()) if is_choice else sorted(curve.values())
    sign = sign_of(direction)
    best = min(points, key=lambda point: sign * point[1])[0]
    where = "choice" if is_choice else _part_of_range(best, points, about["attributes"])
    real = p < LEVEL / len(blocks)
    xs = [x for x, _ in points]
    worse = [xs[k] for k in fit.behind(xs.index(best))] if is_choice and real else []
    return Effect(p, real, best, where, xs, [y for _, y in points], worse)


@dataclass(frozen=True)
class _Fit:
    """A parameter's coefficients (q), their variance (q, q) and its degrees of freedom."""

    coefficients: Floats
    variance: Floats
    freedom: int

    def p(self) -> float:
        """The p of no effect, by Wald's F; 1 where there are no coefficients or no freedom."""
        from scipy.special import fdtrc  # scipy.stats takes a second to import

        number = len(self.coefficients)
        if not number or self.freedom <= 0:
            return 1.0
        if not self.variance.any():  # a perfect fit: what is left are roundings
            return 0.0 if np.abs(self.coefficients).max() > 1e-9 else 1.0
        wald = self.coefficients @ np.linalg.pinv(self.variance) @ self.coefficients
        return float(fdtrc(number, self.freedom, wald / number))

    def behind(self, best: int) -> list[int]:
        """Which members of a choice differ from the one at ``best``, at ``LEVEL`` together.

        Bonferroni over the other members. The first member has no coefficient: it is 0.
        """
        members = len(self.coefficients) + 1
        quantile = t_quantile(1 - LEVEL / 2 / max(1, members - 1), self.freedom)
        found = []
        for other in set(range(members)) - {best}:
            contrast = np.zeros(members)
            contrast[[other, best]] = 1.0, -1.0
            gap = contrast[1:] @ self.coefficients
            variance = float(contrast[1:] @ self.variance @ contrast[1:])
            if abs(gap) > quantile * math.sqrt(max(0.0, variance)):
                found.append(other)
        return sorted(found)


def _variance(values: Floats, design: Floats, fitted: Floats, own: slice) -> tuple[Floats, int]:
    """The variance HC3 of the ``own`` coefficients, 0 for a perfect fit, and degrees of freedom.

    ``design`` is (trials, columns) with a column of ones, ``fitted`` its least squares solution.
    """
    inverse, rest = np.linalg.pinv(design), values - design @ fitted
    number, freedom = own.stop - own.start, len(values) - design.shape[1]
    if rest @ rest <= 1e-20 * float(values @ values):
        return np.zeros((number, number)), freedom
    leverage = np.clip((design * inverse.T).sum(1), 0.0, 1 - 1e-9)
    scaled = inverse[own] * (rest / (1 - leverage))
    return scaled @ scaled.T, freedom


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
