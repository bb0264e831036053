"""The sparkline of a study's history, on studies whose values are known."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from sweepmore.study.view import StudyView
from sweepmore.sweep.sparkline import BLOCKS, drawn, history, told
from tests.support.attempts import attempt


def seen(values: Sequence[float], direction: str = "minimize") -> StudyView:
    trials = [attempt(number, number, values=(value,)) for number, value in enumerate(values)]
    return StudyView("s", (direction,), tuple(trials))


def blocks(values: Sequence[float], direction: str = "minimize", room: int = 80) -> str:
    prepared = history(seen(values, direction), room)
    assert prepared is not None
    return drawn(prepared).plain


def words(values: Sequence[float], direction: str = "minimize", room: int = 80) -> str:
    prepared = history(seen(values, direction), room)
    assert prepared is not None
    return told(prepared)


def test_the_height_is_the_value() -> None:
    assert blocks([8, 7, 6, 5, 4, 3, 2, 1]) == BLOCKS[::-1]
    assert blocks([1, 2, 3, 4, 5, 6, 7, 8], "maximize") == BLOCKS
    assert words([3.0, 1.0, 2.0]) == (
        "▁ 1.0000 · █ 2.5000 or worse; the best came after 2 of 3 trials"
    )


@pytest.mark.parametrize("outlier", [17.8, 1e9, 1e308])
def test_outliers_do_not_squash_the_others(outlier: float) -> None:
    good = [2.4, 2.3, 2.2, 2.25, 2.15, 2.1]
    assert len(set(blocks([*good, outlier]))) >= 5
    assert blocks([*good, outlier])[-1] == "█"
    assert "█ 2.4000 or worse" in words([*good, outlier])
    accuracies = [-value for value in good]
    assert blocks([*accuracies, -outlier], "maximize")[-1] == "▁"
    assert "▁ -2.4000 or worse" in words([*accuracies, -outlier], "maximize")


def test_a_quarter_of_bad_trials_leaves_two_thirds_of_the_height() -> None:
    drawing = random.Random(0)
    good = [2 + drawing.random() for _ in range(30)]
    bad = [drawing.uniform(10, 1000) for _ in range(10)]
    heights = {BLOCKS.index(block) for block in blocks([*good, *bad])[:30]}
    assert max(heights) >= 5
    assert min(heights) == 0


def test_values_over_decades_have_a_logarithmic_scale() -> None:
    assert blocks([1e13, 1e3, 1e-10, 1e-30, 1e-61]) == "█▇▆▄▁"
    assert blocks([1e-61, 1e-30, 1e-10, 1e3, 1e13], "maximize") == "▁▃▆▇█"
    assert blocks([-1e13, -1e3, -1e-10, -1e-30, -1e-61], "maximize") == "▁▂▃▅█"
    assert "▁ 1e-61" in words([1e13, 1e3, 1e-10, 1e-30, 1e-61])


@pytest.mark.parametrize("values", [[1.0] * 5, [0.0] * 3, [-1e308, 1e308, 0.0, 1e308]])
def test_equal_and_extreme_values_are_drawn(values: list[float]) -> None:
    assert len(blocks(values)) == len(values)


def test_mostly_equal_values_show_the_others() -> None:
    assert blocks([0.9, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0], "maximize") == "▇██▁████"


def test_a_long_study_is_binned_by_its_best() -> None:
    values = [2.0] * 1000
    values[500] = 1.0
    drawing = blocks(values, room=71)
    assert len(drawing) == math.ceil(1000 / 15)
    assert drawing.index("▁") == 500 // 15
    assert words(values, room=71).endswith(
        "a block is the best of 15 trials; the best came after 501 of 1,000 trials"
    )


def test_trials_that_beat_all_before_are_bold() -> None:
    prepared = history(seen([3, 4, 2, 2, 1]), 80)
    assert prepared is not None
    assert prepared.improved == (True, False, True, False, True)
    bold = [span.start for span in drawn(prepared).spans if "bold" in str(span.style)]
    assert bold == [0, 2, 4]


def test_trials_without_a_value_are_left_out() -> None:
    rest = [attempt(3, 3, "PRUNED"), attempt(4, 4, values=(math.inf,)), attempt(5, 5, "RUNNING")]
    view = seen([3, 2, 1])
    prepared = history(StudyView("s", view.directions, (*view.attempts, *rest)), 80)
    assert prepared is not None
    assert len(drawn(prepared).plain) == 3


def test_two_trials_and_two_objectives_have_no_history() -> None:
    assert history(seen([1, 2]), 80) is None
    trials = tuple(attempt(number, number, values=(1.0, 2.0)) for number in range(5))
    assert history(StudyView("s", ("minimize", "maximize"), trials), 80) is None
