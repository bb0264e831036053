"""Workers by Hydra's launchers, and the plain example where neither torch nor W&B is."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from tests.support.helpers import ROOT
from tests.support.sweep_apps import PATIENCE, App, slots_of, until

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


def test_joblib_completes_a_study(app: App) -> None:
    app.ok("hydra/launcher=joblib", ":n_jobs=2", ":study_name=s", "x=range(0,8)")
    assert slots_of(app.trials()) == list(range(8))


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
