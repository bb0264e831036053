"""What a task returns and reports, as floats: a real number of any library's type.

The libraries are not imported. An array or a tensor of one element, on any device, gives its
value by ``item()``; everything else by ``__float__``.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from numbers import Complex, Real
from typing import Any

from sweepmore.errors import UserError

# The most characters of a value that a message shows: a whole table would bury the message.
LONGEST_SHOWN = 200
# What libraries raise where a value holds no number, or more than one.
REFUSALS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


class NoObjective(UserError):
    """A task gave something other than a number.

    That is a mistake in its program, which another trial would only repeat.
    """


def number(value: Any) -> float | None:
    """``value`` as a float, NaN and infinities included; None where it is not a real number.

    A text is not a number, even one that could be parsed: whoever returns it means something else.
    """
    try:
        if callable(item := getattr(value, "item", None)):
            value = item()  # ValueError or RuntimeError where it holds more than one
        if isinstance(value, Complex) and not isinstance(value, Real):
            return None  # NumPy's complex numbers convert to float and lose their imaginary part
        if not any(hasattr(type(value), name) for name in ("__float__", "__index__")):
            return None  # float() would read a text and bytes
        return float(value)
    except OverflowError:  # a whole number or a fraction beyond the largest float
        return math.inf if value > 0 else -math.inf
    except REFUSALS:
        return None


def reported(value: Any) -> float:
    """The value that a task reports, as a float. Raises NoObjective where it is not a number."""
    objective = number(value)
    if objective is None:
        cure = "Report a number: the objective so far."
        problem = f"The task reported {shown(value)}, which is not a number."
        raise NoObjective(problem, value=value, cure=cure)
    return objective


def returned(value: Any, wanted: int) -> list[float]:
    """A task's return value as ``wanted`` floats, one for each objective.

    Several come in a list, a tuple, or an array or tensor of one dimension. Raises NoObjective
    where it is anything else.
    """
    members = [number(member) for member in _members(value, wanted)]
    objectives = [member for member in members if member is not None]
    if len(objectives) != wanted or len(members) != wanted:
        expected = "a number" if wanted == 1 else f"{wanted} numbers"
        raise NoObjective(
            f"The task returned {shown(value)}, which is not {expected}.",
            value=value,
            cure=f"Return {expected}: the {'objective' if wanted == 1 else 'objectives'}.",
        )
    return objectives


def _members(value: Any, wanted: int) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    is_array = hasattr(value, "item") and isinstance(value, Sized)
    if wanted > 1 and is_array and getattr(value, "ndim", None) == 1:
        return list(value)
    return [value]


def shown(value: Any) -> str:
    """``value`` in one line for a message, cut after ``LONGEST_SHOWN`` characters."""
    text = " ".join(repr(value).split())  # a table has several lines
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
