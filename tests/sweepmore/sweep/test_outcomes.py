"""How a trial may end, and what the study then knows: failed, diverged, pruned, repeated."""

from __future__ import annotations

import math
import re
import sqlite3

import pytest
from optuna.trial import TrialState

from tests.support.sweep_apps import App, refusal, slots_of

NAMED = ":study_name=s"


class TestFailure:
    def test_a_trial_that_raises_is_kept_with_its_traceback(self, app: App) -> None:
        """Below the rate that ends a sweep; a finished trial takes no attributes any more."""
        out = app.ok("does=fail", "fails_from=3", "x=range(0,5)", NAMED)
        trials = app.trials()
        assert slots_of(trials) == list(range(5))
        failed = [t for t in trials if t.state is TrialState.FAIL]
        assert [t.params["x"] for t in failed] == [3, 4]
        for trial in failed:
            attrs = trial.user_attrs
            assert (attrs["status"], attrs["reason"]) == ("error", "exception")
            assert attrs["error"] == "ValueError: a mistake of the width 10"
            assert "in fail\n" in attrs["traceback"]
        assert "3 complete, 0 pruned, 2 failed" in out

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_too_many_stop_the_sweep(self, app: App, n_jobs: int) -> None:
        done = app.run("does=fail", "x=range(0,40)", NAMED, f":n_jobs={n_jobs}")
        assert done.returncode == 1
        finished = len(slots_of(app.trials()))
        assert 5 <= finished <= 4 + n_jobs  # min(5, n_trials), and what ran then
        assert f"{finished} of {finished} trials failed" in done.stderr
        assert f"{finished} × ValueError: a mistake of the width 10" in done.stderr
        assert done.stderr.count("in fail") == 1  # the same traceback once
        assert "max_failure_rate=0.5" in done.stderr
        assert app.gone()

    @pytest.mark.slow
    def test_a_tolerant_rate_goes_on(self, app: App) -> None:
        app.ok("does=fail", "x=range(0,7)", NAMED, ":max_failure_rate=1")
        assert len(slots_of(app.trials())) == 7

    def test_few_trials_need_no_five(self, app: App) -> None:
        assert app.run("does=fail", "x=1,2", NAMED).returncode == 1

    def test_the_same_command_goes_on_after_the_repair(self, app: App) -> None:
        words = ("does=fail", "x=range(0,8)", NAMED)
        assert app.run(*words).returncode == 1
        code = (app.folder / "app.py").read_text()
        (app.folder / "app.py").write_text(code.replace("if cfg.x >= cfg.fails_from", "if False"))
        app.ok(*words)
        trials = app.trials()
        assert slots_of(trials) == list(range(8))
        assert [t.state for t in trials].count(TrialState.COMPLETE) == 3

    def test_what_is_no_objective(self, app: App) -> None:
        """Nothing, two numbers, a text: the first is a failed trial and the end of the sweep, at
        whatever failure rate; the message says what to return instead."""
        given = {"none": "None", "two": "[1.0, 2.0]", "text": "'1.0'"}
        lines = {
            value: ("does=give", f"value={value}", "x=range(0,9)", f":study_name={value}",
                    ":max_failure_rate=1")
            for value in given
        }  # fmt: skip
        done = app.each(*lines.values())
        for value, told in given.items():
            message = refusal(done[lines[value]])
            assert "Trial 0 has no objective, and the next ones would have none:" in message
            assert f"The task returned {told}, which is not a number." in message
            assert "Return a number: the objective." in message
            (trial,) = (t for t in app.trials(value) if t.state.is_finished())
            assert trial.state is TrialState.FAIL
            assert f"The task returned {told}, which is not a number." in trial.user_attrs["error"]

    @pytest.mark.system
    def test_two_workers_end_as_well(self, app: App) -> None:
        done = app.run("does=give", "value=none", "x=range(0,40)", NAMED, ":n_jobs=2")
        assert "The task returned None, which is not a number." in refusal(done)
        assert len(slots_of(app.trials())) <= 2  # and what ran then
        assert app.gone()

    @pytest.mark.system
    def test_the_same_command_goes_on_once_it_returns_a_number(self, app: App) -> None:
        words = ("does=give", "value=none", "x=range(0,3)", NAMED)
        refusal(app.run(*words))
        code = (app.folder / "app.py").read_text()
        (app.folder / "app.py").write_text(code.replace('"none": None, ', ""))
        app.ok(*words)
        assert [t.state for t in app.trials()].count(TrialState.COMPLETE) == 2

    def test_one_number_for_two_directions(self, app: App) -> None:
        done = app.run("x=1", "y=1,2", NAMED, ":direction=[minimize,maximize]")
        assert "Return 2 numbers: the objectives." in refusal(done)


