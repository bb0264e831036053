"""What a task returns and reports, as floats: any real number, by whatever library it is written.

The libraries are not imported. An array or a tensor of one element, on whatever device, says what
it holds by ``item()``; everything else by ``__float__``.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from numbers import Complex, Real
from typing import Any

from sweepmore.errors import UserError

# Of a value in a message: a whole table would bury what is said of it.
LONGEST_SHOWN = 200
# What libraries raise where a value holds no number, or more than one.
REFUSALS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


class NoObjective(UserError):
    """A task gave something else than a number: a mistake in its program, which another trial
    would only repeat."""


def number(value: Any) -> float | None:
    """``value`` as a float, NaN and infinities too; None where it is no real number.

    A text is none, even one that could be read: whoever returns it means something else.
    """
    try:
        if callable(item := getattr(value, "item", None)):
            value = item()  # ValueError or RuntimeError where it holds more than one
        if isinstance(value, Complex) and not isinstance(value, Real):
            return None  # NumPy's convert to float, and drop a part
        if not any(hasattr(type(value), name) for name in ("__float__", "__index__")):
            return None  # float() would read a text and bytes
        return float(value)
    except OverflowError:  # a whole number or a fraction beyond the largest float
        return math.inf if value > 0 else -math.inf
    except REFUSALS:
        return None


def reported(value: Any) -> float:
    """A value that a task reports; NoObjective where it is no number."""
    found = number(value)
    if found is None:
        cure = "Report a number: the objective so far."
        raise NoObjective(f"The task reported {shown(value)}.", value=value, cure=cure)
    return found


def returned(value: Any, wanted: int) -> list[float]:
    """A task's return value as ``wanted`` numbers; NoObjective where it is anything else. Several
    come in a list, a tuple, or an array or tensor of one dimension."""
    found = [number(one) for one in _members(value, wanted)]
    numbers = [one for one in found if one is not None]
    if len(numbers) != wanted or len(found) != wanted:
        raise NoObjective(
            f"The task returned {shown(value)}.",
            value=value,
            cure=f"Return {'a number' if wanted == 1 else f'{wanted} numbers'}: the objective.",
        )
    return numbers


def _members(value: Any, wanted: int) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    is_array = hasattr(value, "item") and isinstance(value, Sized)
    if wanted > 1 and is_array and getattr(value, "ndim", None) == 1:
        return list(value)
    return [value]


def shown(value: Any) -> str:
    text = " ".join(repr(value).split())  # a table has lines
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
