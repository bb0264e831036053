"""Who wins, and how surely: intervals, ties and bias on known data; the command on a plain app."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial
from optuna_dashboard import get_note
from scipy import stats

from benchmarks import truth
from nplm.app.additions import additions
from sweepmore.confirm import winner
from sweepmore.confirm.confirmation import Trainer, settle
from sweepmore.confirm.printing import print_outcome, standing, told_apart
from sweepmore.confirm.retrain import Plan
from sweepmore.confirm.rounds import rounds, shared_seeds, told_unconfirmed, unconfirmed
from sweepmore.confirm.winner import Candidate, Outcome, confirm, fresh_seeds
from sweepmore.errors import StudyError
from sweepmore.report.additions import Additions
from sweepmore.report.lists import list_studies
from sweepmore.report.study import read_study
from sweepmore.report.study_page import study_page
from sweepmore.report.upload import folders_of
from sweepmore.runs.places import Place
from sweepmore.statistics import intervals
from sweepmore.statistics.intervals import Interval, Noise, t_interval
from sweepmore.study.attributes import FinalSeeds, Winner, WinnerRow, store, stored
from sweepmore.study.noise import known_noise
from sweepmore.study.view import view
from sweepmore.study.winners import TESTED_BEFORE, contradicted
from sweepmore.sweep.note import write_note
from sweepmore.wording import decimals, plus_minus
from tests.support.helpers import ROOT, call_command, environment
from tests.support.sweep_apps import PATIENCE, App, until

# Student's t at 97.5 %, from a printed table (to three digits): degrees of freedom → quantile.
TABLE = {1: 12.706, 2: 4.303, 4: 2.776, 7: 2.365, 9: 2.262, 30: 2.042}

PLACE = Place(Path("/elsewhere"))


def candidate(
    *values: float, root: int = 0, cost: tuple[float, float] = (0, 0), searched: float = 0.0
) -> Candidate:
    return Candidate(root, {"x": root}, searched, values, cost)


class TestInterval:
    @pytest.mark.parametrize("freedom", TABLE)
    def test_against_a_printed_table(self, freedom: int) -> None:
        values = [1.0, -1.0] * freedom
        values = values[: freedom + 1]
        found = t_interval(values)
        error = statistics.stdev(values) / math.sqrt(freedom + 1)
        assert found.mean == pytest.approx(statistics.fmean(values))
        assert found.half == pytest.approx(TABLE[freedom] * error, rel=3e-4)

    def test_by_hand(self) -> None:
        """2.1 2.3 2.2 2.6: mean 2.3, sd √(0.14/3), t(3) 3.182."""
        found = t_interval([2.1, 2.3, 2.2, 2.6])
        assert found.mean == pytest.approx(2.3)
        assert found.half == pytest.approx(3.182 * math.sqrt(0.14 / 3) / 2, rel=1e-3)

    @pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
    def test_against_scipy(self, level: float) -> None:
        values = np.random.default_rng(0).normal(size=8)
        low, high = stats.t.interval(level, 7, values.mean(), stats.sem(values))
        found = t_interval(list(values), level)
        assert found.mean - found.half == pytest.approx(low)
        assert found.mean + found.half == pytest.approx(high)

    def test_one_value_tells_nothing(self) -> None:
        assert t_interval([1.0]) == Interval(1.0, math.inf)
        assert t_interval([1.0]).includes_zero

    @pytest.mark.parametrize(
        ("mean", "half", "includes"), [(1, 2, True), (-1, 1, True), (1, 0.5, False), (0, 0, True)]
    )
    def test_includes_zero(self, mean: float, half: float, includes: bool) -> None:
        assert Interval(mean, half).includes_zero is includes

    def test_smallest_difference_is_that_of_a_two_sample_test(self) -> None:
        """8 and 8 values of standard deviation 1: t(14) = 2.145 standard errors √(2/8)."""
        assert intervals.smallest_difference(1.0, 8) == pytest.approx(2.145 * 0.5, rel=1e-3)


class TestTies:
    def test_paired_differences_decide_not_overlapping_intervals(self) -> None:
        """Seeds differ by far more than configurations, and by the same for both."""
        seeds = np.array([2.0, 2.4, 1.9, 2.6, 2.2])
        best = candidate(*seeds, root=1)
        worse = candidate(*np.add(seeds, [0.011, 0.009, 0.010, 0.012, 0.008]), root=2)
        found = confirm([worse, best])
        assert [row.candidate.root for row in found.rows] == [1, 2]
        row = found.rows[1]
        assert row.difference.mean == pytest.approx(0.010)
        # sd of the gaps √(1e-5/4), t(4) 2.776
        assert row.difference.half == pytest.approx(2.776 * math.sqrt(2.5e-6 / 5), rel=1e-3)
        assert not row.tied
        assert row.interval.half > 0.3

    def test_the_level_is_that_of_all_differences_together(self) -> None:
        """Tukey's, seeds as blocks: noise is what is left of a least-squares fit of 5 + 8 means."""
        values = np.random.default_rng(4).normal(0, 1, (5, 8)) + 3 * np.arange(8)
        found = confirm([candidate(*row, root=k) for k, row in enumerate(values)])
        rows, seeds = np.divmod(np.arange(40), 8)
        of_both = [rows[:, None] == np.arange(5), seeds[:, None] == np.arange(8)]
        design = np.hstack(of_both).astype(float)
        fit = np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
        left = float(((values.ravel() - design @ fit) ** 2).sum())
        quantile = stats.studentized_range.ppf(0.95, 5, 4 * 7)
        half = quantile * math.sqrt(left / (4 * 7) / 8)
        assert [row.difference.half for row in found.rows] == pytest.approx([half] * 5)

    def test_two_are_compared_by_the_paired_t_interval(self) -> None:
        values = np.random.default_rng(5).normal(0, 1, (2, 6))
        (_, other) = confirm([candidate(*row, root=k) for k, row in enumerate(values)]).rows
        assert other.difference.half == pytest.approx(t_interval(list(values[0] - values[1])).half)

    def test_the_same_values_are_tied(self) -> None:
        found = confirm([candidate(1, 2, 3, root=0), candidate(1, 2, 3, root=1)])
        assert [row.tied for row in found.rows] == [True, True]

    def test_a_constant_gap_is_none(self) -> None:
        found = confirm([candidate(1, 2, 3, root=0), candidate(2, 3, 4, root=1)])
        assert [row.tied for row in found.rows] == [True, False]

    def test_alone(self) -> None:
        found = confirm([candidate(1, 2)])
        assert (found.winner.values, len(found.tied)) == ((1, 2), 1)


