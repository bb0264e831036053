"""Workers by Hydra's launchers, and the plain example where neither torch nor W&B is."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from sweepmore.errors import ConfigError
from sweepmore.process.machine import cores
from sweepmore.sweep import launchers
from sweepmore.sweep.preview import shown_launcher
from tests.support.helpers import ROOT
from tests.support.sweep_apps import PATIENCE, App, runs, slots_of, until

SUBMITIT = ("hydra/launcher=submitit_local", ":n_jobs=2", ":study_name=s")


def test_submitit_completes_a_study(app: App) -> None:
    with app.started(*SUBMITIT, "x=range(0,8)", "does=gated") as process:
        until(lambda: len(app.running()) == 2)
        app.open_gate()
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
    assert slots_of(app.trials()) == list(range(8))
    assert len(app.pids()) == 2
    assert "2 by LocalLauncher" in out
    assert app.gone()


@pytest.mark.slow  # as below
def test_a_dead_worker_of_submitit_does_not_end_the_sweep(app: App) -> None:
    with app.started(*SUBMITIT, "x=range(0,8)", "does=gated") as process:
        killed = until(app.running)[0]
        psutil.Process(killed.user_attrs["owner"]["pid"]).kill()
        app.open_gate()
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
    trials = app.trials()
    assert slots_of(trials) == list(range(8))
    assert trials[killed.number].user_attrs["reason"] == "died"
    assert "a worker died" in err


@pytest.mark.slow
def test_failures_end_submitits_sweep_as_any(app: App) -> None:
    done = app.run(*SUBMITIT, "x=range(0,20)", "does=fail")
    assert done.returncode == 1
    assert "ValueError: a mistake" in done.stderr
    assert len(slots_of(app.trials())) <= 7


@pytest.mark.slow  # submitit takes 15 s to believe that a job died
def test_submitits_workers_that_all_die_end_it_with_a_message(app: App) -> None:
    done = app.run(*SUBMITIT, "x=interval(0,9)", ":n_trials=9", "does=die", "deaths=99")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "3 times without a trial" in done.stderr


def test_submitits_workers_stop_with_their_parent(app: App) -> None:
    """Before their tasks could end."""
    with app.started(*SUBMITIT, "x=range(0,8)", "does=gated") as process:
        until(lambda: len(app.running()) == 2)
        process.kill()
        process.wait()
        until(lambda: not app.running())
    assert TrialState.RUNNING not in {t.state for t in app.trials()}


def test_ctrl_c_reaches_submitits_workers(app: App) -> None:
    """Before their tasks could end."""
    with app.started(*SUBMITIT, "x=range(0,20)", "does=gated") as process:
        until(lambda: len(app.running()) == 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, out + err
        until(lambda: not app.running())
    trials = app.trials()
    assert len([t for t in trials if t.user_attrs.get("reason") == "handed_back"]) == 2
    assert slots_of(trials) == []


def reasons(app: App) -> list[str | None]:
    return [trial.user_attrs.get("reason") for trial in app.trials()]


JOBLIB = ("hydra/launcher=joblib", ":study_name=s")


def test_joblib_completes_a_study(app: App) -> None:
    app.ok(*JOBLIB, ":n_jobs=2", "x=range(0,8)")
    assert slots_of(app.trials()) == list(range(8))


@pytest.mark.parametrize("does", ["gated", "reporting"])
@pytest.mark.parametrize("hears", ["parent", "terminal"])
def test_ctrl_c_ends_joblibs_workers(
    app: App, hears: str, does: str, record_property: Callable[[str, object], None]
) -> None:
    """Neither task would end by itself, and in a terminal each process hears it."""
    two = (*JOBLIB, ":n_jobs=2", "hydra.launcher.n_jobs=2")
    with app.started(*two, "x=range(0,8)", f"does={does}", "steps=0") as process:
        until(lambda: len(app.running()) == 2)
        workers = app.pids()
        began = time.monotonic()
        (os.kill if hears == "parent" else os.killpg)(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        seconds = time.monotonic() - began
    assert process.returncode == 130, out + err
    record_property("seconds from Ctrl-C to the end", round(seconds, 1))
    assert reasons(app).count("handed_back") == 2
    assert "2 of them begun; to continue" in out
    assert not any(map(runs, workers))
    assert seconds < 15  # 2 here; a worker asks every second, and two cores are shared with others


def test_a_second_ctrl_c_interrupts_joblibs_workers(app: App) -> None:
    """In a step that is longer than anybody waits; after the first they would end it."""
    two = (*JOBLIB, ":n_jobs=2", "hydra.launcher.n_jobs=2")
    with app.started(*two, "x=range(0,8)", "does=stuck") as process:
        until(lambda: len(app.lines("stuck")) == 2)
        process.send_signal(signal.SIGINT)
        until(lambda: app.lines("heard") == [False, False])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, out + err
    assert app.lines("heard") == [False, False, True, True]
    assert reasons(app).count("handed_back") == 2
    assert not any(map(runs, app.pids()))


def test_joblibs_workers_all_die_with_the_first(app: App) -> None:
    """That is how joblib ends its pool; it is one death of the sweep's, not three in a row."""
    three = (*JOBLIB, ":n_jobs=3", "hydra.launcher.n_jobs=3")
    with app.started(*three, "x=range(0,8)", "does=gated") as process:
        killed = until(lambda: len(app.running()) == 3 and app.running())[0]
        psutil.Process(killed.user_attrs["owner"]["pid"]).kill()
        until(lambda: reasons(app).count("died") == 3)
        app.open_gate()
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
    assert slots_of(app.trials()) == list(range(8))


