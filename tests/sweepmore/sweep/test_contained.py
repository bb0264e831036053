"""A sweep survives its trials: what one raises, and what one does to the process that runs it."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState

from sweepmore.process.state import return_to, unchanged, working_folder
from sweepmore.storage.urls import shown, storage_url
from sweepmore.wording import shown_path
from tests.support.helpers import environment
from tests.support.sweep_apps import App, errors, slots_of
from tests.support.sweep_apps.app import RAISED

NAMED = ":study_name=s"
TWO = pytest.param(2, marks=pytest.mark.system)


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
    def test_a_worker_that_vanishes_has_died(self, app: App) -> None:
        """Whatever exit code its task chose: those of a worker that was stopped are none's."""
        leaves = {1: 3, 3: 0, 5: 143, 7: 130}
        value = ",".join(f"{x}:{code}" for x, code in leaves.items())
        words = ("does=leave", f"value={{{value}}}", "x=range(0,9)", NAMED, ":max_retries=1")
        out = app.ok(*words, ":n_jobs=2")
        trials = app.trials()
        assert slots_of(trials) == list(range(9))
        died = [t.params["x"] for t in trials if t.user_attrs.get("reason") == "died"]
        assert died == [*leaves]
        assert out.count("died (process") == len(leaves)

    @pytest.mark.system
    def test_workers_that_leave_with_a_signals_code_are_replaced_no_more(self, app: App) -> None:
        words = ("does=leave", "value={0:143}", "x=0,1", NAMED, "deaths=9", ":max_retries=9")
        message = app.refused(*words, ":n_jobs=2")
        assert "3 workers died without finishing a trial" in message

    def test_in_the_parents_own_process_the_next_command_says_so(self, app: App) -> None:
        words = ("does=leave", "value={1:3}", "x=range(0,2)", NAMED)
        first, second = (done for done in app.each(words, (*words, ":n_jobs=1")).values())
        assert first.returncode == 3
        assert second.returncode == 0, errors(second)
        assert "the worker of trial 1 died" in second.stdout
        assert slots_of(app.trials()) == [0, 1]


class TestNothingLeaks:
    @pytest.mark.parametrize("n_jobs", [1, TWO])
    def test_into_the_next_trial(self, app: App, n_jobs: int) -> None:
        words = ("does=messy", "x=range(0,4)", "hydra.job.chdir=false", NAMED)
        done = app.run(*words, f":n_jobs={n_jobs}", env={"KEPT": "1"})
        assert done.returncode == 0, errors(done)
        first, *others = app.lines("found")
        assert len(others) == 3
        if n_jobs == 1:
            assert others == [first] * 3
        assert all("mess" not in found["words"] for found in (first, *others))
        assert "mess" not in done.stdout.split()
        draws = app.lines("draws")
        assert len({str(row) for row in draws}) == 4
        assert random.Random(0).random() not in {row[0] for row in draws}  # which each seeded

    def test_the_folder_that_the_command_stands_in(self, app: App) -> None:
        """Removed by the trial: the next finds it again, and the summary is printed."""
        here = app.folder / "here"
        here.mkdir()
        words = ("does=messy", "value=home", "x=range(0,3)", NAMED, ":outputs=../outputs")
        command = app.command(*words)
        env = environment({"KEPT": "1"})
        done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True)
        assert done.returncode == 0, errors(done)
        assert [found["folder"] for found in app.lines("found")] == [str(here)] * 3
        assert "the best:" in done.stdout

    def test_a_folder_that_another_worker_removed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        home = working_folder()
        here.rmdir()
        assert working_folder() is None
        return_to(home)
        assert working_folder() == home == here

    def test_torch_keeps_its_draws_and_threads(self) -> None:
        torch.manual_seed(3)
        draws = []
        for _ in range(2):
            with unchanged():
                draws.append(float(torch.rand(())))
                torch.manual_seed(0)
                torch.set_num_threads(2)
            assert torch.get_num_threads() == 1
        torch.manual_seed(3)
        again = []
        for number in (7, 8):
            with unchanged():
                again.append(float(torch.rand(())))
                torch.manual_seed(number)  # and draws no more often
                torch.rand(number)
        assert draws == again
        assert draws[0] != draws[1]

    def test_paths_are_shown_where_the_folder_is_gone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        relative = storage_url("sqlite:///s.db", "sqlite:///s.db", tmp_path)
        assert shown(relative) == "sqlite:///s.db"
        (tmp_path / "gone").rmdir()
        assert shown(relative) == f"sqlite:///{tmp_path}/gone/s.db"
        assert shown_path(tmp_path / "run") == str(tmp_path / "run")
