"""Lightning: the template's search file, two workers, a kill, pruning; and without a sweep."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

import sweepmore
from sweepmore.errors import ConfigError
from sweepmore.trial import SweepTrial, entered
from tests.support.helpers import ROOT, environment

APP = ROOT / "tests" / "support" / "lightning_app"


def test_the_module_is_short() -> None:
    path = ROOT / "src" / "sweepmore" / "integrations" / "lightning.py"
    assert len(path.read_text().splitlines()) <= 60


@pytest.fixture
def trainer() -> Any:
    """The five attributes of a trainer that the callback reads."""
    strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
    return SimpleNamespace(
        sanity_checking=False, callback_metrics={"val/loss": torch.tensor(0.5)}, global_step=7,
        is_global_zero=True, should_stop=False, strategy=strategy,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_reports_and_stops_where_the_study_prunes(trainer: Any) -> None:
    from sweepmore.integrations.lightning import Report

    seen: list[tuple[int, float]] = []

    def report(step: int, value: float) -> bool:
        seen.append((step, value))
        return len(seen) > 1

    callback, module = Report("val/loss"), cast(Any, None)
    callback.on_validation_end(trainer, module)  # no sweep: nothing
    with entered(SweepTrial("s", 0, 0, "s-0", _report=report)):
        trainer.sanity_checking = True
        callback.on_validation_end(trainer, module)
        assert seen == []
        trainer.sanity_checking = False
        callback.on_validation_end(trainer, module)
        assert (seen, trainer.should_stop) == ([(7, 0.5)], False)
        callback.on_validation_end(trainer, module)
        assert trainer.should_stop is True
        with pytest.raises(ConfigError, match="monitors none, which nothing logs"):
            Report("none").on_validation_end(trainer, module)


@pytest.mark.system
def test_the_templates_search_with_a_killed_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four epochs of four steps after the kill: it resumed from Lightning's own checkpoint."""
    shutil.copytree(APP, tmp_path / "app", ignore=shutil.ignore_patterns("__*"))
    monkeypatch.chdir(tmp_path / "app")
    words = ["hparams_search=optuna", f"paths.log={tmp_path / 'log'}", "hydra.sweeper.n_jobs=2",
             "hydra.sweeper.n_trials=5", "hydra/sweeper/pruner=threshold",
             "+hydra.sweeper.pruner.upper=3", f"model.die={tmp_path / 'died'}",
             "hydra.sweeper.study_name=s"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "train.py", *words], cwd=tmp_path / "app", env=environment({}),
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    study = sweepmore.load_study("s")
    assert len(study.trials) == study.n_trials == 5
    assert sorted(trial.attempts for trial in study.trials) == [1, 1, 1, 1, 2]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (resumed,) = [line for line in lines if line["resumed"]]
    assert resumed["steps"] < resumed["step"]
    assert resumed["step"] == 8 * 4
    assert all(line["step"] == line["steps"] for line in lines if not line["resumed"])
    complete = [trial for trial in study.trials if trial.state == "COMPLETE"]
    pruned = [trial for trial in study.trials if trial.state == "PRUNED"]
    assert len(complete) + len(pruned) == 5
    assert complete
    assert pruned
    assert study.best is not None
    assert study.best.value == min(trial.value for trial in complete if trial.value is not None)