class TestWinner:
    """Three that cannot be told apart, and a far worse one that is the simplest of all."""

    NOISE = (0.0, 0.3, -0.2, 0.1)

    def pick(self, *costs: tuple[float, float], maximize: bool = False) -> int:
        sign = -1 if maximize else 1
        means = (2.0, 2.01, 2.02)
        tied = [
            candidate(*(sign * (m + e) for e in np.roll(self.NOISE, k)), root=k, cost=cost)
            for k, (m, cost) in enumerate(zip(means, costs, strict=True))
        ]
        worse = candidate(*(sign * (9.0 + e) for e in self.NOISE), root=9)
        found = confirm([worse, *reversed(tied)], sign)
        assert [row.tied for row in found.rows] == [True, True, True, False]
        assert [row.candidate.root for row in found.rows] == [0, 1, 2, 9]
        return found.winner.root

    def test_fewest_parameters_first(self) -> None:
        assert self.pick((300, 1), (200, 9), (100, 9)) == 2

    def test_then_fewest_steps(self) -> None:
        assert self.pick((100, 9), (100, 5), (100, 7)) == 1

    @pytest.mark.parametrize("maximize", [False, True])
    def test_then_the_best_mean(self, maximize: bool) -> None:
        assert self.pick((100, 5), (100, 5), (100, 5), maximize=maximize) == 0

    def test_maximize_ranks_the_other_way(self) -> None:
        gaps = np.array([0.0, 0.01, -0.01])
        low, high = candidate(*(1 + gaps), root=1), candidate(*(2 - gaps), root=2)
        assert confirm([low, high]).winner is low
        found = confirm([low, high], sign=-1.0)
        assert found.winner is high
        assert found.rows[1].difference.mean > 0  # how much worse, in both directions

    @pytest.mark.parametrize(
        ("values", "median"),
        [((3.0, 1.0, 2.0), 2), ((4.0, 1.0, 3.0, 2.0), 3), ((1.0, 1.0), 0), ((5.0,), 0)],
    )
    def test_lower_median_seed(self, values: tuple[float, ...], median: int) -> None:
        assert candidate(*values).median_seed == median

    def test_bias_is_promised_less_confirmed(self) -> None:
        assert candidate(2.1, 2.3, searched=2.0).bias == pytest.approx(-0.2)


class TestTold:
    """What sweepmore confirm says of a table."""

    @pytest.mark.parametrize(
        ("mean", "half", "shown"),
        [
            (0.0048, 0.0054, "+0.0048 ± 0.0054"),
            (0.00124, 0.00116, "+0.00124 ± 0.00116"),
            (0.00116, 0.00124, "+0.0012 ± 0.0012"),
            (0.001241, 0.001239, "+0.001241 ± 0.001239"),
            (-0.5, 0.25, "-0.5000 ± 0.2500"),
        ],
    )
    def test_digits_show_whether_zero_is_inside(self, mean: float, half: float, shown: str) -> None:
        interval = Interval(mean, half)
        assert told_apart(interval) == shown
        told = [float(word) for word in shown.split(" ± ")]
        assert (abs(told[0]) <= told[1]) == interval.includes_zero

    @pytest.mark.parametrize(
        ("costs", "told"),
        [
            ([(9, 1), (9, 1)], "the best of 2 tied, equally large"),
            ([(0, 0), (0, 0)], "the best of 2 tied"),
            ([(9, 1), (8, 1)], "the simplest of 2 tied"),
            ([(9, 1)], "alone at the top"),
        ],
    )
    def test_why_the_winner_won(self, costs: list[tuple[float, float]], told: str) -> None:
        tied = [candidate(1, 2, 3, root=k, cost=cost) for k, cost in enumerate(costs)]
        assert standing(confirm(tied)) == told

    def test_losses_fit_80_columns(self, capsys: pytest.CaptureFixture[str]) -> None:
        losses = np.random.default_rng(0).normal(2.13, 0.003, (5, 8))
        rows = [candidate(*row, root=k, cost=(1_234_567, 500), searched=2.1)
                for k, row in enumerate(losses)]  # fmt: skip
        confirmation = confirm(rows)
        final = replace(confirmation.winner, values=tuple(losses[0] + 0.001))
        record = {"seeds": 8, "seed": 2**31 - 1, "run": "run", "mean": 2.13, "half_width": 0.0025}
        record["final"] = {"seeds": list(range(8)), "values": list(final.values)}
        print_outcome(Outcome(confirmation, final, tuple(range(8))), Winner.read(record))
        lines = capsys.readouterr().out.splitlines()
        assert sum(line.split()[-2:-1] == ["1,234,567"] for line in lines) == 5
        assert max(len(line) for line in lines if "seed 21474" not in line) <= 80
        report = "report   2.1300 ± 0.0025 (95 %), over 8 final seeds, which did not choose it"
        assert report in lines


