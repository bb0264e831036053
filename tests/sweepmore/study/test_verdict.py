"""The sentence that a page begins with says no more than the study knows."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from sweepmore.study.verdict import found_in, verdict
from tests.support.made_studies import made_study, name_winner


def told(study: optuna.Study, *more: str) -> str:
    return verdict(found_in(study), *more)


def values(*each: float) -> list[tuple[list[float], dict[str, int]]]:
    """A trial for each value, of parameters 2, 3, 4 …"""
    return [([value], {"n": 2 + number}) for number, value in enumerate(each)]


class TestUnconfirmed:
    def test_one_run_each_is_partly_luck(self) -> None:
        text = "Trial 2 is the best of 3 at 1.0000, in one run, so partly by luck; "
        assert told(made_study(values(2.0, 1.5, 1.0))) == (
            f"{text}it is 1.0000 better than the first trial."
        )

    def test_without_a_seed_nothing_is_luck(self) -> None:
        study = made_study(values(1.0, 1.5), config={})
        assert told(study) == "Trial 0 is the best of 2 at 1.0000."

    def test_the_larger_is_better_where_it_is_maximized(self) -> None:
        study = made_study(values(1.0, 1.5), directions=["maximize"], config={})
        assert told(study) == (
            "Trial 1 is the best of 2 at 1.5000; it is 0.5000 better than the first trial."
        )

    def test_one_trial_is_the_best_of_nothing(self) -> None:
        assert told(made_study(values(2.0))) == "Trial 0 is the only complete one, at 2.0000."

    def test_edges_are_named_by_their_last_part(self) -> None:
        study = made_study([([1.0], {"n": 9}), ([2.0], {"n": 5})], config={})
        text = "Trial 0 is the best of 2 at 1.0000; n is at the edge of its range."
        assert told(study) == text

    def test_known_noise_says_how_many_are_tied(self) -> None:
        study = made_study(values(1.0, 1.01, 3.0), config={})
        study.set_user_attr("noise", 0.1)
        study.set_user_attr("noise_freedom", 7)
        assert "tied with 1 other within the noise" in told(study)

    def test_nothing_complete(self) -> None:
        rows = [(None, {"n": 2}), (None, {"n": 3})]
        states = {0: TrialState.FAIL, 1: TrialState.FAIL}
        assert told(made_study(rows, states=states)) == "No trial is complete: 2 failed."
        assert told(made_study([])) == "No trial is complete yet."

    def test_several_objectives_have_no_best(self) -> None:
        rows = [([1.0, 9.0], {"n": 2}), ([2.0, 3.0], {"n": 3}), ([3.0, 4.0], {"n": 4})]
        study = made_study(rows, directions=["minimize", "minimize"])
        assert told(study) == "2 of 3 trials are beaten by none in every objective."


class TestConfirmed:
    @pytest.mark.parametrize(
        ("start", "told_of"),
        [(2.5, "a real gain of 0.5000 over the first trial"),
         (2.01, "no clear gain over the first trial: 0.0100 ± 0.1118"),
         (1.5, "the first trial was 0.5000 better")],
    )  # fmt: skip
    def test_a_gain_is_real_beyond_its_interval(self, start: float, told_of: str) -> None:
        """± 0.05 over 4 seeds, of a difference to a single run: 0.05 √5 = 0.1118."""
        study = made_study(values(start, 1.9, 3.0))
        name_winner(study, 1, 2.0, 0.05, rows=[(1, 2.0, True), (0, start, False)])
        assert told(study) == (
            f"Trial 1 wins at 2.0000 ± 0.0500 over 4 final seeds, alone at the top; {told_of}."
        )

    def test_ties_and_what_the_application_adds(self) -> None:
        study = made_study(values(1.9, 1.95, 1.97))
        name_winner(study, 0, 2.0, 0.05, rows=[(0, 2.0, True), (1, 2.0, True), (2, 2.1, True)])
        assert told(study, "counting is still 0.0860 better") == (
            "Trial 0 wins at 2.0000 ± 0.0500 over 4 final seeds, tied with 2 others; counting is "
            "still 0.0860 better."
        )

    def test_a_single_configuration_is_tied_with_nobody(self) -> None:
        study = made_study(values(1.9, 1.95))
        name_winner(study, 0, 2.0, 0.05)
        assert told(study) == "Trial 0 wins at 2.0000 ± 0.0500 over 4 final seeds."
