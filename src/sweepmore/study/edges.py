"""Best values at the end of their searched range, which may be too small then."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution

from sweepmore.study.seeds import NAMES
from sweepmore.wording import listed

# A best value within this share of its range's end is "at the edge" (guess).
EDGE = 0.02


def at_edge(params: Mapping[str, Any], space: Mapping[str, Any]) -> str:
    """Say which values lie at which end of their range, and what to do; empty where none does.

    ``space`` holds Optuna's distributions. A choice among at least three numbers has ends, too.
    """
    ends = dict[str, list[str]]()
    for name, value in params.items():
        # a seed has no larger range to look into
        if name.rpartition(".")[2] not in NAMES and (end := _end(value, space.get(name))):
            ends.setdefault(end, []).append(f"{name}={value:.4g}")
    if not ends:
        return ""
    phrases = [
        f"{listed(each)} {'is' if len(each) == 1 else 'are'} {end} of "
        f"{'its' if len(each) == 1 else 'their'} range"
        for end, each in ends.items()
    ]
    it = "it" if sum(map(len, ends.values())) == 1 else "them"
    return f"{listed(phrases)}: look beyond {it}"


def _end(value: Any, distribution: Any) -> str:
    """Name the end of its range that a value lies at, ``near 0.3, the highest``; else empty."""
    ends = _ends(distribution)
    if ends is None or not _is_number(value):
        return ""
    low, high, log = ends
    share = (value - low) / (high - low)
    if log:
        share = math.log(value / low) / math.log(high / low)
    if EDGE < share < 1 - EDGE:
        return ""
    end, limit = ("lowest", low) if share <= EDGE else ("highest", high)
    near = "" if value == limit else f"near {limit:g}, "
    return f"{near}the {end}"


def searched(question: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """The distributions of a study's question, by the parameter's name."""
    return {
        name: json_to_distribution(json.dumps(distribution))
        for name, distribution in question["space"].items()
    }


def _ends(distribution: Any) -> tuple[float, float, bool] | None:
    """The lowest and highest value, and whether the scale is logarithmic; None without ends."""
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        numbers = [choice for choice in choices if _is_number(choice)]
        return (min(numbers), max(numbers), False) if len(numbers) == len(choices) > 2 else None
    if distribution is None or distribution.low == distribution.high:
        return None
    return distribution.low, distribution.high, distribution.log


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
