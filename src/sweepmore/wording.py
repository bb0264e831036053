"""How numbers, counts and paths are written for people, the same everywhere."""

from __future__ import annotations

import math
import os
from pathlib import Path


def decimals(value: float, beside: float = 0.0, *, sign: str = "", places: int = 4) -> str:
    """Fixed decimals, so that a column lines up; four significant digits where those would say
    nothing: of 1e-58, 1e+13, and of what they round to zero. ``beside`` is a number that it stands
    beside and shares a scale with; ``sign`` is "+" where a plus is written."""
    fixed = f"{value:{sign}.{places}f}"
    scale = max((abs(one) for one in (value, beside) if math.isfinite(one)), default=0.0)
    says_nothing = value != 0 and float(fixed) == 0
    if value == 0 or (10 ** (1 - places) <= scale < 1e5 and not says_nothing):
        return fixed
    return f"{value:{sign}.4g}"


def plus_minus(mean: float, half: float, *, sign: str = "") -> str:
    """A mean and half the width of its interval."""
    return f"{decimals(mean, half, sign=sign)} ± {decimals(half, mean)}"


def bounds(mean: float, low: float, high: float, *, sign: str = "") -> str:
    """A mean and its interval."""
    scale = max(mean, low, high, key=abs)
    told, *ends = (decimals(one, scale, sign=sign) for one in (mean, low, high))
    return f"{told} [{', '.join(ends)}]"


def plural(number: int, noun: str, more: str | None = None) -> str:
    """``1 trial``, ``2 trials``, ``1,000 trials``."""
    return f"{number:,} {noun if number == 1 else more or f'{noun}s'}"


def duration(seconds: float) -> str:
    """``5 s``, ``2:05 min``, ``1:02 h``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d} h"
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"


def shown_path(path: Path) -> str:
    """Relative to the working directory where that is shorter to read."""
    try:
        relative = os.path.relpath(path)
    except OSError:  # the working directory is gone
        return str(path)
    return str(path) if relative.startswith("..") else relative