class TestDiverged:
    @pytest.mark.parametrize(
        ("direction", "worst"), [("minimize", math.inf), ("maximize", -math.inf)]
    )
    def test_what_is_not_finite_is_infinitely_bad(
        self, app: App, direction: str, worst: float
    ) -> None:
        out = app.ok(
            "does=give", "value=nan,inf,-inf,fine", "x=3", NAMED, f":direction={direction}"
        )
        trials = app.trials()
        assert [t.state for t in trials] == [TrialState.COMPLETE] * 4
        assert [t.value for t in trials] == [worst] * 3 + [3.0]
        assert [t.user_attrs["status"] for t in trials] == ["diverged"] * 3 + ["ok"]
        assert "diverged: 3 (75% of the trials)" in out
        with sqlite3.connect(app.database) as database:
            kinds = database.execute("SELECT value, value_type FROM trial_values").fetchall()
        assert (
            sorted(kind for _, kind in kinds)
            == ["FINITE"] + ["INF_" + ("POS" if worst > 0 else "NEG")] * 3
        )


class TestPruning:
    """The curve of ``report`` falls to x: large x is the bad one."""

    WORDS = ("does=report", "steps=6", NAMED)

    def test_the_median_pruner_stops_a_bad_curve(self, app: App) -> None:
        out = app.ok(*self.WORDS, "x=1,2,3,1.5,2.5,90,80", "hydra/sweeper/pruner=median")
        trials = app.trials()
        assert slots_of(trials) == list(range(7))
        bad = [t for t in trials if t.params["x"] >= 80]
        for trial in bad:
            assert trial.state is TrialState.PRUNED
            assert trial.user_attrs["status"] == "pruned"
            assert len(trial.intermediate_values) < 6
            assert trial.value != -1000.0  # what the task returned after it was told to stop
        good = [t for t in trials if t.params["x"] <= 2]
        assert {t.state for t in good} == {TrialState.COMPLETE}
        assert all(len(t.intermediate_values) == 6 for t in good)
        assert "trial    0  1.0000  x=1" in out

    def test_reports_of_several_objectives_never_stop(self, app: App) -> None:
        app.ok(
            *self.WORDS,
            "x=1,2,3,1.5,2.5,90",
            "two=true",
            "hydra/sweeper/pruner=median",
            ":direction=[minimize,minimize]",
        )
        trials = app.trials()
        assert {t.state for t in trials} == {TrialState.COMPLETE}
        assert [t.values for t in trials] == [[x, -x] for x in (1, 2, 3, 1.5, 2.5, 90)]

    @pytest.mark.parametrize(
        "pruner",
        ["hyperband", "successive_halving", pytest.param("percentile", marks=pytest.mark.slow)],
    )
    def test_others_run(self, app: App, pruner: str) -> None:
        app.ok("does=report", "steps=12", "x=range(1,13)", f"hydra/sweeper/pruner={pruner}", NAMED)
        trials = app.trials()
        assert slots_of(trials) == list(range(12))
        assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
        assert TrialState.COMPLETE in {t.state for t in trials}


class TestRepeats:
    def test_the_mean_is_told_and_each_value_kept(self, app: App) -> None:
        out = app.ok("does=seeded", "x=1,10", NAMED, ":repeats={seed:[0,1,5]}")
        for trial, x in zip(app.trials(), (1, 10)):
            assert trial.value == x + 2
            assert trial.user_attrs["repeats"] == [x, x + 1, x + 5]
            assert trial.user_attrs["std"] == pytest.approx(math.sqrt(7))
        rows = app.seen()
        assert [row["seed"] for row in rows] == [0, 1, 5] * 2
        assert [row["repeat"] for row in rows] == [{"seed": s} for s in (0, 1, 5)] * 2
        for key in ("folder", "run_id"):
            assert len({row[key] for row in rows}) == 6
        assert all(
            row["folder"].endswith(f"{row['root']:04d}/{i % 3}") for i, row in enumerate(rows)
        )
        assert "noise: a value's standard error" in out
        assert "3 runs each, seed 0, 1, 5; 6 runs in all" in out
        assert re.search(r"^\d/2 done \(\d of 6 runs\)", out, re.MULTILINE)
        assert "(sd " in out

    def test_report_inside_a_repeat_does_not_prune(self, app: App) -> None:
        """A threshold that every report of ``seeded`` is above."""
        app.ok(
            "does=seeded",
            "x=1,2",
            NAMED,
            ":repeats={seed:[0,1]}",
            "hydra/sweeper/pruner=threshold",
            ":pruner.upper=1000",
        )
        assert {t.state for t in app.trials()} == {TrialState.COMPLETE}
        assert [t.intermediate_values for t in app.trials()] == [{0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0}]

    def test_wilcoxon_stops_after_a_repeat(self, app: App) -> None:
        seeds = list(range(10))
        app.ok(
            "does=noisy",
            "x=1,2,50",
            NAMED,
            f":repeats={{seed:{seeds}}}".replace(" ", ""),
            "hydra/sweeper/pruner=wilcoxon",
        )
        trials = app.trials()
        assert [t.state for t in trials] == [TrialState.COMPLETE] + [TrialState.PRUNED] * 2
        runs = [sum(row["root"] == t.number for row in app.seen()) for t in trials]
        assert runs[0] == 10
        assert max(runs[1:]) < 10
        assert len(trials[2].user_attrs["repeats"]) == runs[2]

    def test_a_repeated_setting_is_not_searched(self, app: App) -> None:
        message = app.refused("seed=1,2", "x=1,2", NAMED, ":repeats={seed:[0,1]}")
        assert "seed is both searched and repeated" in message
        assert not (app.folder / "outputs").exists()
