"""Every point once, the budget to the trial, nobody waits: in real processes."""

from __future__ import annotations

import pytest

from tests.support.sweep_apps import PATIENCE, App, slots_of, until

GRID = ("x=range(0,10)", "y=1,2,3", ":n_jobs=3", ":study_name=s")
FREE = ("x=interval(0,10)", ":n_jobs=3", ":study_name=s")


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


def test_a_search_that_goes_on_over_the_whole_grid_asks_no_point_twice(app: App) -> None:
    """A budget that the grid is larger than was a search's; two workers and a known point."""
    words = ("x=range(0,4)", "y=1,2", ":n_jobs=2", ":study_name=s", ":enqueue=[{x:3}]")
    out = app.ok(*words, ":n_trials=2")
    assert "2 trials (1 known first); minimize; sampler tpe" in out
    first = {(t.params["x"], t.params["y"]) for t in app.trials()}
    out = app.ok(*words, ":n_trials=20")
    assert "8 trials (the whole grid; 1 known first); minimize; sampler grid" in out
    points = [(t.params["x"], t.params["y"]) for t in app.trials()]
    assert len(points) == 8
    assert set(points[2:]).isdisjoint(first)
    assert len(set(points[2:])) == 6


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
        "does=gated",
    )
    with app.started(*words) as one, app.started(*words) as other:
        until(lambda: len(app.running()) == 4)  # the workers of both
        app.open_gate()
        ends = [process.communicate(timeout=PATIENCE) for process in (one, other)]
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


def test_no_worker_waits_for_another(app: App) -> None:
    """While one is in its first trial the other does all that are left: in batches of two, its
    second one would wait for ever."""
    with app.started("x=range(0,12)", "does=gated", ":n_jobs=2", ":study_name=s") as process:
        until(lambda: len(app.running()) == 2)
        long, _ = app.running()
        app.open_gate(*{*range(12)} - {long.number})
        until(lambda: app.has_finished(11))
        assert [t.number for t in app.running()] == [long.number]
        app.open_gate()
        ended = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, ended
    assert slots_of(app.trials()) == list(range(12))
