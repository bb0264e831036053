"""Intervals of two groups of runs, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweepmore.statistics.intervals import Interval, t_interval, unpaired


@pytest.mark.parametrize(("n_first", "n_second"), [(8, 8), (8, 5), (2, 12)])
def test_unpaired_is_welchs_interval(n_first: int, n_second: int) -> None:
    draw = np.random.default_rng(0)
    first, second = draw.normal(0, 1, n_first), draw.normal(0.3, 2, n_second)
    one, two = (t_interval(values.tolist()) for values in (first, second))
    told = unpaired(one, n_first, two, n_second)
    theirs = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (told.mean - told.half, told.mean + told.half) == pytest.approx(
        (theirs.low, theirs.high)
    )


def test_unpaired_without_spread_or_with_single_runs() -> None:
    exact = Interval(2.0, 0.0)
    assert unpaired(Interval(2.5, 0.0), 3, exact, 3) == Interval(0.5, 0.0)
    assert unpaired(Interval(2.5, math.inf), 1, exact, 3) == Interval(0.5, math.inf)
