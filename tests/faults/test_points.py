"""Faults injected at each point where a run, a sweep or a look at test writes (docs/faults.md)."""

from __future__ import annotations

import contextlib
import gc
import json
import runpy
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

import evaluate_test
import sweepmore.sweep.versions
from nplm import checkpoint, sealed, training
from nplm.app import ending
from nplm.checkpoint import BEST, LAST, PREVIOUS
from nplm.result import Progress
from nplm.run_files import WEIGHTS
from nplm.vocabulary import Unit
from sweepmore.compose import cli
from sweepmore.runs import files
from sweepmore.runs import record as records
from sweepmore.seal.receipts import receipts
from sweepmore.storage.opening import open_storage
from sweepmore.sweep import follow
from tests.support.door import Door, assert_complete, door_in
from tests.support.fault_shim.loop import EACH, Ended, each_point, forked
from tests.support.fault_shim.shim import Faults, Kind
from tests.support.helpers import (
    ROOT,
    TrainHere,
    assert_same_run,
    result_of,
    run_script,
    train_here,
    weights_of,
)
from tests.support.sweep_apps import App, slots_of

# A run of eight steps that is evaluated and saved after every second one.
STEPS, EVERY = 8, 2
Note = Callable[[str, object], None]
# Every kind of fault: once, and as one that stays.
FAULTS: dict[str, tuple[Kind, bool]] = {
    "kill9": ("kill9", False),
    "EIO": ("EIO", False),
    "EIO for good": ("EIO", True),
    "ENOSPC": ("ENOSPC", False),
    "ENOSPC for good": ("ENOSPC", True),
    "short-write": ("short-write", False),
    "short-write for good": ("short-write", True),
}
# Where a point costs a second: one of each kind.
SOME = ("kill9", "EIO", "ENOSPC for good", "short-write for good")
some_faults = pytest.mark.parametrize(
    ("kind", "lasting"), [FAULTS[name] for name in SOME], ids=SOME
)


def enough(kind: Kind) -> range:
    """Where a point costs a second: each for a kill, every fourth for an error."""
    return EACH[::4] if kind in ("EIO", "ENOSPC") else EACH


# Of a sweep, beside its files every commit.
COMMITS_ALONE = ()
loop = [pytest.mark.faults, pytest.mark.timeout(1200)]


@pytest.fixture
def words(few_names: Path) -> list[str]:
    """The smallest run that does everything that a run does."""
    return [
        "data=text", f"data.path={few_names}", "experiment=smoke", "wandb.mode=disabled",
        "model.hidden=4", "optim.momentum=0.5", f"optim.steps={STEPS}",
        f"eval_every={EVERY / STEPS}",
    ]  # fmt: skip


@pytest.fixture
def whole(here: TrainHere, words: list[str], tmp_path: Path) -> Path:
    """The run that nothing happened to; what it imports, every fork of this process has."""
    return here(tmp_path / "whole", *words)


def run(*words: str) -> Callable[[Path], object]:
    """train.py in ``folder``/run, saving at every evaluation, however fast they come."""

    def action(folder: Path) -> object:
        training.CHECKPOINT_SECONDS = -1.0
        return train_here(folder / "run", *words)

    return action


def resumed(folder: Path) -> Ended:
    return forked(lambda: train_here(folder.parent / "unused", f"resume={folder}"))


def assert_loadable(folder: Path) -> None:
    """Whatever checkpoint stands there is a whole one, old or new."""
    for name in (LAST, PREVIOUS, BEST, Path(WEIGHTS)):
        if (folder / name).exists():
            checkpoint.load(folder / name)


def lost_steps(folder: Path) -> int:
    """Steps that the record shows and the last checkpoint has not."""
    shown = [row["step"] for row in records.read_metrics(folder)]
    return int(max(shown) - checkpoint.load_last(folder).about["step"])


def is_done(folder: Path) -> bool:
    return (folder / "result.json").exists() and result_of(folder)["status"] == "ok"


def assert_goes_on(folder: Path, whole: Path) -> int:
    """resume= ends with the bits of the whole run; without a checkpoint yet it says to begin
    anew. Returns how many steps it had lost."""
    assert_loadable(folder)
    if is_done(folder):
        assert_same_run(folder, whole)
        return 0
    if not (folder / LAST).exists():
        assert resumed(folder).refused
        return max((int(row["step"]) for row in records.read_metrics(folder)), default=0)
    lost = lost_steps(folder)
    again = resumed(folder)
    assert again.code == 0, again
    assert_same_run(folder, whole)
    return lost


