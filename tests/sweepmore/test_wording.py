"""How numbers and counts are written for people."""

from __future__ import annotations

import math
import re

import pytest

from sweepmore.wording import bounds, decimals, fitted, plural, plus_minus
from tests.support.helpers import ROOT


@pytest.mark.parametrize(
    ("value", "told"),
    [(2.10344, "2.1034"), (0.0051, "0.0051"), (-2.5, "-2.5000"), (0.0, "0.0000"),
     (99_999.9, "99999.9000"), (1e-58, "1e-58"), (1.23456e-58, "1.235e-58"), (1e13, "1e+13"),
     (-4.56789e-7, "-4.568e-07"), (123_456.7, "1.235e+05"), (math.inf, "inf"), (math.nan, "nan")],
)  # fmt: skip
def test_an_ordinary_value_has_four_decimals_any_other_four_digits(value: float, told: str) -> None:
    assert decimals(value) == told


@pytest.mark.parametrize(
    ("mean", "half", "told"),
    [(2.1, 0.0004, "2.1000 ± 0.0004"), (2.1, 3e-6, "2.1000 ± 3e-06"),
     (1e-58, 2e-59, "1e-58 ± 2e-59"), (1.2e13, 3.0, "1.2e+13 ± 3"), (0.0, 0.0, "0.0000 ± 0.0000"),
     (2.0, math.inf, "2.0000 ± inf"), (0.0002, 0.4, "0.0002 ± 0.4000")],
)  # fmt: skip
def test_a_mean_and_its_interval_share_a_scale(mean: float, half: float, told: str) -> None:
    assert plus_minus(mean, half) == told


def test_signs_places_and_bounds() -> None:
    assert decimals(0.25, sign="+") == "+0.2500"
    assert [decimals(value, places=3) for value in (2.1534, 0.0004)] == ["2.153", "0.0004"]
    assert bounds(2.1523, 2.13, 2.1701) == "2.1523 [2.1300, 2.1701]"
    assert bounds(0.0002, -0.001, 0.003, sign="+") == "+0.0002 [-0.0010, +0.0030]"
    assert bounds(1e13, 9e12, 1.1e13) == "1e+13 [9e+12, 1.1e+13]"


def test_one_is_one() -> None:
    told = [plural(number, "trial") for number in (0, 1, 2, 1000)]
    assert told == ["0 trials", "1 trial", "2 trials", "1,000 trials"]
    assert plural(2, "retry", "retries") == "2 retries"


def test_no_other_place_writes_four_decimals() -> None:
    """Of an objective or anything else: it would say 0.0000 of 1e-58."""
    files = [*ROOT.glob("*.py"), *(ROOT / "src").rglob("*.py")]
    found = [path.name for path in files if re.search(r"\.4f\}", path.read_text())]
    assert found == []


class TestFitted:
    LINE = "split    train 23,406 · dev 2,926 · test 2,926 lines; 170,536 and 21,354 examples"

    @pytest.fixture
    def terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    @pytest.mark.parametrize("columns", [20, 40, 80, 200])
    @pytest.mark.usefixtures("terminal")
    def test_breaks_between_words_below_the_text(
        self, columns: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        first, *rest = fitted(self.LINE).splitlines()
        assert all(len(line) <= columns for line in (first, *rest))
        assert all(line.startswith(" " * 9) and line[9] != " " for line in rest)
        assert " ".join([first, *(line.strip() for line in rest)]) == self.LINE
        assert bool(rest) is (columns <= 80)

    def test_is_one_line_without_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "20")
        assert fitted(self.LINE) == self.LINE