def test_joblib_with_one_process_is_the_parent(app: App) -> None:
    """Joblib would run it in a thread."""
    said = app.ok(*JOBLIB, ":n_jobs=2", "hydra.launcher.n_jobs=1", "x=range(0,3)")
    assert "workers  1, this process: hydra.launcher.n_jobs is 1" in said
    assert len(app.pids()) == 1


@pytest.mark.parametrize(
    ("n_jobs", "of_joblib", "said"),
    [
        (2, 4, "2 by JoblibLauncher, as hydra.sweeper.n_jobs says; hydra.launcher.n_jobs allows 4"),
        (4, 2, "2 at a time by JoblibLauncher: hydra.launcher.n_jobs is less than "
               "hydra.sweeper.n_jobs=4"),
    ],
)  # fmt: skip
def test_the_preview_says_which_n_jobs_governs(n_jobs: int, of_joblib: int, said: str) -> None:
    assert shown_launcher(launchers.JOBLIB, {"n_jobs": of_joblib}, n_jobs) == said


def test_the_preview_says_what_a_task_of_ray_takes() -> None:
    keys = {"ray": {"remote": {"num_gpus": 0.5}}}
    said = "3 by RayLauncher, each with num_cpus 1, num_gpus 0.5"
    assert shown_launcher(launchers.RAY, keys, 3) == said


@pytest.mark.parametrize(
    ("launcher", "cure"),
    [
        ({"_target_": launchers.JOBLIB, "n_jobs": 0}, "-1 for one on each core"),
        ({"_target_": launchers.RAY_AWS}, "with hydra/launcher=ray hydra.launcher.ray.init."),
    ],
)
def test_a_launcher_by_which_no_worker_begins_is_refused(
    launcher: dict[str, object], cure: str
) -> None:
    with pytest.raises(ConfigError, match="worker") as refused:
        launchers.check_launcher(launcher)
    assert cure in refused.value.cure


def test_joblib_counts_from_the_cores() -> None:
    assert launchers.joblibs_workers(3) == 3
    assert launchers.joblibs_workers(-1) == cores()
    assert launchers.joblibs_workers(-1 - cores()) == 1


# Python imports this before anything else from a folder on PYTHONPATH.
BLOCKER = """
import sys
from importlib.machinery import PathFinder

class Blind(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.partition(".")[0] in ("torch", "wandb")
        return None if absent else super().find_spec(name, path, target)

sys.meta_path[:] = [Blind if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which torch and W&B cannot be imported."""
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKER)
    return {"PYTHONPATH": str(folder)}


@pytest.mark.system
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_plain_example_needs_neither_torch_nor_wandb(
    tmp_path: Path, bare: dict[str, str], n_jobs: int
) -> None:
    shutil.copytree(ROOT / "examples" / "plain", tmp_path / "plain")
    plain = App(tmp_path / "plain")
    (plain.folder / "app.py").write_text(
        "import sys\n"
        + (plain.folder / "app.py")
        .read_text()
        .replace(
            "    return (cfg.x",
            "    assert not {'torch', 'wandb'} & set(sys.modules)\n    return (cfg.x",
        )
    )
    out = plain.ok(
        "x=interval(-5,5)",
        "y=choice(1,2,3)",
        f":n_jobs={n_jobs}",
        ":n_trials=5",
        ":study_name=s",
        env=bare,
    )
    assert slots_of(plain.trials()) == list(range(5))
    assert "5 complete" in out


def test_gp_says_what_to_install(app: App, bare: dict[str, str]) -> None:
    message = app.refused("x=interval(0,1)", "hydra/sweeper/sampler=gp", env=bare)
    assert "GPSampler needs torch" in message
    assert "pip install torch" in message


@pytest.mark.slow
def test_the_scikit_learn_example_needs_neither_torch_nor_wandb(
    tmp_path: Path, bare: dict[str, str]
) -> None:
    shutil.copytree(ROOT / "examples" / "sklearn", tmp_path / "sklearn")
    app = App(tmp_path / "sklearn")
    app.ok(":n_trials=3", ":study_name=s", env=bare)
    first, *others = app.trials()
    assert first.params["model.max_leaf_nodes"] == 31  # the library's own settings go first
    assert len(first.intermediate_values) == 5  # a report each fold
    assert first.value is not None
    assert first.value == pytest.approx(list(first.intermediate_values.values())[-1])
    assert len(others) == 2
