"""What a sweep works on is taken from it: its study, its folders, its database, its planner."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tests.support.sweep_apps import PATIENCE, App, locked, slots_of, until

COOPERATIVE, UNCOOPERATIVE = "does=reporting", "does=gated"
WORDS = ("x=interval(0,1)", ":n_trials=4", ":study_name=s")
FAULTS = [pytest.mark.slow, pytest.mark.faults]
# Each way to run a trial: in the parent's own process or not, asking its report or not.
WAYS = [
    (COOPERATIVE, 1),
    (UNCOOPERATIVE, 2),
    pytest.param(COOPERATIVE, 2, marks=FAULTS),
    pytest.param(UNCOOPERATIVE, 1, marks=FAULTS),
]


def until_running(app: App, number: int) -> None:
    until(lambda: len(app.running()) == number)


def line_of(process: subprocess.Popen[str]) -> str:
    """The next that it says on stderr."""
    assert process.stderr is not None
    return process.stderr.readline()


def refusal_of(app: App, process: subprocess.Popen[str], code: int = 2) -> str:
    """Its one message, without which it ends and leaves nobody."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, out + err
    assert "Traceback" not in out + err
    assert err.count("error: ") == 1, err
    assert app.gone()
    return err.partition("error: ")[2]


def finishes(app: App, *words: str) -> str:
    """The same command, and all its trials count once."""
    app.open_gate()
    said = app.ok(*words)
    assert slots_of(app.trials()) == list(range(4))
    assert all(trial.state.is_finished() for trial in app.trials())
    return said


class TestRemoved:
    @pytest.mark.parametrize(("task", "n_jobs"), WAYS)
    @pytest.mark.parametrize("replaced", [False, pytest.param(True, marks=FAULTS)])
    def test_a_study_that_is_deleted(
        self, app: App, task: str, n_jobs: int, replaced: bool
    ) -> None:
        """As in the dashboard. SQLite gives the next study the number of the last that went."""
        words = (*WORDS, task, f":n_jobs={n_jobs}")
        with app.started(*words) as process:
            until_running(app, n_jobs)
            storage = f"sqlite:///{app.database}"
            optuna.delete_study(study_name="s", storage=storage)
            if replaced:
                optuna.create_study(study_name="s", storage=storage)
            message = refusal_of(app, process)
        told = "The study s is no longer in sqlite:///outputs/studies.db: it was deleted while"
        assert message.startswith(told)
        if replaced:
            assert app.trials() == []
        finishes(app, *words)

    @pytest.mark.parametrize(("task", "n_jobs"), WAYS)
    def test_all_outputs(self, app: App, task: str, n_jobs: int, tmp_path: Path) -> None:
        words = (*WORDS, task, f":n_jobs={n_jobs}")
        with app.started(*words) as process:
            until_running(app, n_jobs)
            (app.folder / "outputs").rename(tmp_path / "gone")  # at once
            shutil.rmtree(tmp_path / "gone", ignore_errors=True)  # a worker may write there
            message = refusal_of(app, process)
        assert message.startswith(
            "outputs/studies.db and outputs/studies/s were removed while the sweep ran.\n"
        )
        finishes(app, *words)

    @pytest.mark.parametrize(("task", "n_jobs"), WAYS)
    def test_the_studys_folder_alone(
        self, app: App, task: str, n_jobs: int, tmp_path: Path
    ) -> None:
        """No trial fails for it: none could be composed."""
        words = (*WORDS, task, f":n_jobs={n_jobs}")
        with app.started(*words) as process:
            until_running(app, n_jobs)
            (app.folder / "outputs" / "studies" / "s").rename(tmp_path / "gone")
            message = refusal_of(app, process)
        assert message.startswith("outputs/studies/s was removed while the sweep ran.\n")
        finishes(app, *words)
        assert {t.user_attrs.get("reason") for t in app.trials()} <= {None, "handed_back", "died"}

    @pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=FAULTS)])
    def test_the_folder_of_a_stored_study(self, app: App, n_jobs: int) -> None:
        words = ("x=interval(0,1)", ":study_name=s", "does=add", f":n_jobs={n_jobs}")
        app.ok(*words, ":n_trials=2")
        values = [trial.value for trial in app.trials()][:2]
        shutil.rmtree(app.folder / "outputs" / "studies" / "s")
        said = finishes(app, *words, ":n_trials=4")
        assert "warning: outputs/studies/s was removed, with the files of 2 trials." in said
        assert [trial.value for trial in app.trials()][:2] == values
        assert (app.folder / "outputs" / "studies" / "s" / "0003").is_dir()
        assert "is gone" not in app.ok(*words, ":n_trials=4")


