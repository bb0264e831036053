"""Which setting of an application holds the seed of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The last word of a setting that holds a seed, the usual one first.
NAMES = ("seed", "random_seed", "random_state")


def seed_key(config: Mapping[str, Any]) -> str | None:
    """Return the key of a flat config that holds the seed: ``seed``, else the only one like it.

    None where there is none, or where several could be meant.
    """
    if "seed" in config:
        return "seed"
    like = [key for key in config if key.rpartition(".")[2] in NAMES]
    return like[0] if len(like) == 1 else None
