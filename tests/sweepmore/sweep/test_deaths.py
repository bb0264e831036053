"""kill -9 of workers and of the parent: each trial is finished, and counts once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from sweepmore.wording import plural
from tests.support.sweep_apps import PATIENCE, App, slots_of, until

GATED = ("does=gated", ":study_name=s")


def kill(trial: FrozenTrial) -> None:
    psutil.Process(trial.user_attrs["owner"]["pid"]).kill()


def two_running(app: App) -> list[FrozenTrial] | None:
    running = app.running()
    return running if len(running) == 2 else None


@pytest.mark.always
def test_a_killed_workers_trial_is_tried_again_and_counts_once(app: App) -> None:
    with app.started(*GATED, "x=range(0,6)", ":n_jobs=2") as process:
        killed = until(lambda: two_running(app))[0]
        kill(killed)
        until(lambda: len(app.pids()) == 3)  # the dead one was replaced
        app.open_gate()
        out, err = process.communicate(timeout=PATIENCE)
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
    assert f"given up after {plural(retries, 'retry', 'retries')}" in out


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
    words = (*GATED, "x=range(0,5)", ":n_jobs=2")
    with app.started(*words) as process:
        until(lambda: two_running(app))
        process.kill()
        process.wait()
        assert app.gone()  # before their tasks could end
    states = {t.state for t in app.trials()}
    assert TrialState.RUNNING not in states  # its workers lived to hand back
    app.open_gate()
    app.ok(*words)
    trials = app.trials()
    assert slots_of(trials) == list(range(5))
    assert all(t.state.is_finished() for t in trials)


@pytest.mark.faults
@pytest.mark.slow
def test_after_kill_9_of_everything_the_same_command_completes(app: App) -> None:
    """In one process nobody lives to say so: the next start finds the trial RUNNING."""
    words = (*GATED, "x=range(0,2)")
    with app.started(*words) as process:
        (trial,) = until(app.running)
        process.kill()
        process.wait()
    assert app.trials()[trial.number].state is TrialState.RUNNING
    app.open_gate()
    app.ok(*words)
    trials = app.trials()
    assert slots_of(trials) == list(range(2))
    assert trials[trial.number].user_attrs["reason"] == "died"
    assert {t.state for t in trials} == {TrialState.FAIL, TrialState.COMPLETE}


def is_seen_to(app: App, number: int, parent: subprocess.Popen[str]) -> bool:
    """The trial was reaped, or the parent ended for too many deaths: its next start reaps."""
    return parent.poll() is not None or app.trials()[number].state is not TrialState.RUNNING


@pytest.mark.faults
@pytest.mark.slow
def test_all_workers_killed_three_times(app: App) -> None:
    """One trial ends between two times: three deaths without would end the sweep."""
    words = (*GATED, "x=range(0,12)", ":n_jobs=2")
    with app.started(*words) as process:
        for turn in range(3):
            ended = until(lambda: two_running(app))[0]
            app.open_gate(ended.user_attrs.get("root", ended.number))
            until(partial(app.has_finished, turn + 1))
            for trial in until(lambda: two_running(app)):
                kill(trial)
        app.open_gate()
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
    assert slots_of(app.trials()) == list(range(12))
    assert [t.user_attrs.get("reason") for t in app.trials()].count("died") == 6


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("deaths", [1, 3, 10])
def test_workers_killed_again_and_again(app: App, deaths: int) -> None:
    """FAULTS 10; the sweep ends early where three die in a row: the same command goes on."""
    words = (*GATED, "x=range(0,14)", ":n_jobs=2", ":max_retries=20")
    for left in range(deaths, 0, -3):
        with app.started(*words) as process:
            for _ in range(min(left, 3)):
                trial = until(app.running)[0]
                kill(trial)
                until(partial(is_seen_to, app, trial.number, process))
            if left < 3:
                app.open_gate()
            _, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == (2 if left >= 3 else 0), err
            assert ("3 workers died without finishing a trial" in err) is (left >= 3)
    app.open_gate()
    app.ok(*words)
    trials = app.trials()
    assert slots_of(trials) == list(range(14))
    assert [t.user_attrs.get("reason") for t in trials].count("died") == deaths
    assert all(t.state.is_finished() for t in trials)


def worker_logs(app: App) -> list[Path]:
    return list((app.folder / "outputs" / "studies" / "s" / "workers").glob("*.log"))


@pytest.mark.faults
@pytest.mark.slow
def test_the_parent_killed_at_any_time(app: App) -> None:
    """Of its life: from the first file that it leaves until some trials have ended."""
    words = (*GATED, "x=range(0,12)", ":n_jobs=2")

    def another_ended() -> bool:
        before, trial = len(slots_of(app.trials())), until(lambda: two_running(app))[0]
        app.open_gate(trial.user_attrs.get("root", trial.number))
        return bool(until(lambda: app.has_finished(before + 1)))

    moments: list[Callable[[], object]] = [
        (app.folder / "outputs").exists,
        app.database.exists,
        lambda: "s" in app.names(),
        lambda: worker_logs(app),
        lambda: len(worker_logs(app)) == 2,
        app.running,
        lambda: two_running(app),
        another_ended,
        lambda: another_ended() and another_ended(),
    ]
    for moment in moments:
        with app.started(*words) as process:
            until(moment)
            process.kill()
            process.wait()
            assert app.gone()
    app.open_gate()
    app.ok(*words)
    trials = app.trials()
    assert slots_of(trials) == list(range(12))
    assert all(t.state.is_finished() for t in trials)
