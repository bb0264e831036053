"""Lightning: the template's search file, two workers, a kill, pruning; and without a sweep."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import sweepmore
from sweepmore.errors import ConfigError
from sweepmore.trial import SweepTrial, entered
from tests.support.helpers import ROOT, environment
from tests.support.sweep_apps import App

APP = ROOT / "tests" / "support" / "lightning_app"


def test_the_module_is_short() -> None:
    path = ROOT / "src" / "sweepmore" / "integrations" / "lightning.py"
    assert len(path.read_text().splitlines()) <= 60


@pytest.fixture
def fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``fitted(callback)``: Lightning's own trainer after four epochs of four steps, or fewer."""
    monkeypatch.syspath_prepend(APP)
    from lightning import Trainer

    net = import_module("net")

    def fit(callback: Any) -> Any:
        trainer = Trainer(
            max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
            default_root_dir=tmp_path, callbacks=[callback],
        )  # fmt: skip
        trainer.fit(net.Net(lr=0.1))
        return trainer

    return fit


def trial_of(report: Callable[[int, float], bool], *earlier: Path) -> SweepTrial:
    return SweepTrial("s", 0, 0, "s-0", earlier=earlier, _report=report)


@pytest.mark.filterwarnings("ignore")
class TestReport:
    """A sanity check comes before each fit: it is never reported."""

    def test_it_stops_at_the_validation_that_the_study_prunes(
        self, fitted: Callable[..., Any]
    ) -> None:
        from sweepmore.integrations.lightning import Report

        seen: list[tuple[int, float]] = []

        def report(step: int, value: float) -> bool:
            seen.append((step, value))
            return step == 8

        with entered(trial_of(report)):
            trainer = fitted(Report("val/loss"))
            assert [step for step, _ in seen] == [4, 8]
            assert trainer.global_step == 8
            assert seen[-1][1] == float(trainer.callback_metrics["val/loss"])
            trainer.validate(trainer.lightning_module, verbose=False)
        assert len(seen) == 2  # a validation after the fit is no step of it

    def test_without_a_trial_of_this_process_it_does_nothing(
        self, fitted: Callable[..., Any]
    ) -> None:
        from sweepmore.integrations.lightning import Report

        assert fitted(Report("val/loss")).global_step == 16
        forked = Report("val/loss")
        forked.process = -1
        with entered(trial_of(lambda step, value: True)):
            assert fitted(forked).global_step == 16

    def test_a_metric_that_nothing_logs_is_refused(self, fitted: Callable[..., Any]) -> None:
        from sweepmore.integrations.lightning import Report

        with (
            entered(trial_of(lambda step, value: False)),
            pytest.raises(ConfigError, match="monitors none, which nothing logs") as refused,
        ):
            fitted(Report("none"))
        assert refused.value.cure == "Logged are: val/loss."


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torn_checkpoint_gives_way_to_that_of_an_earlier_attempt(tmp_path: Path) -> None:
    from sweepmore.integrations.lightning import last_checkpoint

    own, before = tmp_path / "own", tmp_path / "before"
    for folder in (own, before):
        folder.mkdir()
        torch.save({"weight": torch.ones(3)}, folder / "last.ckpt")
    with entered(trial_of(lambda step, value: False, before)):
        assert last_checkpoint(own) == str(own / "last.ckpt")
        whole = (own / "last.ckpt").read_bytes()
        for cut in range(0, len(whole), len(whole) // 16):
            (own / "last.ckpt").write_bytes(whole[:cut])
            assert last_checkpoint(own) == str(before / "last.ckpt"), cut
    assert last_checkpoint(own) is None


def test_a_further_process_of_a_trial_does_not_begin_the_sweep_again(app: App) -> None:
    """Lightning's ddp starts it; see ``check_rank``."""
    message = app.refused("x=range(0,2)", env={"LOCAL_RANK": "1"})
    assert "LOCAL_RANK=1: it would begin the sweep a second time" in message
    assert not app.database.exists()


@pytest.mark.system
def test_the_templates_search_with_a_killed_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies after three epochs of four steps, and trains the other five from its checkpoint."""
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
    assert resumed["steps"] == 5 * 4
    assert resumed["step"] == 8 * 4
    assert all(line["step"] == line["steps"] for line in lines if not line["resumed"])
    complete = [trial for trial in study.trials if trial.state == "COMPLETE"]
    pruned = [trial for trial in study.trials if trial.state == "PRUNED"]
    assert len(complete) + len(pruned) == 5
    assert complete
    assert pruned
    assert study.best is not None
    assert study.best.value == min(trial.value for trial in complete if trial.value is not None)
