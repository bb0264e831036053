"""kill -9 of workers and of the parent: each trial is finished, and counts once."""

from __future__ import annotations

import signal
import subprocess
from datetime import datetime
from functools import partial
from pathlib import Path

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from sweepmore.owner import is_alive
from tests.sweep_apps import App, slots_of, until

SLOW = ("does=sleep", "seconds=0.7", ":study_name=s")


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App.copied(tmp_path)


def age(trial: FrozenTrial) -> float:
    """Seconds since it was taken."""
    assert trial.datetime_start is not None
    return (datetime.now() - trial.datetime_start).total_seconds()


def kill(trial: FrozenTrial) -> None:
    psutil.Process(trial.user_attrs["owner"]["pid"]).kill()


def test_a_killed_workers_trial_is_tried_again_and_counts_once(app: App) -> None:
    with app.started(*SLOW, "x=range(0,6)", ":n_jobs=2") as process:
        killed = until(app.running)[0]
        kill(killed)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
    trials = app.trials()
    assert slots_of(trials) == list(range(6))
    died = [t for t in trials if t.user_attrs.get("reason") == "died"]
    (again,) = [t for t in trials if t.user_attrs.get("attempt", 0) == 1]
    assert [t.number for t in died] == [killed.number]
    assert again.user_attrs["root"] == killed.number
    assert again.user_attrs["retry_of"] == killed.number
    assert (again.state, again.params) == (TrialState.COMPLETE, killed.params)
    assert again.user_attrs["folder"] == killed.user_attrs["folder"]  # where its checkpoint is
    assert len({row["pid"] for row in app.seen()}) == 3  # the dead one was replaced


@pytest.mark.parametrize("retries", [pytest.param(0, marks=pytest.mark.faults), 1])
def test_a_trial_that_always_dies_is_given_up(app: App, retries: int) -> None:
    out = app.ok(
        "does=die",
        "deaths=99",
        "fails_from=3",
        "x=range(0,4)",
        ":n_jobs=2",
        ":study_name=s",
        f":max_retries={retries}",
    )
    trials = app.trials()
    assert slots_of(trials) == [0, 1, 2]
    died = [t for t in trials if t.user_attrs.get("reason") == "died"]
    assert len(died) == 1 + retries == len([r for r in app.seen() if r["x"] == "3"])
    assert app.view().given_up == [died[0].user_attrs["slot"]]
    assert f"given up after {retries} retries" in out


@pytest.mark.faults
@pytest.mark.slow
def test_workers_that_all_kill_themselves_end_the_sweep_with_a_message(app: App) -> None:
    message = app.refused(
        "does=die", "deaths=99", "x=interval(0,9)", ":n_trials=9", ":n_jobs=2", ":study_name=s"
    )
    assert "3 workers died without finishing a trial" in message
    assert "workers" in message  # where their output is
    assert app.gone()


def test_after_kill_9_of_the_parent_the_same_command_completes(app: App) -> None:
    words = (*SLOW, "x=range(0,5)", ":n_jobs=2")
    with app.started(*words) as process:
        until(lambda: len(app.running()) == 2)
        process.kill()
        process.wait()
        assert app.gone(seconds=3.0)  # WATCH_SECONDS, and the time to hand back
    states = {t.state for t in app.trials()}
    assert TrialState.RUNNING not in states  # its workers lived to hand back
    app.ok(*words)
    trials = app.trials()
    assert slots_of(trials) == list(range(5))
    assert all(t.state.is_finished() for t in trials)


@pytest.mark.faults
@pytest.mark.slow
def test_after_kill_9_of_everything_the_same_command_completes(app: App) -> None:
    """In one process nobody lives to say so: the next start finds the trial RUNNING."""
    # long enough that the kill comes first on a busy machine, too
    words = ("does=sleep", "seconds=3", ":study_name=s", "x=range(0,2)")
    with app.started(*words) as process:
        (trial,) = until(app.running)
        process.kill()
        process.wait()
    assert app.trials()[trial.number].state is TrialState.RUNNING
    app.ok(*words)
    trials = app.trials()
    assert slots_of(trials) == list(range(2))
    assert trials[trial.number].user_attrs["reason"] == "died"
    assert {t.state for t in trials} == {TrialState.FAIL, TrialState.COMPLETE}


def is_seen_to(app: App, number: int, parent: subprocess.Popen[str]) -> bool:
    """The trial was reaped, or the parent ended for too many deaths: its next start reaps."""
    return parent.poll() is not None or app.trials()[number].state is not TrialState.RUNNING


def both_run_after(app: App, finished: int) -> bool:
    return len(app.running()) == 2 and len(slots_of(app.trials())) >= finished


@pytest.mark.faults
@pytest.mark.slow
def test_all_workers_killed_three_times(app: App) -> None:
    words = (*SLOW, "x=range(0,12)", ":n_jobs=2")
    with app.started(*words) as process:
        for turn in range(3):
            until(partial(both_run_after, app, 2 * turn + 1))
            for trial in app.running():
                kill(trial)
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, out + err
    assert slots_of(app.trials()) == list(range(12))


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("deaths", [1, 3, 10])
def test_workers_killed_again_and_again(app: App, deaths: int) -> None:
    """FAULTS 10; the sweep may end early where three die in a row: the same command goes on."""
    words = (*SLOW, "x=range(0,14)", ":n_jobs=2", ":max_retries=20")
    left = deaths
    while left:
        with app.started(*words) as process:
            while left and process.poll() is None:
                # right after a start, one of a dead worker may still stand there as running
                alive = [t for t in app.running() if is_alive(t.user_attrs["owner"])]
                if running := [t for t in alive if age(t) < 0.3]:  # far from its end
                    kill(running[0])
                    left -= 1
                    until(partial(is_seen_to, app, running[0].number, process))
            _, err = process.communicate(timeout=90)
            assert process.returncode == 0 or "3 workers died without finishing a trial" in err
    app.ok(*words)
    trials = app.trials()
    assert slots_of(trials) == list(range(14))
    assert [t.user_attrs.get("reason") for t in trials].count("died") == deaths
    assert all(t.state.is_finished() for t in trials)


@pytest.mark.faults
@pytest.mark.slow
def test_the_parent_killed_at_any_time(app: App) -> None:
    words = ("does=sleep", "seconds=0.1", "x=range(0,12)", ":n_jobs=2", ":study_name=s")
    for wait in (0.3, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0, 3.5):
        with app.started(*words) as process:
            try:
                process.wait(wait)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert app.gone()
    app.ok(*words)
    assert slots_of(app.trials()) == list(range(12))
