"""Keep, discard or undecided: against scipy, against closed forms, and in simulated campaigns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks import noises
from sweepmore.statistics.intervals import Floats, Interval
from sweepmore.statistics.sequential import (
    FEWEST_FOR_SHAPE,
    MOST_UNEQUAL,
    Decision,
    Rules,
    Skewness,
    Verdict,
    always_valid,
    decide,
    unequal,
)

RULES = Rules()
# What earlier runs showed, beyond what those of a challenge can change.
SYMMETRIC, SKEWED = Skewness(0.0, 1e6), Skewness(2e6, 1e6)
# 0.05 over 100 challenges, of which the looks get a tenth, three tenths and the rest.
LOOKS = {12: 5e-5, 18: 1.5e-4, 24: 3e-4}
STRICT = {24: 2.5e-6}

# A champion's values, a challenger's.
Pair = tuple[list[float], list[float]]


def halves(gains: Sequence[float]) -> Pair:
    """A champion and a challenger that are equally noisy."""
    return [gain / 2 for gain in gains], [-gain / 2 for gain in gains]


def decided(
    values: Pair, before: Skewness = SYMMETRIC, rules: Rules = RULES, sign: float = 1
) -> Decision:
    decision = decide(*values, sign, rules, before)
    assert decision is not None
    return decision


def with_t(t: float, n: int) -> list[float]:
    """So many gains whose mean is ``t`` standard errors above zero, and noise that is symmetric."""
    noise = np.tile([1.0, -1.0], n // 2)
    return list(noise + t * noise.std(ddof=1) / math.sqrt(n))


def drawn(seed: int, gain: float = 0.0, ratio: float = 1.0, n: int = 24) -> Pair:
    """A champion's and a challenger's values, multiples of 1/1,024: their sums are exact."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((2, n)) * [[1], [ratio]] - [[0], [gain]]
    champion, challenger = (np.round(values * 1024) / 1024).tolist()
    return champion, challenger


CHALLENGES = st.builds(
    drawn,
    st.integers(0, 2**32),
    st.sampled_from([0.0, 1.5, 3.0, 20.0]),
    st.sampled_from([1.0, 8.0]),
)
KNOWN = st.sampled_from([SYMMETRIC, SKEWED, Skewness()])


class TestLooks:
    @pytest.mark.parametrize("cap", [8, 12, 16, 20, 24, 25, 100])
    def test_the_levels_of_a_campaign_sum_to_its_error(self, cap: int) -> None:
        looks = Rules(cap=cap).looks(skewed=False)
        assert 100 * sum(looks.values()) == pytest.approx(0.05)
        assert (len(looks), max(looks), min(looks)) == (3, cap, math.ceil(cap / 2))

    def test_they_are_at_a_half_three_quarters_and_all_of_the_cap(self) -> None:
        assert RULES.looks(skewed=False) == pytest.approx(LOOKS)
        assert list(Rules(cap=8).looks(skewed=False)) == [4, 6, 8]
        assert Rules(horizon=10, alpha=0.1).looks(skewed=False)[24] == pytest.approx(0.006)

    def test_skewed_noise_has_one_and_a_two_hundredth_of_the_error(self) -> None:
        assert RULES.looks(skewed=True) == pytest.approx(STRICT)

    @pytest.mark.parametrize(
        ("before", "n", "level"),
        [*((SYMMETRIC, n, level) for n, level in LOOKS.items()), (SKEWED, 24, STRICT[24])],
    )
    def test_each_keeps_at_its_level_of_students_paired_test(
        self, before: Skewness, n: int, level: float
    ) -> None:
        critical = float(stats.t.isf(level, n - 1))
        for t, side in ((critical * (1 + 1e-9), 1), (critical * (1 - 1e-9), -1)):
            gains = with_t(t, n)
            p = stats.ttest_rel(gains, np.zeros(n), alternative="greater").pvalue
            assert (level - p) * side > 0
            decision = decide(*halves(gains), 1, RULES, before)
            if side > 0:
                assert decision is not None
                assert (decision.verdict, decision.seeds) == ("keep", n)
            else:
                assert decision is None or decision.verdict == "undecided"

    @pytest.mark.parametrize("cap", [8, 24])
    @pytest.mark.parametrize("before", [SYMMETRIC, SKEWED])
    def test_whole_challenges_are_decided_as_with_scipy(self, cap: int, before: Skewness) -> None:
        rules, reached = Rules(cap=cap), set()
        for seed in range(300):
            champion, challenger = drawn(seed, gain=seed / 60, n=cap)
            expected = by_scipy(champion, challenger, rules, before is SKEWED)
            decision = decided((champion, challenger), before, rules)
            assert (decision.verdict, decision.seeds) == expected
            reached.add(expected)
        kept = {n for verdict, n in reached if verdict == "keep"}
        assert kept == set(rules.looks(before is SKEWED))
        assert {verdict for verdict, _ in reached} == {"keep", "discard", "undecided"}


