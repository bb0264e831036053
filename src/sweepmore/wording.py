"""How numbers, counts and paths are written for people, the same everywhere."""

from __future__ import annotations

import math
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def decimals(value: float, beside: float = 0.0, *, sign: str = "", places: int = 4) -> str:
    """``value`` with ``places`` fixed decimals, so that a column lines up.

    Where fixed decimals would say nothing (1e-58, 1e+13, or anything that they round to zero) it
    has four significant digits instead. ``beside`` is a number printed next to it, with which it
    shares a scale; ``sign="+"`` writes a plus.
    """
    fixed = f"{value:{sign}.{places}f}"
    scale = max((abs(x) for x in (value, beside) if math.isfinite(x)), default=0.0)
    says_nothing = value != 0 and float(fixed) == 0
    if value == 0 or (10 ** (1 - places) <= scale < 1e5 and not says_nothing):
        return fixed
    return f"{value:{sign}.4g}"


def real_minus(number: str) -> str:
    """``number`` with a minus sign in place of its hyphen, for people."""
    return f"−{number[1:]}" if number.startswith("-") else number


def plus_minus(mean: float, half: float, *, sign: str = "") -> str:
    """``mean ± half``: a mean and half the width of its interval."""
    return f"{decimals(mean, half, sign=sign)} ± {decimals(half, mean)}"


def bounds(mean: float, low: float, high: float, *, sign: str = "") -> str:
    """``mean [low, high]``: a mean and the ends of its interval."""
    scale = max(mean, low, high, key=abs)
    middle, *ends = (decimals(value, scale, sign=sign) for value in (mean, low, high))
    return f"{middle} [{', '.join(ends)}]"


def short(value: Any) -> str:
    """A value as Hydra writes it (null, true, the empty text in quotes), floats to three digits."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.3g}" if isinstance(value, float) else str(value) or "''"


def last_parts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` by the last part of their dotted keys: ``hidden`` for ``model.hidden``.

    A key has as many of its last parts as tell it from the others.
    """

    def named(key: str) -> str:
        parts = key.split(".")
        ends = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        return next((e for e in ends if sum(f".{k}".endswith(f".{e}") for k in settings) == 1), key)

    return {named(key): value for key, value in settings.items()}


def plural(number: int, noun: str, more: str | None = None) -> str:
    """``1 trial``, ``2 trials``, ``1,000 trials``; ``more`` is an irregular plural."""
    return f"{number:,} {noun if number == 1 else more or f'{noun}s'}"


def listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def duration(seconds: float) -> str:
    """``5 s``, ``2:05 min``, ``1:02 h`` for a number of seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d} h"
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"


def fitted(line: str, indent: int = 9) -> str:
    """``line``, wrapped between words where stdout is a terminal that is narrower.

    What follows begins below the text behind a label of ``indent`` characters. For facts, not for
    commands, which a user copies.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else len(line)
    if len(line) <= width:
        return line
    rest = " " * indent
    return textwrap.fill(
        line, width, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def shown_path(path: Path) -> str:
    """``path`` relative to the working directory where it lies below that, else as it is."""
    try:
        relative = os.path.relpath(path)
    except OSError:  # the working directory is gone
        return str(path)
    return str(path) if relative.startswith("..") else relative