class TestSimulations:
    """Five candidates, eight fresh seeds; the search promises the best of 20 noisy trials."""

    SD, SEED_SD = 0.01, 0.03  # of one run about its configuration; what a seed gives to all

    def study(self, random: np.random.Generator, means: tuple[float, ...]) -> list[Candidate]:
        shared = random.normal(0, self.SEED_SD, 8)
        found = []
        for root, mean in enumerate(means):
            values = mean + shared + random.normal(0, self.SD, 8)
            promised = (mean + random.normal(0, self.SD, 20)).min()
            found.append(
                candidate(*values, root=root, cost=(100.0 * (root + 1), 0), searched=promised)
            )
        return found

    def test_pure_noise_yields_no_improvement_on_the_simplest(self) -> None:
        random = np.random.default_rng(0)
        winners = Counter(confirm(self.study(random, (2.0,) * 5)).winner.root for _ in range(100))
        assert winners[0] >= 90

    def test_a_gap_of_three_standard_deviations_is_found(self) -> None:
        random = np.random.default_rng(1)
        means = (2.0, 2.0, 2.0, 2.0 - 3 * self.SD, 2.0)
        winners = Counter(confirm(self.study(random, means)).winner.root for _ in range(100))
        assert winners[3] >= 90

    def test_the_search_is_optimistic_by_the_expected_minimum(self) -> None:
        """Of 20 standard normal draws the least is -1.867 on average."""
        random = np.random.default_rng(2)
        biases = [c.bias for _ in range(200) for c in self.study(random, (2.0,) * 5)]
        assert np.mean(biases) == pytest.approx(-1.867 * self.SD, rel=0.1)


class TestTruth:
    """benchmarks/truth.py in small: 4,000 studies in which nothing is better."""

    def test_the_best_of_twenty_was_not_what_its_interval_said(self) -> None:
        """Standard errors of these shares: 0.7, 0.4, 0.6 and 0.3 points."""
        before, now = truth.simulate(20, 8, truth.normal, studies=4_000)
        assert before.holds == pytest.approx(0.69, abs=0.03)
        assert now.holds == pytest.approx(0.95, abs=0.015)
        assert before.worse == pytest.approx(0.18, abs=0.03)
        assert now.worse == pytest.approx(0.05, abs=0.015)
        assert before.gain > 0.05 > now.gain
        assert now.finds > before.finds

    def test_a_sweep_of_noise_tells_few_apart(self) -> None:
        """Of 40 equal trials some two differ by more than the least difference in 5 %."""
        random = np.random.default_rng(0)
        trials = random.normal(0, 0.01, (2_000, 40))
        deviations = random.normal(0, 0.01, (2_000, 5, 4)).std(-1, ddof=1)
        noise = [Noise(float(np.sqrt((one**2).mean())), 15) for one in deviations]
        ranges = np.ptp(trials, axis=1)
        apart = [intervals.told_apart_from(one, 40, 1) < width for one, width in zip(noise, ranges)]
        assert np.mean(apart) == pytest.approx(0.05, abs=0.015)
        assert (
            intervals.told_apart_from(noise[0], 40, 4)
            == intervals.told_apart_from(noise[0], 40, 1) / 2
        )


def searched(
    *values: float, direction: Literal["minimize", "maximize"] = "minimize"
) -> optuna.Study:
    """A study of one trial a value, of parameters 0, 1, 2 …"""
    study = optuna.create_study(study_name="s", direction=direction)
    study.set_user_attr("question", {"space": {}, "config": {}, "identity": None})
    study.set_user_attr("command", {"script": ["app.py"], "fixed": [], "hydra": [], "words": []})
    go_on(study, *values)
    return study


def go_on(study: optuna.Study, *values: float, x: float | None = None) -> None:
    one: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 99)}
    for value in values:
        at = len(study.trials)
        study.add_trial(create_trial(
            value=value, params={"x": float(at) if x is None else x}, distributions=one,
            user_attrs={"slot": at, "root": at, "folder": "gone"},
        ))  # fmt: skip


def name_winner(study: optuna.Study, top: int, roots: list[int], **record: Any) -> None:
    """As sweepmore confirm does: its first round was of the best two."""
    plan = {"top": 2, "roots": [0, 1], "seeds": [1, 2, 3], "seed_key": "seed"}
    study.set_user_attr("plan.confirm", plan)
    confirmed = optuna.create_study(
        study_name="s.confirm", storage=study._storage, load_if_exists=True
    )
    row = {"trial": 0, "params": {"x": 0.0}, "searched": 1.0, "mean": 1.1, "half_width": 0.2}
    known: Mapping[str, Any] = {"top": top, "roots": roots, "rows": [{**row, "tied": True}] * 2}
    final = {"seeds": [4, 5, 6], "values": [1.0, 1.1, 1.2]}
    confirmed.set_user_attr("winner", {**row, "selection_bias": -0.1, "run": "gone", "seeds": 3,
                                       "final": final, **known, **record})  # fmt: skip