class TestLocked:
    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_it_is_said_once_and_the_sweep_goes_on(self, app: App, n_jobs: int) -> None:
        words = (*WORDS, COOPERATIVE, f":n_jobs={n_jobs}")
        with app.with_constants(storage_urls__BUSY_SECONDS=0.5).started(*words) as process:
            until_running(app, n_jobs)
            with locked(app.database):
                first = line_of(process)
                app.open_gate()
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
        assert first == (
            "warning: the database sqlite:///outputs/studies.db is locked by another program; "
            "waiting up to 5 min. Nothing is lost; Ctrl-C stops waiting.\n"
        )
        assert "is locked" not in err
        assert err.count("the database answers again after ") == 1
        assert slots_of(app.trials()) == list(range(4))
        assert len(app.seen()) == 4

    @pytest.mark.faults
    @pytest.mark.slow
    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_for_a_minute(self, app: App, n_jobs: int) -> None:
        words = (*WORDS, COOPERATIVE, f":n_jobs={n_jobs}")
        with app.started(*words) as process:
            until_running(app, n_jobs)
            with locked(app.database):
                first, since = line_of(process), time.monotonic()
                app.open_gate()
                time.sleep(60)
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
        assert "is locked by another program" in first
        assert err.count("the database answers again after ") == 1
        seconds = err.partition("answers again after ")[2].partition(" s")[0]
        assert 60 <= int(seconds) <= time.monotonic() - since + 10
        assert slots_of(app.trials()) == list(range(4))
        assert len(app.seen()) == 4

    @pytest.mark.parametrize(
        ("n_jobs", "signum"),
        [
            (1, signal.SIGINT),
            (2, None),
            pytest.param(2, signal.SIGTERM, marks=FAULTS),
            pytest.param(1, None, marks=FAULTS),
        ],
    )
    def test_it_ends_by_a_signal_or_its_limit(
        self, app: App, n_jobs: int, signum: signal.Signals | None
    ) -> None:
        words = (*WORDS, COOPERATIVE, f":n_jobs={n_jobs}")
        limit = 600 if signum else 3
        patched = app.with_constants(
            storage_urls__BUSY_SECONDS=0.5, storage_patience__PATIENCE_SECONDS=limit
        )
        with patched.started(*words) as process:
            until_running(app, n_jobs)
            with locked(app.database):
                assert "is locked by another program" in line_of(process)
                if signum:
                    process.send_signal(signum)
                message = refusal_of(app, process, 128 + signum if signum else 2)
        assert message.startswith(
            "The database sqlite:///outputs/studies.db has been locked by another program for "
        )
        assert message.endswith("transaction, then rerun the same command to continue.\n")
        finishes(app, *words)

    def test_at_the_start(self, app: App) -> None:
        """Waited for there as well, in a dry run, too."""
        words = (*WORDS, "does=add")
        app.ok(*words, ":n_trials=1")
        patched = app.with_constants(storage_urls__BUSY_SECONDS=0.5)
        for more in ((), (":dry=true",)):
            with locked(app.database):
                ended = patched.started(*words, *more)
                process = ended.__enter__()
                assert "is locked by another program" in line_of(process)
            out, err = process.communicate(timeout=PATIENCE)
            ended.__exit__(None, None, None)
            assert process.returncode == 0, out + err
            assert "answers again" in err
        assert slots_of(app.trials()) == list(range(4))


class TestStopped:
    """By Ctrl-Z, which stops a process until it is told to continue."""

    def test_another_parent_plans(self, app: App) -> None:
        words = ("x=interval(0,1)", ":n_trials=14", ":study_name=s", UNCOOPERATIVE, ":n_jobs=2")
        quick = app.with_constants(study_slots__LEADER_SECONDS=3)
        with quick.started(*words) as first:
            until_running(app, 2)
            first.send_signal(signal.SIGSTOP)
            app.open_gate()
            until(lambda: app.has_finished(2))
            with quick.started(*words) as second:
                out, err = second.communicate(timeout=PATIENCE)
                assert second.returncode == 0, out + err
                assert slots_of(app.trials()) == list(range(14))
                first.send_signal(signal.SIGCONT)
                out, _ = first.communicate(timeout=PATIENCE)
        assert first.returncode == 0, out
        assert f"warning: process {first.pid} on " in err
        assert "has given no sign of life for" in err
        assert "this one plans them now" in err
        assert err.count("this one plans") == 1
        assert slots_of(app.trials()) == list(range(14))

    @pytest.mark.faults
    @pytest.mark.slow
    def test_a_trial_that_it_runs_is_waited_for(self, app: App) -> None:
        """It may go on at any time, and two would write to one folder."""
        words = ("x=interval(0,1)", ":n_trials=3", ":study_name=s", UNCOOPERATIVE)
        quick = app.with_constants(study_slots__LEADER_SECONDS=3)
        with quick.started(*words) as first:
            (trial,) = until(app.running)
            first.send_signal(signal.SIGSTOP)
            app.open_gate(*({0, 1, 2} - {trial.number}))
            with quick.started(*words, ":n_jobs=2") as second:
                lines = [line_of(second), line_of(second)]
                waits = next(line for line in lines if "is waited for" in line)
                assert f"trial {trial.number} is waited for, and process {first.pid}" in waits
                first.send_signal(signal.SIGCONT)
                app.open_gate()
                for process in (first, second):
                    out, err = process.communicate(timeout=PATIENCE)
                    assert process.returncode == 0, out + err
        assert [t.state for t in app.trials()] == [TrialState.COMPLETE] * 3
        assert len(app.seen()) == 3