def loop_of_runs(
    kind: Kind, lasting: bool, words: list[str], whole: Path, place: Path, points: range = EACH
) -> tuple[int, int]:
    """How many points there were, and the most steps that were lost."""
    passed, lost = 0, 0
    for folder, ended in each_point(kind, place, run(*words), lasting=lasting, points=points):
        told = f"{ended.struck}: {ended}"
        if kind == "kill9":
            assert ended.code == -9, told
        else:
            assert ended.code == 0 or ended.refused, told
        try:
            lost = max(lost, assert_goes_on(folder / "run", whole))
        except AssertionError as error:
            raise AssertionError(told) from error
        passed += 1
    return passed, lost


@pytest.mark.system
def test_a_run_hit_at_some_of_the_points(words: list[str], whole: Path, tmp_path: Path) -> None:
    for kind, lasting in FAULTS["kill9"], FAULTS["ENOSPC for good"]:
        passed, _ = loop_of_runs(kind, lasting, words, whole, tmp_path, range(50, 120, 60))
        assert passed == 2


@pytest.mark.faults
@pytest.mark.timeout(1200)
@some_faults
def test_a_run_hit_at_each_point_goes_on_to_the_same_bits(
    kind: Kind, lasting: bool, words: list[str], whole: Path, tmp_path: Path, record_property: Note
) -> None:
    passed, lost = loop_of_runs(kind, lasting, words, whole, tmp_path, points=enough(kind))
    assert passed > (100 if kind == "kill9" else 20)
    assert lost <= EVERY
    record_property("points passed", f"{passed}/{passed}; at most {lost} of {STEPS} steps lost")


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("here")  # restores argv
def test_a_counting_run_killed_at_each_point_goes_on(
    few_names: Path, tmp_path: Path, record_property: Note
) -> None:
    """It takes no step: its checkpoint is of step 0, and its only row is reported again."""
    counting = ["data=text", f"data.path={few_names}", "wandb.mode=disabled", "model=ngram"]
    whole = train_here(tmp_path / "whole", *counting)
    passed, _ = loop_of_runs("kill9", False, counting, whole, tmp_path)
    assert passed > 40
    record_property("points passed", f"{passed}/{passed}")