class TestFoundSince:
    """Trials 0 and 1 were confirmed, and 0 with 1.0 in the search won."""

    def test_what_looks_better_and_is_in_no_round(self) -> None:
        study = searched(1.0, 1.5, 2.0)
        name_winner(study, 5, [0, 1])
        assert unconfirmed(study) == []  # the third is of the best five, but looks worse
        go_on(study, 0.9)
        assert told_unconfirmed(unconfirmed(study)) == "1 trial looks better and is not confirmed"
        go_on(study, 0.8, 1.2, 0.7)
        assert [attempt.root for attempt in unconfirmed(study)] == [6, 4, 3]
        told = "3 trials look better and are not confirmed"
        assert told_unconfirmed(unconfirmed(study)) == told
        name_winner(study, 5, [0, 1, 3, 4, 6])
        assert unconfirmed(study) == []

    def test_no_more_than_are_asked_for_are_missed(self) -> None:
        study = searched(1.0, 1.5, 0.9, 0.8, 0.7)
        name_winner(study, 2, [0, 1])
        assert [attempt.root for attempt in unconfirmed(study)] == [4, 3]

    def test_the_same_parameters_again_are_nothing_new(self) -> None:
        study = searched(1.0, 1.5)
        name_winner(study, 2, [0, 1])
        go_on(study, 0.5, x=0.0)
        assert unconfirmed(study) == []

    def test_where_more_is_better(self) -> None:
        study = searched(1.0, 0.5, direction="maximize")
        name_winner(study, 2, [0, 1])
        go_on(study, 0.9, 1.1)
        assert [attempt.root for attempt in unconfirmed(study)] == [3]

    def test_without_a_winner_nothing_is_stale(self) -> None:
        study = searched(1.0, 1.5)
        assert unconfirmed(study) == []

    def test_a_record_from_before_there_were_rounds(self) -> None:
        study = searched(1.0, 1.5)
        name_winner(study, 2, [0, 1], final=None)
        confirmed = optuna.load_study(study_name="s.confirm", storage=study._storage)
        record = confirmed.user_attrs["winner"]
        old = {key: one for key, one in record.items() if key not in ("top", "roots", "final")}
        confirmed.set_user_attr("winner", old)
        go_on(study, 0.9)
        assert [attempt.root for attempt in unconfirmed(study)] == [2]
        page = study_page(read_study(study, Additions(), PLACE), Additions())
        over = "3 fresh seeds, which also chose it among 2: sweepmore confirm adds final ones"
        assert dict(page.facts)["confirmed"] == f"1.1000 ± 0.2000 (95 %, over {over})"
        (section,) = [one for one in page.sections if one.title == "What fresh seeds say"]
        assert "trained again with the same 3 fresh seeds, which chose" in section.text
        assert "0.1000 better than the 3 fresh seeds give" in section.text
        assert "final" not in section.text

    def test_of_a_single_configuration_fresh_seeds_chose_nothing(self) -> None:
        study = searched(1.0)
        name_winner(study, 1, [0], final=None)
        confirmed = optuna.load_study(study_name="s.confirm", storage=study._storage)
        record = confirmed.user_attrs["winner"]
        confirmed.set_user_attr("winner", {**record, "rows": record["rows"][:1]})
        page = study_page(read_study(study, Additions(), PLACE), Additions())
        assert dict(page.facts)["confirmed"] == "1.1000 ± 0.2000 (95 %, over 3 fresh seeds)"
        (text,) = [one.text for one in page.sections if one.title == "What fresh seeds say"]
        assert text.startswith("The best was trained again with 3 fresh seeds; nothing was chosen")

    @pytest.mark.parametrize(
        ("final", "over"),
        [({"seeds": [4, 5, 6]}, "final seeds)"),
         (None, "fresh seeds, which also chose it among 2: sweepmore confirm adds final ones)")],
    )  # fmt: skip
    def test_the_dashboards_note_says_which_seeds_gave_the_number(
        self, final: Mapping[str, Any] | None, over: str
    ) -> None:
        study = searched(1.0, 1.5)
        name_winner(study, 2, [0, 1], final=final)
        write_note(study)
        note = get_note(study)
        assert note.startswith("**Trial 0 wins at 1.1000 ± 0.2000 over 3 ")
        assert f"\n**Winner**: `x=0`, 1.1000 ± 0.2000 (95 %, over 3 {over}\n" in note

    def test_the_page_says_it_and_asks_for_the_round_first(self) -> None:
        study = searched(1.0, 1.5)
        name_winner(study, 2, [0, 1])
        ours = additions(ROOT, None).recorded()
        page = study_page(read_study(study, ours, PLACE), ours)
        assert page.commands[0][1] == "python evaluate_test.py study=s outputs=/elsewhere"
        number = "1.1000 ± 0.2000 (95 %, over 3 final seeds)"
        assert dict(page.facts)["confirmed"] == number
        title = "What fresh and final seeds say"
        (section,) = [one for one in page.sections if one.title == title]
        assert "trained again with the same 3 fresh seeds, which chose" in section.text
        assert "with 3 final seeds, which did not choose it" in section.text
        assert f"the number to report: {number}. The search" in section.text
        told = "0.1000 better than the 3 final seeds give"
        assert section.text.endswith(f"{told}. {intervals.HOLDS}")
        assert section.tables[0].head[2] == "mean of 3 fresh seeds"
        go_on(study, 0.9)
        page = study_page(read_study(study, ours, PLACE), ours)
        assert page.warnings[0] == "1 trial looks better and is not confirmed"
        assert page.commands[0][1] == "sweepmore confirm s --outputs /elsewhere"
        assert not any("evaluate_test" in command for _, command in page.commands)


