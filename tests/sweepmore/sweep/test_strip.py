"""The strip of a sweep's trials: one character a slot, whatever became of it."""

from __future__ import annotations

import pytest

from sweepmore.study.attempts import Attempt
from sweepmore.study.view import StudyView
from sweepmore.sweep.strip import kinds_of, legend, strip
from tests.support.attempts import attempt


def seen(*attempts: Attempt, objectives: int = 1) -> StudyView:
    return StudyView("s", ("minimize",) * objectives, attempts)


def marks(*attempts: Attempt, n_trials: int, width: int = 80) -> str:
    return strip(kinds_of(seen(*attempts)), n_trials, width).plain


EVERY_KIND = (
    attempt(0, 0, values=(2.0,)),
    attempt(1, 1, values=(1.0,)),
    attempt(2, 2, "PRUNED"),
    attempt(3, 3, "FAIL", reason="exception"),
    attempt(4, 4, values=(float("inf"),)),
    attempt(5, 5, "FAIL", reason="died", deaths=3),
    attempt(6, 6, "RUNNING"),
    attempt(7, 7, "WAITING"),
)


def test_every_kind_has_its_character() -> None:
    assert marks(*EVERY_KIND, n_trials=10) == "■★□×∞†▸···"


def test_the_legend_counts_what_is_not_complete() -> None:
    kinds = kinds_of(seen(*EVERY_KIND))
    words = "▸ 1 running  □ 1 pruned  × 1 failed  ∞ 1 diverged  † 1 given up"
    assert legend(kinds).plain == words
    assert legend(kinds, short=True).plain == "▸ 1  □ 1  × 1  ∞ 1  † 1"
    assert legend(kinds_of(seen(attempt(0, 0)))).plain == ""


def test_a_character_and_its_count_have_the_same_style() -> None:
    kinds = kinds_of(seen(*EVERY_KIND))
    cells = strip(kinds, 8, 80)
    in_strip = {cells.plain[span.start]: span.style for span in cells.spans}
    words = legend(kinds)
    in_legend = {words.plain[span.start]: span.style for span in words.spans}
    assert in_legend
    assert in_legend.items() <= in_strip.items()


def test_a_retried_trial_is_what_became_of_its_last_attempt() -> None:
    died = attempt(0, 0, "FAIL", reason="died")
    assert marks(died, attempt(1, 0, "RUNNING", nth=1), n_trials=2) == "▸·"
    assert marks(died, attempt(1, 0, "WAITING", nth=1), n_trials=2) == "··"
    assert marks(died, attempt(1, 0, nth=1), n_trials=2) == "★·"


def test_an_attempt_that_counts_is_not_hidden_by_a_later_one() -> None:
    again = attempt(1, 0, "FAIL", nth=1, reason="handed_back")
    assert marks(attempt(0, 0, "PRUNED"), again, n_trials=1) == "□"


def test_several_objectives_have_no_best() -> None:
    view = seen(attempt(0, 0, values=(1.0, 2.0)), objectives=2)
    assert strip(kinds_of(view), 2, 80).plain == "■·"


def test_more_trials_than_were_asked_for_are_shown() -> None:
    assert marks(attempt(0, 0), attempt(1, 1, "PRUNED"), n_trials=1) == "★□"


@pytest.mark.parametrize(
    ("begun", "shown"),
    [
        (0, "·········…"),
        (3, "□□□······…"),
        (9, "□□□□□□□□□…"),
        (10, "…□□□□□□□□□"),
        (20, "…□□□□□□□□□"),
    ],
)
def test_what_does_not_fit_are_the_oldest_trials(begun: int, shown: str) -> None:
    pruned = [attempt(slot, slot, "PRUNED") for slot in range(begun)]
    assert marks(*pruned, n_trials=20, width=10) == shown


def test_the_latest_trials_are_in_sight() -> None:
    trials = [attempt(slot, slot, "PRUNED") for slot in range(12)]
    trials += [attempt(12, 12, "RUNNING"), attempt(13, 13, "WAITING")]
    assert marks(*trials, n_trials=20, width=10) == "…□□□□□□□□▸"