def by_scipy(
    champion: Sequence[float], challenger: Sequence[float], rules: Rules, skewed: bool
) -> tuple[Verdict, int]:
    for n in range(2, rules.cap + 1):
        if np.mean(champion[:n]) <= np.mean(challenger[:n]):
            return "discard", n
        if n in (looks := rules.looks(skewed)):
            test = stats.ttest_rel(champion[:n], challenger[:n], alternative="greater")
            if test.pvalue <= looks[n]:
                return "keep", n
    return "undecided", rules.cap


class TestDecide:
    def test_identical_values_go_after_two_seeds(self) -> None:
        assert decide([2.5], [2.5], 1, RULES, SYMMETRIC) is None
        assert decide([2.5, 2.25], [2.5, 2.25], 1, RULES, SYMMETRIC) == Decision(
            "discard", "identical: the same values under every seed", 2, Interval(0.0, 0.0)
        )

    def test_what_differs_under_one_seed_is_not_identical(self) -> None:
        assert decide([2.5, 2.25], [2.5, 2.0], 1, RULES, SYMMETRIC) is None

    @pytest.mark.parametrize("gains", [[-1.0, -2.0], [1.0, -1.0], [1.0, -1.5]])
    def test_no_better_after_two_seeds_goes(self, gains: list[float]) -> None:
        decision = decided(halves([*gains, *[9.0] * 22]))
        assert (decision.verdict, decision.seeds) == ("discard", 2)
        assert decision.reason == "no better on average"

    def test_no_better_at_a_later_seed_goes_then(self) -> None:
        gains = [1.0, 1, 1, 1, 1]
        assert decide(*halves([*gains, -4]), 1, RULES, SYMMETRIC) is None
        decision = decided(halves([*gains, -5, *[9] * 18]))
        assert (decision.verdict, decision.seeds) == ("discard", 6)

    def test_no_gain_is_kept_before_the_first_look(self) -> None:
        gains = with_t(1e6, 24)
        assert decide(*halves(gains[:11]), 1, RULES, SYMMETRIC) is None
        assert decided(halves(gains)).seeds == 12

    @pytest.mark.parametrize("cap", [8, 24])
    def test_the_cap_decides(self, cap: int) -> None:
        """And what comes after it is not looked at."""
        gains = with_t(1.0, cap)
        rules = Rules(cap=cap)
        assert decide(*halves(gains[:-1]), 1, rules, SYMMETRIC) is None
        decision = decided(halves([*gains, *[99.0] * 20]), rules=rules)
        assert (decision.verdict, decision.seeds) == ("undecided", cap)
        assert decision.reason == f"perhaps better, but not surely after {cap} seeds"

    def test_equal_values_on_each_side_are_no_noise(self) -> None:
        """The mean of 24 values of 0.1 is not 0.1, so that they would seem to have a shape."""
        assert np.mean([0.1] * 24) != 0.1
        assert Skewness.of([[0.1] * 24]) == Skewness()
        assert unequal([0.1] * 24, [0.3] * 24) == 1.0
        decision = decided(([0.1] * 24, [0.05] * 24), SKEWED)
        assert (decision.verdict, decision.seeds, decision.gain.half) == ("keep", 24, 0.0)

    @pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
    @pytest.mark.parametrize("side", [0, 1])
    def test_values_that_are_not_finite_raise(self, value: float, side: int) -> None:
        values = [[2.0, 2.0], [1.0, 1.5]]
        values[side][1] = value
        with pytest.raises(ValueError, match="values of 2 seeds are finite"):
            decide(values[0], values[1], 1, RULES, SYMMETRIC)

    def test_both_diverged_is_not_identical(self) -> None:
        with pytest.raises(ValueError, match="finite"):
            decide([math.inf] * 2, [math.inf] * 2, 1, RULES, SYMMETRIC)