class TestContradicted:
    """The fresh seeds that chose the winner gave 1.1 ± 0.2; see ``name_winner``."""

    def record(self, mean: float, half: float) -> Winner:
        row = WinnerRow(trial=0, params={}, searched=1.0, mean=1.1, half_width=0.2, tied=True)
        final = FinalSeeds((4, 5, 6), (1.0, 1.1, 1.2))
        return Winner(
            Path(), trial=0, rows=(row, row), seeds=3, final=final, mean=mean, half_width=half
        )

    @pytest.mark.parametrize(
        ("mean", "half", "sign", "warned"),
        [(1.6, 0.2, 1, True), (1.6, 0.2, -1, False), (0.6, 0.2, 1, False), (0.6, 0.2, -1, True),
         (1.25, 0.2, 1, False), (1.6, 1.0, 1, False)],
    )  # fmt: skip
    def test_a_worse_final_mean_is_told_beyond_chance(
        self, mean: float, half: float, sign: float, warned: bool
    ) -> None:
        assert bool(contradicted(self.record(mean, half), sign)) is warned

    def test_without_final_seeds_nothing_is(self) -> None:
        assert not contradicted(replace(self.record(9.0, 0.1), final=None), 1)


class TestKnownNoise:
    def test_repeats_are_pooled_by_their_freedom(self) -> None:
        """Variances 1 (of 2 runs) and 4 (of 5 runs): (1·1 + 4·4) / 5."""
        study = optuna.create_study(study_name="s")
        for slot, (std, runs) in enumerate([(1.0, 2), (2.0, 5)]):
            attrs = {"slot": slot, "std": std, "repeats": [0.0] * runs}
            study.add_trial(create_trial(value=slot, user_attrs=attrs))
        assert known_noise(study) == Noise(math.sqrt(17 / 5), 5)

    def test_one_run_each_says_nothing_until_it_was_measured(self) -> None:
        study = searched(1.0, 1.5)
        assert known_noise(study) is None
        study.set_user_attr("noise", 0.5)
        assert known_noise(study) == Noise(0.5, 7)
        study.set_user_attr("noise_freedom", 3)
        assert known_noise(study) == Noise(0.5, 3)
        confirmed = optuna.create_study(study_name="s.confirm", storage=study._storage)
        attrs = {"slot": 0, "std": 0.25, "repeats": [1.0, 1.0, 1.0]}
        confirmed.add_trial(create_trial(value=1.0, user_attrs=attrs))
        assert known_noise(study) == Noise(0.25, 2)


class TestSharedSeeds:
    """Final seeds are each study's own, so only single configurations are paired."""

    def test_a_confirmation_of_several_configurations_shares_none(self) -> None:
        study = searched(1.0, 1.5)
        name_winner(study, 2, [0, 1])
        with pytest.raises(StudyError, match=r"s\.confirm has several configurations"):
            shared_seeds(study, searched(2.0), "seed")

    def test_a_second_round_is_refused(self) -> None:
        study = searched(1.0, 1.5)
        study.set_user_attr("uid", "a1b2c3")
        first = rounds(study, 1, 3, "seed", (1, 2, 3))
        optuna.create_study(study_name="s.confirm", storage=study._storage)
        assert rounds(study, 1, 3, "seed", (1, 2, 3)) == first
        assert shared_seeds(study, searched(2.0), "seed") == (1, 2, 3)
        go_on(study, 0.9)
        with pytest.raises(StudyError, match="s has a better trial since: among several"):
            rounds(study, 1, 3, "seed", (1, 2, 3))
        assert [plan.roots for plan in rounds(study, 1, 3, "seed")] == [(0,), (2,)]


class TestFreshSeeds:
    def test_depend_on_the_study_alone(self) -> None:
        assert fresh_seeds("a1b2c3", 8, []) == fresh_seeds("a1b2c3", 8, [])
        assert fresh_seeds("a1b2c3", 8, []) != fresh_seeds("a1b2c4", 8, [])
        assert fresh_seeds("a1b2c3", 12, [])[:8] == fresh_seeds("a1b2c3", 8, [])

    def test_are_distinct_and_unused(self) -> None:
        first = fresh_seeds("a1b2c3", 8, [])
        found = fresh_seeds("a1b2c3", 8, first[:3])
        assert not {*found} & {*first[:3]}
        assert found[:5] == first[3:]
        assert len({*fresh_seeds("0", 1000, [])}) == 1000


# sweepmore confirm, on the sweeper's test application: no model, no torch.


