"""A sweep survives its trials: what one raises, and what one does to the process that runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.sweep_apps import App, errors, slots_of
from tests.sweep_apps.app import RAISED

NAMED = ":study_name=s"
TWO = pytest.param(2, marks=pytest.mark.system)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App.copied(tmp_path)


class TestErrors:
    @pytest.mark.parametrize("n_jobs", [1, TWO])
    def test_whatever_a_task_raises_is_one_failed_trial(self, app: App, n_jobs: int) -> None:
        number = len(RAISED) + 2
        words = ("does=raises", f"x=range(0,{number})", NAMED, ":max_failure_rate=1")
        out = app.ok(*words, f":n_jobs={n_jobs}")
        trials = app.trials()
        assert slots_of(trials) == list(range(number))
        failed = sorted(
            (t for t in trials if t.state is TrialState.FAIL), key=lambda t: t.params["x"]
        )
        assert [t.params["x"] for t in failed] == list(range(len(RAISED)))
        assert f"2 complete, 0 pruned, {len(RAISED)} failed" in out
        told = [str(t.user_attrs["error"]) for t in failed]
        for at, text in enumerate(("bad \\udcff byte", "Unspeakable", "bad \\udcff byte")):
            assert text in told[at]
        assert told[3] == "KeyboardInterrupt: by itself"
        for trial in failed:
            kept = Path(trial.user_attrs["folder"], "error.txt").read_text(encoding="utf-8")
            assert kept == trial.user_attrs["traceback"]
            assert ", in raises" in kept or trial.params["x"] == 2  # which a user can cause
        assert (app.folder / "outputs" / "studies" / "s" / "trials.csv").exists()

    @pytest.mark.system
    @pytest.mark.parametrize("code", [3, 0])
    def test_a_worker_that_vanishes_has_died(self, app: App, code: int) -> None:
        words = ("does=leave", f"value={code}", "fails_from=2", "x=range(0,5)", NAMED)
        out = app.ok(*words, ":n_jobs=2")
        trials = app.trials()
        assert slots_of(trials) == list(range(5))
        died = [t.params["x"] for t in trials if t.user_attrs.get("reason") == "died"]
        assert died == [2]
        assert out.count("died (process") == 1

    def test_in_the_parents_own_process_the_next_command_says_so(self, app: App) -> None:
        words = ("does=leave", "value=3", "fails_from=1", "x=range(0,2)", NAMED)
        first, second = (done for done in app.each(words, (*words, ":n_jobs=1")).values())
        assert first.returncode == 3
        assert second.returncode == 0, errors(second)
        assert "the worker of trial 1 died" in second.stdout
        assert slots_of(app.trials()) == [0, 1]
