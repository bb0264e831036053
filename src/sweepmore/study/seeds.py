"""Which setting of an application holds the seed of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The last word of a setting that holds a seed, the usual one first.
NAMES = ("seed", "random_seed", "random_state")


def seed_key(question: Mapping[str, Any]) -> str | None:
    """Return the setting of a study that holds the seed: ``seed``, else the only one like it.

    ``question`` has the fixed settings, flat, and those that are searched or repeated. None where
    there is no such setting, or where several could be meant.
    """
    keys = {**question["config"], **question.get("space", {}), **(question.get("repeats") or {})}
    if "seed" in keys:
        return "seed"
    like = [key for key in keys if key.rpartition(".")[2] in NAMES]
    return like[0] if len(like) == 1 else None
