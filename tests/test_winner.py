"""Who wins, and how surely: intervals, ties and bias on known data; confirm.py on a plain app."""

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
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import confirm as confirm_script
from sweepmore import winner
from sweepmore.confirmation import print_table, standing, told_apart
from sweepmore.errors import StudyError
from sweepmore.studies import view
from sweepmore.winner import Candidate, Interval, confirm, fresh_seeds, t_interval
from sweepmore.wording import decimals
from tests.helpers import ROOT, call_script, environment
from tests.sweep_apps import PATIENCE, App, until

# Student's t at 97.5 %, from a printed table (to three digits): degrees of freedom → quantile.
TABLE = {1: 12.706, 2: 4.303, 4: 2.776, 7: 2.365, 9: 2.262, 30: 2.042}


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
        assert winner.smallest_difference(1.0, 8) == pytest.approx(2.145 * 0.5, rel=1e-3)


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

    def test_level_is_shared_among_the_comparisons(self) -> None:
        """Bonferroni: with 5 candidates each of the 4 differences has level 98.75 %."""
        random = np.random.default_rng(4)
        found = confirm([candidate(*random.normal(k, 1, 8), root=k) for k in range(5)])
        for row in found.rows[1:]:
            gaps = np.subtract(row.candidate.values, found.rows[0].candidate.values)
            quantile = stats.t.ppf(1 - 0.05 / 4 / 2, 7)
            assert row.difference.half == pytest.approx(quantile * stats.sem(gaps))

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
        found = confirm([worse, *reversed(tied)], maximize)
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
        found = confirm([low, high], maximize=True)
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
    """What confirm.py says of a table."""

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
        print_table(confirm(rows), {"seeds": 8, "seed": 2**31 - 1, "run": "run"})
        lines = capsys.readouterr().out.splitlines()
        assert sum(line.split()[-2:-1] == ["1,234,567"] for line in lines) == 5
        assert max(len(line) for line in lines if "seed 21474" not in line) <= 80


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


# confirm.py, on the sweeper's test application: no model, no torch.


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App.copied(tmp_path)


def confirming(app: App, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "confirm.py"), f"outputs={app.folder / 'outputs'}", *words],
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
    done = call_script(confirm_script, f"outputs={app.folder / 'outputs'}", *words)
    assert done.returncode == 2, done
    return done.stderr


def winner_of(app: App, name: str = "s") -> dict[str, Any]:
    path = app.folder / "outputs" / "studies" / f"{name}.confirm" / "winner.json"
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    assert found == app.study(f"{name}.confirm").user_attrs["winner"]
    return found


