"""Which way is better: an objective's direction, and the sign that turns its value into a loss."""

from __future__ import annotations

DIRECTIONS = ("minimize", "maximize")


def sign_of(direction: str) -> float:
    """1 where lower is better, -1 where higher is: a value times its sign is a loss."""
    return -1.0 if direction == "maximize" else 1.0
