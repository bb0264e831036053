"""Which values are numbers: any that a library calls one, and no text that looks like one."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from sweepmore.trial import SweepTrial
from sweepmore.values import NoObjective, number, returned


class Float:
    def __float__(self) -> float:
        return 2.5


class Refusing:
    def __float__(self) -> float:
        raise TypeError("not today")


NUMPY = [np.dtype(kind) for kind in "?bBhHiIlLqQefdg"]
TORCH = [torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float16, torch.float64]
NUMBERS: dict[str, tuple[Any, float]] = {
    "int": (3, 3.0),
    "bool": (True, 1.0),
    "float": (0.1, 0.1),
    "Decimal": (Decimal("1.25"), 1.25),
    "Fraction": (Fraction(1, 4), 0.25),
    "__float__": (Float(), 2.5),
    "0-d array": (np.array(2.5), 2.5),
    "array of one": (np.array([[2.5]]), 2.5),
    "array of one Decimal": (np.array([Decimal("1.5")]), 1.5),
    "tensor with grad": (torch.tensor(2.5, requires_grad=True) * 2, 5.0),
    "tensor of one": (torch.tensor([[2.5]]), 2.5),
    "too large": (10**400, math.inf),
    "too small": (Fraction(-(10**400), 3), -math.inf),
    "infinite": (np.float32(-math.inf), -math.inf),
    **{f"numpy {kind}": (kind.type(1), 1.0) for kind in NUMPY},
    **{str(kind): (torch.ones((), dtype=kind), 1.0) for kind in TORCH},
}
OTHERS: dict[str, Any] = {
    "None": None,
    "text": "1.0",
    "bytes": b"1.0",
    "bytearray": bytearray(b"1.0"),
    "memory": memoryview(b"1.0"),
    "complex": 1 + 0j,
    "complex64": np.complex64(1),
    "complex256": np.clongdouble(1),
    "complex tensor": torch.tensor(1 + 0j),
    "dict": {"loss": 1.0},
    "set": {1.0},
    "numpy text": np.str_("1.0"),
    "array of text": np.array("1.0"),
    "array of two": np.array([1.0, 2.0]),
    "empty array": np.array([]),
    "tensor of two": torch.ones(2),
    "tensor without data": torch.ones((), device="meta"),
    "array of None": np.array([None]),
    "object": object(),
    "a class": float,
    "refusing": Refusing(),
    "signalling NaN": Decimal("sNaN"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_real_number(name: str) -> None:
    value, expected = NUMBERS[name]
    found = number(value)
    assert type(found) is float
    assert found == expected
    assert returned(value, 1) == returned([value], 1) == [expected]


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_none(name: str) -> None:
    assert number(OTHERS[name]) is None
    with pytest.raises(NoObjective, match=r"(?s)The task returned .*\n  Return a number: the obj"):
        returned(OTHERS[name], 1)


def test_nan_is_a_number() -> None:
    for nan in (math.nan, np.float16("nan"), torch.tensor(math.nan), Decimal("NaN")):
        assert math.isnan(number(nan) or 0.0)


@pytest.mark.parametrize(
    "two",
    [(1, 2.5), [np.int8(1), Fraction(5, 2)], np.array([1, 2.5]), torch.tensor([1, 2.5]),
     torch.tensor([1, 2.5], requires_grad=True)],
)  # fmt: skip
def test_several(two: Any) -> None:
    assert returned(two, 2) == [1.0, 2.5]
    with pytest.raises(NoObjective, match="Return 3 numbers"):
        returned(two, 3)


@pytest.mark.parametrize("two", ["12", b"12", {1: 0, 2: 0}, [1, "2"], np.ones((2, 1)), None, 1.0])
def test_what_is_not_several(two: Any) -> None:
    with pytest.raises(NoObjective, match="Return 2 numbers"):
        returned(two, 2)


def test_a_message_holds_the_beginning_of_a_table() -> None:
    with pytest.raises(NoObjective) as error:
        returned(np.ones((40, 40)), 1)
    assert len(error.value.problem) < 250
    assert "\n" not in error.value.problem


def test_reports_are_converted_alike() -> None:
    told: list[tuple[int, float]] = []

    def tell(step: int, value: float) -> bool:
        told.append((step, value))
        return False

    trial = SweepTrial("s", 0, 0, "s-0", _report=tell)
    assert not trial.report(3, torch.tensor([0.5], requires_grad=True))
    assert told == [(3, 0.5)]
    assert type(told[0][1]) is float
    with pytest.raises(NoObjective, match=r"The task reported '0\.5'"):
        trial.report(4, "0.5")