def confirming(app: App, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sweepmore", "confirm", *words],
        cwd=app.folder,
        env=environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def confirmed(app: App, *words: str, code: int = 0) -> str:
    process = confirming(app, *words)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, out + err
    return out + err


def refused(app: App, *words: str) -> str:
    """Without a process of its own: nothing is trained."""
    done = call_command("confirm", f"--outputs={app.folder / 'outputs'}", *words)
    assert done.returncode == 2, done
    return done.stderr


def winner_of(app: App, name: str = "s") -> dict[str, Any]:
    path = app.folder / "outputs" / "studies" / f"{name}.confirm" / "winner.json"
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    assert found == stored(app.study(f"{name}.confirm"))["winner"]
    return found


@pytest.mark.system
class TestConfirm:
    def test_trains_the_best_again_with_the_same_fresh_seeds(self, app: App) -> None:
        """From the study's own sources, whatever the files say by now."""
        app.ok("does=noisy", "x=3,0.5,1.5", "seed=7", ":study_name=s")
        config = app.folder / "conf" / "config.yaml"
        config.write_text(config.read_text().replace("y: 1\n", "y: 100\n"))
        out = confirmed(app, "s", "--top=2", "--seeds=3")
        rows = app.seen()[3:]
        by_x = {x: [row["seed"] for row in rows if row["x"] == x] for x in ("0.5", "1.5", "3")}
        final = by_x["0.5"][3:]  # the winner's, after all others
        assert by_x["0.5"][:3] == by_x["1.5"]
        assert (len({*by_x["0.5"]}), by_x["3"]) == (6, [])
        assert 7 not in by_x["0.5"]
        assert {row["y"] for row in rows} == {"1"}
        found = winner_of(app)
        assert found["params"] == {"x": 0.5}
        assert found["tied"] == 1  # the seeds' own effect is the same for both
        assert found["seed"] == sorted(final)[1]
        assert found["run"].endswith(f"s.confirm-final/0000/{final.index(found['seed'])}")
        assert found["final"]["seeds"] == final
        assert found["mean"] == pytest.approx(0.5 + 0.001 * statistics.fmean(final))
        assert found["half_width"] == pytest.approx(t_interval(found["final"]["values"]).half)
        assert found["selection_bias"] == pytest.approx(0.507 - found["mean"])
        assert "+1.0000 ± 0.0000  worse" in out
        assert "winner   x=0.5 (alone at the top)" in out
        assert "s.confirm: 2 configurations × 3 fresh seeds, 6 runs" in out
        assert "s.confirm-final: the winner × 3 final seeds, 3 runs" in out
        assert f"report   {plus_minus(found['mean'], found['half_width'])} (95 %), over 3" in out
        assert re.search(r"budget +2 trials \(all known; 3 runs each, .*; 6 runs in all\)", out)
        gap = found["selection_bias"]
        better = "better" if gap < 0 else "worse"
        told = f"the search showed {decimals(0.507)}: {decimals(abs(gap), 0.507)} {better}"
        assert told in out
        assert f"folder   {Path(found['run']).relative_to(app.folder)}" in out
        # by their numbers in the search: the second (x=0.5) and the third
        marks = [line.split()[:2] for line in out.splitlines() if re.match(r"[→ ] +\d+ +\d", line)]
        assert marks == [["→", "1"], ["2", "1.5070"]]

    def test_the_same_command_goes_on_and_other_seeds_are_refused(self, app: App) -> None:
        app.ok("does=noisy", "x=1,2,3", ":study_name=s")
        first = confirmed(app, "s", "--top=2", "--seeds=2")
        rows = app.seen()
        again = confirmed(app, "last")  # which is s, not s.confirm; with two seeds, as it began
        assert app.seen() == rows
        assert first[first.index("\nconfirmed:") :] == again[again.index("\nconfirmed:") :]
        told = refused(app, "s", "--top=2", "--seeds=3")
        assert "s.confirm has begun with seeds=2 seed_key=seed" in told

    def test_two_studies_are_paired_by_the_seeds_of_one(self, app: App) -> None:
        for name, x in (("a", 1), ("b", 2)):
            app.ok("does=noisy", f"x={x}", f":study_name={name}")
        told = refused(app, "b", "--top=1", "--seeds-of=a")
        assert "a has no confirmation" in told
        confirmed(app, "a", "--top=1", "--seeds=3")
        for words in (("--seeds=4",), ("--noise",)):
            assert f"{' '.join(words).replace('=', ' ')} does not go with --seeds-of a" in refused(
                app, "b", "--top=1", "--seeds-of=a", *words
            )
        told = refused(app, "b", "--top=2", "--seeds-of=a")
        assert "--top 2 does not go with --seeds-of a: among several, the winner is" in told
        out = confirmed(app, "b", "--top=1", "--seeds-of=a")
        assert "b.confirm: 1 configuration × 3 fresh seeds" in out
        seeds = [row["seed"] for row in app.seen()[2:]]
        assert seeds[:3] == seeds[3:]
        assert winner_of(app, "b")["mean"] - winner_of(app, "a")["mean"] == pytest.approx(1.0)
        # the same again is read; seeds that are taken, or were begun with, are not exchanged
        assert confirmed(app, "b", "--seeds-of=a").endswith(out[out.index("\nconfirmed:") :])
        app.ok("does=noisy", "x=3", f"seed={seeds[1]}", ":study_name=c")
        assert f"c ran with seed {seeds[1]} of a.confirm" in refused(app, "c", "--seeds-of=a")
        app.ok("does=noisy", "x=4", ":study_name=d")
        confirmed(app, "d", "--top=1", "--seeds=3")
        assert "d.confirm has begun with seeds=3" in refused(app, "d", "--seeds-of=a")

    def test_another_round(self, app: App) -> None:
        """Of what the search finds later, and of a larger top: into the same confirmation."""
        words = ("does=noisy", "x=interval(0,4)", ":study_name=s",
                 ":enqueue=[{x:3.0},{x:2.0},{x:3.5},{x:1.0},{x:0.5}]")  # fmt: skip
        app.ok(*words, ":n_trials=3")
        confirmed(app, "s", "--top=2", "--seeds=2")
        first = winner_of(app)
        assert (first["params"], first["rounds"]) == ({"x": 2.0}, 1)
        looked = app.study("s.confirm")
        store(looked, test={"look": 1})  # by a version that kept no run
        shown = app.ok(*words, ":n_trials=5")
        known = r"among 5 trials, differences of \S+ or more can be told apart"
        assert re.search(rf"^apart    {known}; one run's sd is ", shown, re.MULTILINE)
        assert re.search(
            rf"^       {known}; smaller ones are marked \(tied\)$", shown, re.MULTILINE
        )
        done = len(app.seen())
        out = confirmed(app, "s", "--top=5", "--seeds=2")
        assert "since    2 trials look better and are not confirmed: another round" in out
        assert f"test     {TESTED_BEFORE}" in out
        assert stored(looked)["tested_run"] == first["run"]
        found, rows = winner_of(app), app.seen()[done:]
        assert [row["x"] for row in rows] == ["0.5"] * 2 + ["1.0"] * 2 + ["3.5"] * 2 + ["0.5"] * 2
        assert {row["seed"] for row in rows[:6]} == {row["seed"] for row in app.seen()[3:7]}
        assert [row["seed"] for row in rows[6:]] == first["final"]["seeds"]
        assert (found["params"], found["rounds"], found["top"]) == ({"x": 0.5}, 2, 5)
        assert [row["params"]["x"] for row in found["rows"]] == [0.5, 1.0, 2.0, 3.0, 3.5]
        assert [row["trial"] for row in found["rows"]] == [4, 3, 1, 0, 2]
        assert found["run"].rpartition("/studies/")[2].startswith("s.confirm-final-2/0000/")
        done = len(app.seen())
        assert "since" not in confirmed(app, "s", "--top=3", "--seeds=2")  # leaves none out
        assert (len(app.seen()), winner_of(app)["rows"]) == (done, found["rows"])
        study = app.study()
        assert read_study(study, Additions(), PLACE).since is None
        assert [row.name for row in list_studies(study._storage, PLACE)] == ["s"]
        assert len(folders_of(study)) == 5 + 5 + 2  # trials, rounds, final seeds

    @pytest.mark.slow
    def test_killed_and_run_again(self, app: App) -> None:
        app.open_gate()
        app.ok("does=gated", "x=1,2,3", ":study_name=s")
        app.close_gates()
        words = ("s", "--top=3", "--seeds=2")
        app.open_gate(0)
        process = confirming(app, *words)
        until(lambda: len(app.seen()) >= 3 + 3)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        before = {a.root for a in app.view("s.confirm").counted}
        app.open_gate()
        confirmed(app, *words)
        runs = Counter((row["x"], row["seed"]) for row in app.seen()[3:])
        assert len(runs) == 6 + 2  # with the winner's final seeds
        finished = {a.params["x"] for a in app.view("s.confirm").attempts if a.root in before}
        assert len(finished) == 1
        assert all(runs[key] == 1 for key in runs if float(key[0]) in finished)
        assert len(app.view("s.confirm").counted) == 3
        assert winner_of(app)["params"] == {"x": 1}

    @pytest.mark.slow
    def test_custom_search_space(self, app: App) -> None:
        """Each configuration has what its own function had suggested, or nothing."""
        app.ok("model=small,large", "x=interval(0,1)", ":n_trials=8", ":study_name=s",
               ":custom_search_space=hooks.deeper", ":seed=1")  # fmt: skip
        searched = {(r["width"], r["x"], r["extra"]) for r in app.seen()}
        assert {extra == "None" for _, _, extra in searched} == {True, False}
        confirmed(app, "s", "--top=8", "--seeds=2")
        rows = app.seen()[8:]
        assert len(rows) == 16 + 2
        assert {(r["width"], r["x"], r["extra"]) for r in rows} == searched

    @pytest.mark.slow
    def test_added_keys_lists_and_text_that_look_alike(self, app: App) -> None:
        app.ok("does=noisy", "+extra=[1],[2,3]", "y=1,1.0,'1'", ":study_name=s")
        searched = {(r["extra"], r["y"]) for r in app.seen()}
        assert len(searched) == 6
        confirmed(app, "s", "--top=6", "--seeds=2")
        assert {(r["extra"], r["y"]) for r in app.seen()[6:]} == searched

    @pytest.mark.slow
    def test_maximize_and_seeds_that_were_repeated(self, app: App) -> None:
        app.ok("does=noisy", "x=1,2,3", ":study_name=s", ":direction=maximize",
               ":repeats={seed:[0,1]}")  # fmt: skip
        confirmed(app, "s", "--top=2", "--seeds=2")
        assert winner_of(app)["params"] == {"x": 3}
        assert {a.params["x"] for a in app.view("s.confirm").attempts} == {2, 3}
        assert not {row["seed"] for row in app.seen()[6:]} & {0, 1}

    @pytest.mark.slow
    def test_other_repeats_are_refused(self, app: App) -> None:
        app.ok("does=noisy", "x=1,2", ":study_name=s", ":repeats={y:[0,1]}")
        assert "s repeats y, not only seed" in confirmed(app, "s", code=2)

    @pytest.mark.slow
    def test_another_seed_key(self, app: App) -> None:
        app.ok("x=1,2", ":study_name=s")
        confirmed(app, "s", "--top=1", "--seeds=2", "--seed-key=y")
        assert len({row["y"] for row in app.seen()[2:]}) == 2

    @pytest.mark.parametrize("name", ["nowhere", "last"])
    def test_study_that_is_none(self, app: App, name: str) -> None:
        assert f"There is no folder {app.folder / 'outputs'}." in refused(app, name)
        assert not (app.folder / "outputs").exists()
        (app.folder / "outputs").mkdir()
        told = "There is no study in" if name == "last" else f"There is no study {name}."
        assert told in refused(app, name)

    def test_study_without_a_result(self, app: App) -> None:
        app.ok("does=give", "value=nan", "x=1,2", ":study_name=s")
        assert "s has no complete trial" in refused(app, "s")


@pytest.mark.system
def test_noise_is_printed_stored_and_used_by_the_sweeps_table(app: App) -> None:
    words = ("does=noisy", "x=1,2,30000000", ":study_name=s")
    assert "noise: unknown" in app.ok(*words)
    out = confirmed(app, "s", "--noise", "--seeds=4")
    rows = app.seen()[3:]
    assert [row["x"] for row in rows] == ["1"] * 4  # the best: a bad setting is noisier
    deviation = 0.001 * statistics.stdev(row["seed"] for row in rows)
    assert stored(app.study())["noise"] == pytest.approx(deviation)
    assert f"standard deviation is {decimals(deviation)} over 4 fresh seeds" in out
    apart = decimals(intervals.smallest_difference(deviation, 4))
    assert f"with 4 seeds each, differences of {apart} or more can be told apart; with one" in out
    table = app.ok(*words)
    assert f"noise: a value's standard error is {deviation:.2g}" in table
    assert "2.0000 (tied)  x=2" in table
    assert "3e+07 (tied)" not in table


@pytest.mark.system
def test_confirm_of_the_plain_example(tmp_path: Path) -> None:
    """The ten-line application of examples/plain, with a seed that it does not know."""
    plain = ROOT / "examples" / "plain"
    for path in plain.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    app = App(tmp_path)
    app.ok("+seed=0", "x=range(0,4)", ":study_name=s")
    confirmed(app, "s", "--top=2", "--seeds=2")
    assert winner_of(app)["params"] == {"x": 2}


def test_distinct_best(app: App) -> None:
    """A configuration that was tried twice is one; the better of its values counts."""
    app.ok("does=noisy", "x=interval(0,4)", ":study_name=s", ":n_trials=4",
           ":enqueue=[{x:1.0},{x:1.0},{x:0.5},{x:3.0}]")  # fmt: skip
    found = winner.distinct_best(view(app.study()), top=3, seed_key="seed")
    assert [attempt.params["x"] for attempt in found] == [0.5, 1.0, 3.0]
    assert [attempt.root for attempt in found] == [2, 0, 3]
    assert len(winner.distinct_best(view(app.study()), top=9, seed_key="seed")) == 3


def test_candidates_need_every_seed() -> None:
    study = searched(1.0, 1.5, 2.0)
    chosen = view(study).ranked
    confirmed = optuna.create_study(study_name="s.confirm", storage=study._storage)
    for slot, repeats in enumerate([[1.0, None], [1.5, 2.5], None]):
        attrs = {"slot": slot, "folder": "gone", **({"repeats": repeats} if repeats else {})}
        confirmed.add_trial(create_trial(value=1.0, user_attrs=attrs))
    (found,) = winner.candidates(chosen, view(confirmed))
    assert (found.searched_root, found.values) == (1, (1.5, 2.5))


class Scripted:
    """Trains nothing: the values of each plan's candidates, by what its study's name ends with."""

    def __init__(self, study: optuna.Study, **values: tuple[float, ...]) -> None:
        self.searched, self.values, self.asked = study, values, list[str]()

    def train(self, plan: Plan, suffix: str) -> list[Candidate]:
        self.asked.append(suffix)
        (root,) = plan.roots
        values = self.values.get(f"final{root}")
        return [] if values is None else [candidate(*values, root=root)]


def test_a_winner_that_fails_under_a_final_seed_is_left_out() -> None:
    study = searched(1.0, 1.5)
    study.set_user_attr("uid", "a1b2c3")
    plan = Plan(2, (0, 1), (1, 2), "seed")
    trained = [replace(candidate(k, k + 0.5, root=k), searched_root=k) for k in (1, 2)]
    scripted = Scripted(study, final2=(2.0, 2.25))
    outcome = settle(cast(Trainer, scripted), plan, trained, among=2)
    assert (outcome.final.values, outcome.has_final_seeds) == ((2.0, 2.25), True)
    assert [row.candidate.root for row in outcome.confirmation.rows] == [2]
    assert not {*outcome.seeds} & {1, 2}
    with pytest.raises(StudyError, match="confirmed nothing"):
        settle(cast(Trainer, Scripted(study)), plan, trained, among=2)


def test_of_a_single_configuration_the_fresh_seeds_have_chosen_nothing() -> None:
    scripted = Scripted(searched(1.0))
    plan = Plan(1, (0,), (1, 2), "seed")
    outcome = settle(cast(Trainer, scripted), plan, [candidate(1.0, 1.5)], among=1)
    assert (outcome.final.values, outcome.seeds, scripted.asked) == ((1.0, 1.5), (1, 2), [])
    assert not outcome.has_final_seeds
