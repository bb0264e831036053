"""Every point once, the budget to the trial, nobody waits: in real processes."""

from __future__ import annotations

import statistics
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from tests.sweep_apps import App, errors, slots_of

GRID = ("x=range(0,10)", "y=1,2,3", ":n_jobs=3", ":study_name=s")
FREE = ("x=interval(0,10)", ":n_jobs=3", ":study_name=s")


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App.copied(tmp_path)


def assert_full_grid(app: App) -> None:
    trials = app.trials()
    points = [(t.params["x"], t.params["y"]) for t in trials]
    assert sorted(points) == [(x, y) for x in range(10) for y in (1, 2, 3)]
    assert slots_of(trials) == list(range(30))
    assert len({row["root"] for row in app.seen()}) == len(app.seen()) == 30


@pytest.mark.slow
def test_each_of_30_grid_points_runs_once_with_3_workers(app: App) -> None:
    out = app.ok(*GRID)
    assert_full_grid(app)
    assert "30 trials (the whole grid)" in out
    assert "3 local processes" in out  # it says that it switched from Hydra's basic launcher
    assert len({row["pid"] for row in app.seen()}) > 1


def test_the_budget_is_exact_and_a_raised_one_adds_the_difference(app: App) -> None:
    app.ok(*FREE, ":n_trials=11")
    before = app.trials()
    assert slots_of(before) == list(range(11))
    app.ok(*FREE, ":n_trials=17")
    after = app.trials()
    assert slots_of(after) == list(range(17))
    assert after[:11] == before  # what is finished does not change
    assert len(app.seen()) == 17


def test_two_parents_that_start_together_share_one_budget(app: App) -> None:
    two_parents(app)


def two_parents(app: App) -> None:
    words = (
        "x=interval(0,10)",
        ":n_jobs=2",
        ":study_name=s",
        ":n_trials=20",
        "does=sleep",
        "seconds=0.05",
    )
    with app.started(*words) as one, app.started(*words) as other:
        ends = [process.communicate(timeout=90) for process in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0), ends
    trials = app.trials()
    assert slots_of(trials) == list(range(20))
    assert all(t.state.is_finished() for t in trials)
    (folder,) = (app.folder / "outputs" / "studies").iterdir()
    assert folder.name == "s"
    folders = [row["folder"] for row in app.seen()]
    assert len(set(folders)) == len(folders) == 20


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(20))
def test_twenty_rounds_of_the_grid(app: App, turn: int) -> None:
    app.ok(*GRID)
    assert_full_grid(app)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(20))
def test_twenty_rounds_of_the_budget(app: App, turn: int) -> None:
    app.ok(*FREE, ":n_trials=20")
    assert slots_of(app.trials()) == list(range(20))


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("turn", range(5))
def test_five_rounds_of_two_parents(app: App, turn: int) -> None:
    two_parents(app)


def idle_share(trials: list[FrozenTrial]) -> float:
    """Median over workers of the time between trials, by the time within them."""
    of_worker: dict[int, list[FrozenTrial]] = defaultdict(list)
    for trial in trials:
        of_worker[trial.user_attrs["owner"]["pid"]].append(trial)
    shares = []
    for mine in of_worker.values():
        spans = sorted(
            (t.datetime_start.timestamp(), t.datetime_complete.timestamp())
            for t in mine
            if t.datetime_start is not None and t.datetime_complete is not None
        )
        idle = sum(after[0] - before[1] for before, after in pairwise(spans))
        shares.append(idle / sum(end - start for start, end in spans))
    return statistics.median(shares)


def test_no_worker_waits_for_another(app: App) -> None:
    """Trials of 0.5 s and 3 s: in batches of two, a worker would idle for most of the time."""
    done = app.run("x=range(0,12)", "does=mixed", ":n_jobs=2", ":study_name=s")
    assert done.returncode == 0, errors(done)
    assert slots_of(app.trials()) == list(range(12))
    assert idle_share(app.trials()) <= 0.05
