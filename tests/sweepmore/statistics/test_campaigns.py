"""The benchmark's campaigns, fewer of them; what is left to chance is three standard errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import alternatives, campaigns, noises
from sweepmore.statistics.sequential import STRICT, Rules, Skewness, decide

RULES = Rules()


def test_no_ops_are_not_kept_but_by_the_loop() -> None:
    told = campaigns.no_ops(noises.normal, 1.0, RULES, campaigns=40)
    assert told.none >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 40)
    assert told.loop.mean() > 3
    assert (told.seeds.min(), told.seeds.max(), len(told.seeds)) == (2, 24, 4_000)
    assert np.median(told.seeds) <= 4


def test_nor_where_bad_runs_are_three_times_as_bad() -> None:
    told = campaigns.no_ops(noises.bad_runs, 3.0, RULES, campaigns=20)
    assert told.none >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 20)


def test_campaigns_that_do_not_divide_their_error_keep_no_ops() -> None:
    """The simulation can tell. That challenges share a champion makes luck rarer, not rare."""
    rules, random = Rules(horizon=1), np.random.default_rng(0)
    kept = [
        "keep" in {d.verdict for d in campaigns.campaign(random, noises.normal, 1, rules, 100)}
        for _ in range(20)
    ]
    assert np.mean(kept) > 0.2


@pytest.mark.parametrize("noise", [noises.exponential, noises.log_normal, noises.bad_runs])
def test_the_strict_test_bears_skewed_noise_three_times_as_large(noise: noises.Noise) -> None:
    """1,000 campaigns; Student's test at the cap alone does not bear it."""
    strict = alternatives.strict(RULES, STRICT)
    assert alternatives.none_kept(noise, 3.0, strict, RULES) >= 0.95
    assert alternatives.none_kept(noise, 3.0, alternatives.fixed(RULES), RULES) < 0.75


def test_the_alternatives_are_computed_as_decisions_are() -> None:
    symmetric, looks = Skewness(0.0, 1e6), alternatives.looks(RULES)
    random = np.random.default_rng(0)
    for gain in np.linspace(0, 3, 200):
        champion, challenger = random.standard_normal((2, RULES.cap)) - [[0], [gain]]
        decision = decide(champion.tolist(), challenger.tolist(), 1, RULES, symmetric)
        assert decision is not None
        kept = bool(alternatives.kept(champion, challenger, looks))
        assert kept is (decision.verdict == "keep")


@pytest.mark.parametrize(("cap", "share"), [(20, 0.84), (24, 0.93)])
def test_gains_of_two_standard_deviations_are_kept(cap: int, share: float) -> None:
    decisions = campaigns.real_gains(noises.normal, 2.0, Rules(cap=cap), challenges=300)
    assert campaigns.kept(decisions) >= share - 3 * math.sqrt(share * (1 - share) / 300)


def test_the_loop_keeps_new_minima_as_often_as_records_occur() -> None:
    """Of values in any order, the k-th is the least with probability 1/k (Rényi 1962)."""
    random, n = np.random.default_rng(0), 20_000
    kept = campaigns.minima(random, noises.exponential, 1.0, 100, n)
    chances = 1 / np.arange(2, 102)
    error = math.sqrt((chances * (1 - chances)).sum() / n)
    assert kept.mean() == pytest.approx(chances.sum(), abs=3 * error)
    assert (kept == 0).mean() == pytest.approx(1 / 101, abs=3 * math.sqrt(0.01 / n))


@pytest.mark.parametrize("name", noises.NOISES)
def test_made_up_noise_has_mean_0_and_deviation_1(name: str) -> None:
    values = noises.NOISES[name](np.random.default_rng(0), (400_000,))
    assert values.mean() == pytest.approx(0, abs=3 / math.sqrt(values.size))
    squares = values**2
    assert squares.mean() == pytest.approx(1, abs=3 * squares.std() / math.sqrt(values.size))