def test_a_folder_that_is_removed_midway_is_one_message(words: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def gone() -> None:
        row = ending.metrics_row

        def then_gone(progress: Progress, unit: Unit) -> dict[str, Any]:
            if progress.step == STEPS // 2:
                shutil.rmtree(folder)
            return row(progress, unit)

        setattr(ending, "metrics_row", then_gone)  # noqa: B010  # in this process, a fork
        run(*words)(tmp_path)

    ended = forked(gone)
    assert ended.refused, ended
    assert f"{folder} is gone" in ended.err or f"{folder}/checkpoints is gone" in ended.err
    assert not folder.exists()


# a sweep, its trials' tells among its points


def plain_sweep(app: App) -> Callable[[Path], object]:
    """Two trials in ``folder``; parent and worker are one process."""

    def action(folder: Path) -> None:
        words = ("does=result", "x=1,2", ":study_name=s", f":outputs={folder}")
        sweep_of(app.command(*words)[1:])

    return action


def sweep_of(argv: list[str]) -> None:
    """A script as the interpreter would run it, in this process, which should be a fork; nobody
    else is creating its study."""
    sweepmore.sweep.versions.CREATION_SECONDS = 0.1
    sys.argv[:] = sys.orig_argv[1:] = argv
    runpy.run_path(argv[0], run_name="__main__")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What a script changes of its process is put back."""
    argv, words, shown = sys.argv[:], sys.orig_argv[:], warnings.formatwarning
    threshold, creation = gc.get_threshold(), sweepmore.sweep.versions.CREATION_SECONDS
    try:
        yield
    finally:
        sweepmore.sweep.versions.CREATION_SECONDS = creation
        sys.argv[:], sys.orig_argv[:], warnings.formatwarning = argv, words, shown
        gc.set_threshold(*threshold)


def trials_in(folder: Path) -> list[FrozenTrial]:
    """The trials that count: each once, complete; none is running or waits."""
    url = URL.create("sqlite", database=str(folder / "studies.db"))
    trials = optuna.load_study(study_name="s", storage=open_storage(url)).get_trials()
    assert all(trial.state.is_finished() for trial in trials)
    done = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert slots_of(trials) == list(range(len(done))), [trial.user_attrs for trial in trials]
    return done


def loop_of_sweeps(
    kind: Kind,
    lasting: bool,
    sweep: Callable[[Path], object],
    result: Callable[[Path], object],
    place: Path,
    points: range = EACH,
    under: Sequence[str] = ("",),
) -> int:
    """The same command after a fault at each point ends with the ``result`` of a sweep that
    nothing happened to; how many points there were."""
    whole = place / "whole"
    with alone():  # in this process: what it imports and parses, every fork has
        sweep(whole)
    expected, passed = result(whole), 0
    for folder, ended in each_point(
        kind, place, sweep, lasting=lasting, points=points, under=under
    ):
        told = f"{ended.struck}: {ended}"
        if kind == "kill9":
            assert ended.code == -9, told
        else:
            assert ended.code == 0 or ended.refused, told
        again = forked(lambda folder=folder: sweep(folder))  # type: ignore[misc]  # binds
        assert again.code == 0, (told, again)
        assert result(folder) == expected, (told, again)
        passed += 1
    return passed


def plain_result(folder: Path) -> list[tuple[float, object]]:
    found = [
        (t.params["x"], Path(t.user_attrs["folder"]) / "result.json") for t in trials_in(folder)
    ]
    return sorted((x, files.read_json(path)) for x, path in found)


def test_a_sweep_hit_at_some_of_the_points(app: App, tmp_path: Path) -> None:
    sweep = plain_sweep(app)
    points = range(70, 140, 60)
    assert loop_of_sweeps("kill9", False, sweep, plain_result, tmp_path, points) == 2


@pytest.mark.faults
@pytest.mark.timeout(1200)
@some_faults
def test_a_sweep_hit_at_each_point_is_finished_by_the_same_command(
    kind: Kind, lasting: bool, app: App, tmp_path: Path, record_property: Note
) -> None:
    sweep = plain_sweep(app)
    passed = loop_of_sweeps(kind, lasting, sweep, plain_result, tmp_path, enough(kind))
    assert passed > (100 if kind == "kill9" else 5)
    record_property("points passed", f"{passed}/{passed}")


def reporting_sweep(app: App, steps: int) -> Callable[[Path], object]:
    """One trial in ``folder`` that reports."""

    def action(folder: Path) -> None:
        words = ("does=report", f"steps={steps}", "x=1", ":study_name=s", f":outputs={folder}")
        sweep_of(app.command(*words)[1:])

    return action


@pytest.mark.system
def test_a_database_that_fails_at_a_report_fails_no_trial(tmp_path: Path) -> None:
    """It says nothing of the trial, which is handed back. The 79th commit is of a report: the
    thread that follows the study, whose looks are commits at any time, looks but at the begin."""
    app = App.copied(tmp_path)

    def sweep() -> None:
        follow.TICK_SECONDS = 3600.0  # in this process, a fork
        reporting_sweep(app, 20)(app.database.parent)

    ended = forked(sweep, Faults(79, "EIO", COMMITS_ALONE, tmp_path / "log"))
    assert ended.refused, ended
    assert "disk I/O error" in ended.err
    failed, again = app.trials()
    assert 0 < len(failed.intermediate_values) < 20
    assert (failed.state, failed.user_attrs["reason"]) == (TrialState.FAIL, "handed_back")
    assert (again.state, again.user_attrs["attempt"]) == (TrialState.WAITING, 1)


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_a_database_that_fails_at_each_commit_of_a_worker_fails_no_trial(
    app: App, tmp_path: Path, record_property: Note
) -> None:
    """The 45 before it are the parent's, whose errors end the command before any trial."""

    def result(folder: Path) -> list[tuple[object, object]]:
        return [(trial.params, trial.value) for trial in trials_in(folder)]

    sweep = reporting_sweep(app, 2)
    points = EACH[44:]
    passed = loop_of_sweeps("EIO", False, sweep, result, tmp_path, points, under=COMMITS_ALONE)
    assert passed > 30
    record_property("commits passed", f"{passed}/{passed}")


def test_a_trial_that_was_taken_from_its_worker_is_left_alone(app: App, tmp_path: Path) -> None:
    """By another host's parent, as far as its worker knows, which goes on with the next."""
    words = ("does=oversleep", "x=1,2", ":study_name=s", f":outputs={app.folder}/outputs")
    ended = forked(lambda: sweep_of(app.command(*words)[1:]))
    assert ended.code == 0, ended
    assert ended.out.count("trial 0 was reassigned: this worker had not been heard from") == 1
    assert "Traceback" not in ended.err
    trials = app.trials()
    assert slots_of(trials) == [0, 1]
    assert [t.user_attrs.get("reason") for t in trials].count("died") == 1


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("kind", ["kill9", "ENOSPC"])
def test_a_trial_of_train_hit_at_each_point_ends_with_the_same_bits(
    kind: Kind, words: list[str], tmp_path: Path, record_property: Note
) -> None:
    """Its checkpoints and its tell: the folder of the one trial, and every commit."""

    def sweep(folder: Path) -> None:
        more = ("seed=choice(1)", "hydra.sweeper.study_name=s", f"hydra.sweeper.outputs={folder}")
        sweep_of([str(ROOT / "train.py"), "-m", *words, *more])

    def result(folder: Path) -> dict[str, bytes]:
        (trial,) = trials_in(folder)
        assert_loadable(Path(trial.user_attrs["folder"]))
        return weights_of(Path(trial.user_attrs["folder"]))

    under = ("studies/s/0000", "artifacts")
    passed = loop_of_sweeps(kind, kind == "ENOSPC", sweep, result, tmp_path, enough(kind), under)
    assert passed > (100 if kind == "kill9" else 20)
    record_property("points passed", f"{passed}/{passed}")


# a look at test


def look(door: Door, *words: str) -> Callable[[Path], object]:
    """evaluate_test.py; each time that the test split is read leaves a line beside the door."""

    def action(_: Path) -> None:
        load = sealed.load_test

        def counted(*given: Any) -> Any:
            with reads_of(door).open("a") as file:
                file.write("read\n")
            return load(*given)

        setattr(sealed, "load_test", counted)  # noqa: B010  # in this process, a fork
        cli.command(evaluate_test.Arguments, evaluate_test.main, door.words(*words))

    return action


def reads_of(door: Door) -> Path:
    return door.place.parent / f"{door.place.name}.reads"


def read_times(door: Door) -> int:
    return len(reads_of(door).read_text().splitlines()) if reads_of(door).exists() else 0


def outcome(door: Door, told: str) -> str:
    """What the next call says after a fault, and the documented way on from there: ``free``, it
    looks as if nothing had been; ``claimed``, complete=true alone goes on; ``done``, it prints."""
    assert len(door.looks) <= 1, told
    before = read_times(door)
    called = forked(lambda: look(door)(door.place))
    state = "free" if read_times(door) > before else "done"
    assert state != "free" or not before, told  # it had read, so it had claimed
    if called.code == 3:
        assert called.refused, (told, called)
        assert "complete=true" in called.err, (told, called)
        state, called = "claimed", forked(lambda: look(door, "complete=true")(door.place))
    assert called.code == 0, (told, called)
    assert read_times(door) <= 2, told
    assert_complete(door)
    return state


@pytest.mark.system
@pytest.mark.parametrize(
    ("kind", "lasting", "points"),
    [
        ("kill9", False, range(6, 99, 9)),
        *(pytest.param(*one, EACH, id=name, marks=loop) for name, one in FAULTS.items()),
    ],
)
def test_a_look_hit_at_each_point(
    kind: Kind,
    lasting: bool,
    points: range,
    finished: Path,
    few_names: Path,
    tmp_path: Path,
    record_property: Note,
) -> None:
    """Before the claim it may run again; after it the split counts as looked at, and the refusal
    names the way on."""
    found = {"free": 0, "claimed": 0, "done": 0}
    for folder, ended in each_point(
        kind,
        tmp_path,
        lambda folder: look(Door(folder))(folder),
        prepare=lambda folder: door_in(folder, finished, few_names),
        lasting=lasting,
        points=points,
    ):
        told = f"{ended.struck}: {ended}"
        if kind == "kill9":
            assert ended.code == -9, told
        else:
            assert ended.code == 0 or ended.refused, told
        found[outcome(Door(folder), told)] += 1
    record_property("points passed", f"{sum(found.values())}: {found}")


@pytest.fixture
def looked(finished: Path, few_names: Path, tmp_path: Path) -> Door:
    """Two looks from before there were keys; the first has lost its row, the second its receipt."""
    door = door_in(tmp_path / "looked", finished, few_names)
    for words in ((), ("another_look=a bug",)):
        assert called(door, *words).code == 0
    first, second = door.looks
    for receipt in map(door.ledger.path, (first, second)):
        fields = files.read_json(receipt)
        receipt.write_text(json.dumps({**fields, "keys": None, "overlap": None}))
    door.ledger.path(second).unlink()
    with sqlalchemy.create_engine(door.ledger.url).begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE sweepmore_look_keys"))
        connection.execute(sqlalchemy.text("DELETE FROM sweepmore_looks WHERE number = 1"))
    return door


@pytest.mark.system
@pytest.mark.parametrize(
    ("kind", "lasting", "points"),
    [
        ("kill9", False, range(4, 99, 9)),
        pytest.param("kill9", False, EACH, id="kill9", marks=loop),
        pytest.param("EIO", False, enough("EIO"), id="EIO", marks=loop),
    ],
)
def test_mending_hit_at_each_point(
    kind: Kind,
    lasting: bool,
    points: range,
    looked: Door,
    finished: Path,
    few_names: Path,
    tmp_path: Path,
    record_property: Note,
) -> None:
    """Another look, which first restores a row and a receipt and completes both with their keys.
    Whatever is hit, no look is lost or counted twice, no result changes, and the next calls mend
    the rest."""
    results = {one.number: one.result for one in looked.looks}
    found = {"free": 0, "claimed": 0, "done": 0}
    again = "another_look=once more"
    for folder, ended in each_point(
        kind,
        tmp_path,
        lambda folder: look(Door(folder), again)(folder),
        prepare=lambda folder: copied(looked, door_in(folder, finished, few_names)),
        lasting=lasting,
        points=points,
    ):
        door, told = Door(folder), f"{ended.struck}: {ended}"
        if kind == "kill9":
            assert ended.code == -9, told
        else:
            assert ended.code == 0 or ended.refused, told
        state = third_look(door)
        found[state] += 1
        if state == "claimed":
            assert called(door, "complete=true").code == 0, told
        if state == "free":
            assert called(door, again).code == 0, told
        assert called(door).code == 0, told  # it only asks, and mends
        assert third_look(door) == "done", told
        looks = door.looks
        assert looks == door.ledger.looks() == receipts(door.place / "looks"), told
        assert {one.number: one.result for one in looks[:2]} == results, told
        assert len({one.keys for one in looks}) == 1, told
        assert None not in {one.keys for one in looks}, told
    record_property("points passed", f"{sum(found.values())}: {found}")


def called(door: Door, *words: str) -> Ended:
    return forked(lambda: look(door, *words)(door.place))


def copied(looked: Door, door: Door) -> Door:
    """With its looks, and with what their run's record kept of them."""
    shutil.copytree(looked.place / "looks", door.place / "looks")
    shutil.copy(looked.place / "outputs" / "studies.db", door.place / "outputs")
    shutil.copy(looked.run / "result.json", door.run)
    return door


def third_look(door: Door) -> str:
    looks = door.looks
    assert [one.number for one in looks] == [1, 2, 3][: len(looks)]
    assert len(looks) in (2, 3)
    return "free" if len(looks) == 2 else "claimed" if looks[2].result is None else "done"


# in a process of its own, as a user would have it


@pytest.mark.faults
def test_the_shim_by_environment(words: list[str], whole: Path, tmp_path: Path) -> None:
    """No fork, no import of the test's: FAULT_AT alone."""
    faults = Faults(20, "kill9", (tmp_path / "run",), tmp_path / "log")
    folder = tmp_path / "run"
    done = run_script("train.py", *words, f"hydra.run.dir={folder}", env=faults.environment)
    assert (done.returncode, bool(faults.struck)) == (-9, True)
    assert_goes_on(folder, whole)