@pytest.mark.system
class TestConfirm:
    def test_trains_the_best_again_with_the_same_fresh_seeds(self, app: App) -> None:
        """From the study's own sources, whatever the files say by now."""
        app.ok("does=noisy", "x=3,0.5,1.5", "seed=7", ":study_name=s")
        config = app.folder / "conf" / "config.yaml"
        config.write_text(config.read_text().replace("y: 1\n", "y: 100\n"))
        out = confirmed(app, "study=s", "top=2", "seeds=3")
        rows = app.seen()[3:]
        by_x = {x: [row["seed"] for row in rows if row["x"] == x] for x in ("0.5", "1.5", "3")}
        assert by_x["0.5"] == by_x["1.5"]
        assert (len({*by_x["0.5"]}), by_x["3"]) == (3, [])
        assert 7 not in by_x["0.5"]
        assert {row["y"] for row in rows} == {"1"}
        found = winner_of(app)
        assert found["params"] == {"x": 0.5}
        assert found["tied"] == 1  # the seeds' own effect is the same for both
        assert found["seed"] == sorted(by_x["0.5"])[1]
        assert found["run"].endswith(f"s.confirm/0000/{by_x['0.5'].index(found['seed'])}")
        assert found["mean"] == pytest.approx(0.5 + 0.001 * statistics.fmean(by_x["0.5"]))
        assert found["selection_bias"] == pytest.approx(0.507 - found["mean"])
        assert "+1.0000 ± 0.0000  worse" in out
        assert "winner   x=0.5 (alone at the top)" in out
        assert "2 configurations × 3 fresh seeds, 6 runs" in out
        assert re.search(r"budget +2 trials \(all known; 3 runs each, .*; 6 runs in all\)", out)
        gap = found["selection_bias"]
        better = "better" if gap < 0 else "worse"
        told = f"{decimals(abs(gap), 0.507)} {better} than fresh seeds"
        assert f"the search had shown 0.5070, {told}" in out
        assert f"folder   {Path(found['run']).relative_to(app.folder)}" in out
        # by their numbers in the search: the second (x=0.5) and the third
        marks = [line.split()[:2] for line in out.splitlines() if re.match(r"[→ ] +\d+ +\d", line)]
        assert marks == [["→", "1"], ["2", "1.5070"]]

    def test_the_same_command_goes_on_and_another_is_refused(self, app: App) -> None:
        app.ok("does=noisy", "x=1,2,3", ":study_name=s")
        first = confirmed(app, "study=s", "top=2", "seeds=2")
        rows = app.seen()
        again = confirmed(app, "study=last", "top=2", "seeds=2")  # which is s, not s.confirm
        assert app.seen() == rows
        assert first.partition("confirmed over")[2] == again.partition("confirmed over")[2]
        for words in (("top=3", "seeds=2"), ("top=2", "seeds=3")):
            told = refused(app, "study=s", *words)
            assert "s.confirm has begun with top=2 seeds=2 seed_key=seed" in told

    @pytest.mark.slow
    def test_killed_and_run_again(self, app: App) -> None:
        app.open_gate()
        app.ok("does=gated", "x=1,2,3", ":study_name=s")
        app.close_gates()
        words = ("study=s", "top=3", "seeds=2")
        app.open_gate(0)
        process = confirming(app, *words)
        until(lambda: len(app.seen()) >= 3 + 3)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        before = {a.root for a in app.view("s.confirm").counted}
        app.open_gate()
        confirmed(app, *words)
        runs = Counter((row["x"], row["seed"]) for row in app.seen()[3:])
        assert len(runs) == 6
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
        confirmed(app, "study=s", "top=8", "seeds=2")
        rows = app.seen()[8:]
        assert len(rows) == 16
        assert {(r["width"], r["x"], r["extra"]) for r in rows} == searched

    @pytest.mark.slow
    def test_added_keys_lists_and_text_that_look_alike(self, app: App) -> None:
        app.ok("does=noisy", "+extra=[1],[2,3]", "y=1,1.0,'1'", ":study_name=s")
        searched = {(r["extra"], r["y"]) for r in app.seen()}
        assert len(searched) == 6
        confirmed(app, "study=s", "top=6", "seeds=2")
        assert {(r["extra"], r["y"]) for r in app.seen()[6:]} == searched

    @pytest.mark.slow
    def test_maximize_and_seeds_that_were_repeated(self, app: App) -> None:
        app.ok("does=noisy", "x=1,2,3", ":study_name=s", ":direction=maximize",
               ":repeats={seed:[0,1]}")  # fmt: skip
        confirmed(app, "study=s", "top=2", "seeds=2")
        assert winner_of(app)["params"] == {"x": 3}
        assert {a.params["x"] for a in app.view("s.confirm").attempts} == {2, 3}
        assert not {row["seed"] for row in app.seen()[6:]} & {0, 1}

    @pytest.mark.slow
    def test_other_repeats_are_refused(self, app: App) -> None:
        app.ok("does=noisy", "x=1,2", ":study_name=s", ":repeats={y:[0,1]}")
        assert "s repeats y, not only seed" in confirmed(app, "study=s", code=2)

    @pytest.mark.slow
    def test_another_seed_key(self, app: App) -> None:
        app.ok("x=1,2", ":study_name=s")
        confirmed(app, "study=s", "top=1", "seeds=2", "seed_key=y")
        assert len({row["y"] for row in app.seen()[2:]}) == 2

    @pytest.mark.parametrize("name", ["nowhere", "last"])
    def test_study_that_is_none(self, app: App, name: str) -> None:
        assert f"There is no folder {app.folder / 'outputs'}." in refused(app, f"study={name}")
        assert not (app.folder / "outputs").exists()
        (app.folder / "outputs").mkdir()
        assert f"There is no study {name}." in refused(app, f"study={name}")

    def test_study_without_a_result(self, app: App) -> None:
        app.ok("does=give", "value=nan", "x=1,2", ":study_name=s")
        assert "s has no complete trial" in refused(app, "study=s")


@pytest.mark.system
def test_noise_is_printed_stored_and_used_by_the_sweeps_table(app: App) -> None:
    words = ("does=noisy", "x=1,2,30000000", ":study_name=s")
    assert "noise: unknown" in app.ok(*words)
    out = confirmed(app, "study=s", "noise=true", "seeds=4")
    rows = app.seen()[3:]
    assert [row["x"] for row in rows] == ["1"] * 4  # the best: a bad setting is noisier
    deviation = 0.001 * statistics.stdev(row["seed"] for row in rows)
    assert app.study().user_attrs["noise"] == pytest.approx(deviation)
    assert f"standard deviation is {decimals(deviation)} over 4 fresh seeds" in out
    assert f"from {decimals(winner.smallest_difference(deviation, 4))};" in out
    table = app.ok(*words)
    assert f"noise: standard error {deviation:.2g}" in table
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
    confirmed(app, "study=s", "top=2", "seeds=2")
    assert winner_of(app)["params"] == {"x": 2}


def test_distinct_best(app: App) -> None:
    """A configuration that was tried twice is one; the better of its values counts."""
    app.ok("does=noisy", "x=interval(0,4)", ":study_name=s", ":n_trials=4",
           ":enqueue=[{x:1.0},{x:1.0},{x:0.5},{x:3.0}]")  # fmt: skip
    found = winner.distinct_best(view(app.study()), top=3)
    assert [attempt.params["x"] for attempt in found] == [0.5, 1.0, 3.0]
    assert [attempt.root for attempt in found] == [2, 0, 3]
    assert len(winner.distinct_best(view(app.study()), top=9)) == 3


def test_candidates_need_every_seed() -> None:
    from sweepmore.studies import StudyView

    with pytest.raises(StudyError, match="confirmed nothing"):
        winner.candidates([], StudyView("s.confirm", ("minimize",), ()))
