"""Intervals of two groups of runs, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweepmore.statistics.intervals import Interval, resampled, t_interval, unpaired


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


def test_resampled_is_by_hand() -> None:
    """s² = 2.5, so the variance is 2.5 (1/5 + 1/8); the quantile of four degrees is 2.7764."""
    told = resampled([1, 2, 3, 4, 5], tested=1 / 8)
    assert told.mean == 3
    assert told.half == pytest.approx(2.776445 * math.sqrt(2.5 * (1 / 5 + 1 / 8)), rel=1e-6)
    assert resampled([1.0], 1 / 8).half == math.inf


def test_resampled_holds_where_splits_share_data() -> None:
    """Of 200 items drawn anew, each of five splits tests 20; Student's interval is too narrow."""
    random, held = np.random.default_rng(0), {"resampled": 0, "student": 0}
    for _ in range(400):
        items = random.normal(0, 1, 200)
        means = []
        for _ in range(5):
            order = random.permutation(200)
            # the model is the mean of train; its loss on test, whose expectation is 1 + 1/180
            model = items[order[20:]].mean()
            means.append(float(((items[order[:20]] - model) ** 2).mean()))
        for name, told in (
            ("resampled", resampled(means, 20 / 180)),
            ("student", t_interval(means)),
        ):
            held[name] += abs(told.mean - (1 + 1 / 180)) <= told.half
    assert held["student"] < 0.92 * 400 < held["resampled"]
