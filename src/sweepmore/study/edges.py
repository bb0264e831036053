"""Best values at the end of their searched range, which may be too small then."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution

from sweepmore.study.seeds import NAMES

# A best value within this share of its range's end is "at the edge" (guess).
EDGE = 0.02


def at_edge(params: Mapping[str, Any], space: Mapping[str, Any]) -> list[str]:
    """A phrase for each parameter whose value lies at an end of its range, and which end.

    ``space`` holds Optuna's distributions. A choice among at least three numbers has ends, too.
    """
    phrases = []
    for name, value in params.items():
        ends = _ends(space.get(name))
        if ends is None or not _is_number(value) or name.rpartition(".")[2] in NAMES:
            continue  # a seed has no larger range to look into
        low, high, log = ends
        share = (value - low) / (high - low)
        if log:
            share = math.log(value / low) / math.log(high / low)
        if share <= EDGE or share >= 1 - EDGE:
            end, limit = ("lowest", low) if share <= EDGE else ("highest", high)
            near = "" if value == limit else f"near {limit:g}, "
            phrases.append(f"{name}={value:.4g} is {near}the {end} of its range")
    return phrases


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