class TestSame:
    @given(CHALLENGES, KNOWN, st.lists(st.floats(), min_size=1, max_size=5))
    def test_only_the_values_up_to_the_decision_decide(
        self, values: Pair, before: Skewness, more: list[float]
    ) -> None:
        decision = decided(values, before)
        champion, challenger = (side[: decision.seeds] for side in values)
        assert decide(champion, challenger, 1, RULES, before) == decision
        assert decide([*champion, *more], [*challenger, *more[::-1]], 1, RULES, before) == decision
        assert decide(champion[:-1], challenger, 1, RULES, before) is None
        assert decide(champion, challenger[:-1], 1, RULES, before) is None

    @given(CHALLENGES, KNOWN, st.integers(-60, 60), st.integers(-1000, 1000))
    def test_neither_unit_nor_origin_decides(
        self, values: Pair, before: Skewness, power: int, shift: int
    ) -> None:
        champion, challenger = ([(one + shift) * 2.0**power for one in side] for side in values)
        here, there = decided(values, before), decided((champion, challenger), before)
        assert (there.verdict, there.reason, there.seeds) == (here.verdict, here.reason, here.seeds)
        assert there.gain.mean == pytest.approx(here.gain.mean * 2.0**power)
        assert there.gain.half == pytest.approx(here.gain.half * 2.0**power)

    @given(CHALLENGES, KNOWN)
    def test_maximize_is_minimize_upside_down(self, values: Pair, before: Skewness) -> None:
        champion, challenger = ([-value for value in side] for side in values)
        flipped = Skewness(-before.weighted, before.weight)
        down, up = decided(values, before), decided((champion, challenger), flipped, sign=-1)
        assert (up.verdict, up.seeds, up.gain) == (down.verdict, down.seeds, down.gain)

    def test_these_challenges_meet_every_verdict(self) -> None:
        met: dict[tuple[bool, float], set[str]] = {}
        for seed, gain in itertools.product(range(20), (0.0, 1.5, 3.0, 20.0)):
            for before, ratio in itertools.product((SYMMETRIC, SKEWED), (1.0, 8.0)):
                decision = decided(drawn(seed, gain, ratio), before)
                met.setdefault((before is SKEWED, ratio), set()).add(decision.verdict)
        every = {"keep", "discard", "undecided"}
        assert met == {
            (False, 1.0): every,
            (True, 1.0): every,
            (False, 8.0): every,
            (True, 8.0): every - {"keep"},
        }


class TestShapes:
    @pytest.mark.parametrize("n", [5, 8, 24])
    def test_one_group_is_scipys(self, n: int) -> None:
        values = np.random.default_rng(n).exponential(3.0, n)
        theirs = float(stats.skew(values, bias=False))
        assert Skewness.of([values.tolist()]).value == pytest.approx(theirs)

    def test_groups_are_weighted_by_their_precision(self) -> None:
        """The variance of G1, against 40,000 groups of normal noise."""
        values = np.random.default_rng(0).standard_normal((40_000, 8))
        each = stats.skew(values, axis=1, bias=False)
        weight = Skewness.of(values[:1].tolist()).weight
        squares = each**2 * weight
        assert squares.mean() == pytest.approx(1, abs=3 * squares.std() / math.sqrt(len(each)))
        one, other = values[0].tolist(), [*values[1], *values[2]]
        parts = Skewness.of([one]), Skewness.of([other])
        mean = np.average([part.value for part in parts], weights=[part.weight for part in parts])
        assert (parts[0] + parts[1]).value == pytest.approx(mean)
        assert Skewness.of([one, other]) == parts[0] + parts[1]

    def test_small_groups_and_none_say_nothing(self) -> None:
        assert Skewness.of([]) == Skewness.of([[0.0] * 3 + [9.0]]) == Skewness()
        assert Skewness.of([[0.0] * (FEWEST_FOR_SHAPE - 1) + [9.0]]).value > 2
        assert (Skewness().value, Skewness().is_sure) == (0.0, False)

    def test_a_confirmation_calls_little_normal_noise_skewed_and_most_exponential(self) -> None:
        """Three standard errors of 500 are 2.9 points at 5 %."""
        random = np.random.default_rng(1)
        normal, exponential = (
            np.mean([Skewness.of(noise(random, (6, 8)).tolist()).is_sure for _ in range(500)])
            for noise in (noises.normal, noises.exponential)
        )
        assert normal == pytest.approx(0.05, abs=0.029)
        assert exponential > 0.85

    def test_unequal_is_the_ratio_of_deviations(self) -> None:
        assert unequal([0.0, 3.0, 6.0], [5.0, 6.0, 7.0]) == pytest.approx(3.0)
        assert unequal([5.0, 6.0, 7.0], [0.0, 3.0, 6.0]) == pytest.approx(1 / 3)
        assert unequal([1.0, 2.0], [3.0, 3.0]) == math.inf
        assert unequal([3.0, 3.0], [1.0, 2.0]) == 0.0

    def test_skewed_noise_is_decided_at_the_cap_and_said(self) -> None:
        gains = with_t(12.0, 24)
        soon, late = decided(halves(gains), SYMMETRIC), decided(halves(gains), SKEWED)
        assert (soon.verdict, soon.seeds) == ("keep", 12)
        assert (late.verdict, late.seeds) == ("keep", 24)
        assert late.reason == (
            "better beyond the noise of 24 seeds; noise is skewed (+2.0), so the test was stricter"
        )
        unsure = decided(halves(with_t(5.0, 24)), SKEWED)
        assert unsure.verdict == "undecided"
        assert unsure.reason == (
            "perhaps better, but not surely after 24 seeds; "
            "noise is skewed (+2.0), so the test was stricter"
        )

    def test_a_shape_that_the_challenge_itself_shows_counts(self) -> None:
        """One run in twelve is far worse; nothing was known before."""
        bad = np.zeros(12)
        bad[5] = 3.0
        challenger = list(np.tile([0.1, -0.1], 6) + bad - 5)
        champion = list(np.tile([0.1, 0.1, -0.1, -0.1], 3) + bad)
        assert Skewness.of([champion, challenger]).is_sure
        assert decide(champion, challenger, 1, RULES, Skewness()) is None
        known = decided((champion, challenger))
        assert (known.verdict, known.seeds) == ("keep", 12)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_skewed_and_unequal_noise_is_undecided_where_it_fakes_gains(self, sign: int) -> None:
        """A tail of bad runs: the challenger's hides in a few seeds, the champion's does not."""
        quiet = np.tile([1.0, -1.0], 12)
        loud = (MOST_UNEQUAL + 1) * np.tile([1.0, 1.0, -1.0, -1.0], 6)
        skewed = Skewness(sign * SKEWED.weighted, SKEWED.weight)

        def of(champion: Floats, challenger: Floats, before: Skewness) -> Decision:
            values = (sign * champion).tolist(), (sign * challenger).tolist()
            return decided(values, before, sign=sign)

        refused = of(quiet + 100, loud, skewed)
        assert (refused.verdict, refused.seeds) == ("undecided", 24)
        assert refused.reason == (
            "noise is skewed, and on one side 5.0 times as large: no test bears that"
        )
        assert of(quiet + 100, loud, SYMMETRIC).verdict == "keep"
        assert of(loud + 100, quiet, skewed).verdict == "keep"
        assert of(quiet + 100, 0.79 * loud, skewed).verdict == "keep"


class TestIntervals:
    PATHS, CAP = 20_000, 24

    def test_the_mean_gain_and_students_half_width(self) -> None:
        champion, challenger = drawn(0, gain=3.0)
        decision = decided((champion, challenger))
        assert decision.seeds == 12
        gains = np.subtract(champion, challenger)[:12]
        theirs = stats.ttest_1samp(gains, 0).confidence_interval(1 - 0.05 / 23)
        gain = decision.gain
        assert (gain.mean - gain.half, gain.mean + gain.half) == pytest.approx(
            (theirs.low, theirs.high)
        )

    def test_whoever_stops_where_it_looks_worst_is_covered(self) -> None:
        """An interval that is made for one look is not."""
        gains = np.random.default_rng(0).standard_normal((self.PATHS, self.CAP))
        holds, single = np.ones(self.PATHS, bool), np.ones(self.PATHS, bool)
        for n in range(2, self.CAP + 1):
            t = abs(gains[:, :n].mean(1)) / gains[:, :n].std(1, ddof=1) * math.sqrt(n)
            holds &= t <= always_valid(n, self.CAP)
            single &= t <= stats.t.isf(0.025, n - 1)
        error = math.sqrt(0.95 * 0.05 / self.PATHS)
        assert holds.mean() >= 0.95 - 3 * error
        assert single.mean() < 0.85

    @pytest.mark.parametrize("gain", [0.0, 1.0, 2.0])
    def test_it_holds_when_challenges_are_decided(self, gain: float) -> None:
        random, challenges = np.random.default_rng(1), 500
        values = random.standard_normal((challenges, 2, self.CAP)) - [[0], [gain]]
        holds = []
        for champion, challenger in values.tolist():
            decision = decided((champion, challenger))
            holds.append(abs(decision.gain.mean - gain) <= decision.gain.half)
        assert np.mean(holds) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / challenges)
