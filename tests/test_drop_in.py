"""Applications of the stock Optuna plugin: one word is changed, and the rest of them works."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.sweep_apps import PATIENCE, App, errors, refusal, until

HEAD = """
import os
from decimal import Decimal
from fractions import Fraction

import hydra
import numpy as np
import optuna
from omegaconf import DictConfig

from sweepmore.trial import current_trial

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
"""
TAIL = """
if __name__ == "__main__":
    main()
"""
# The stock plugin's first example, but for one word in its config.
SPHERE = """
def main(cfg: DictConfig) -> float:
    x: float = cfg.x
    y: float = cfg.y
    return x**2 + y**2
"""
SPHERE_CONFIG = """
defaults:
  - override hydra/sweeper: sweepmore

hydra:
  sweeper:
    sampler:
      seed: 123
    direction: minimize
    study_name: sphere
    storage: null
    n_trials: 6
    n_jobs: 1
    params:
      x: range(-5.5, 5.5, step=0.5)
      y: choice(-5, 0, 5)

x: 1
y: 1
z: 1
"""


def example(folder: Path, code: str = SPHERE, config: str = SPHERE_CONFIG) -> App:
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_text(config)
    (folder / "example.py").write_text(HEAD + code + TAIL)
    return App(folder, script="example.py")


class TestSampler:
    def test_a_seed_without_a_name_is_of_tpe(self, tmp_path: Path) -> None:
        """The stock plugin's example, and its command line."""
        app = example(tmp_path)
        typed = ("hydra.sweeper.sampler.seed=124", ":study_name=typed")
        unseeded = ("hydra.sweeper.sampler.seed=null", ":study_name=unseeded", ":n_trials=null")
        lines = ((), typed, unseeded)
        ended = app.each(*lines)
        for line in lines:
            assert ended[line].returncode == 0, errors(ended[line])
        assert "sampler tpe" in ended[()].stdout
        assert "sampler grid" in ended[unseeded].stdout
        asked = app.study("sphere").user_attrs["question"]["sampler"]
        assert asked == {"_target_": "optuna.samplers.TPESampler", "seed": 123}
        assert len(app.trials("sphere")) == len(app.trials("typed")) == 6
        again = (":study_name=again",)
        assert app.each(again)[again].returncode == 0
        points = {
            name: [t.params for t in app.trials(name)] for name in ("sphere", "again", "typed")
        }
        assert points["sphere"] == points["again"] != points["typed"]


def test_trial_pruned_prunes(tmp_path: Path) -> None:
    """Of Optuna's own users: also in a trial that has reported nothing, and in one of repeats."""
    code = """
def main(cfg: DictConfig) -> float:
    if cfg.reports:
        current_trial().report(0, cfg.x)
    if cfg.x > 1:
        raise optuna.TrialPruned("a bad one")
    return cfg.x
"""
    app = example(tmp_path, code, TestObjective.CONFIG + "seed: 0\nreports: false\n")
    words = ("x=0,1,2,3", ":max_failure_rate=0")
    lines = {
        "plain": (*words, ":study_name=plain"),
        "reports": (*words, "reports=true", ":study_name=reports"),
        "repeats": (*words, ":repeats={seed: [1, 2]}", ":study_name=repeats"),
    }
    ended = app.each(*lines.values())
    for name, line in lines.items():
        assert ended[line].returncode == 0, errors(ended[line])
        states = [(t.state, t.user_attrs["status"]) for t in app.trials(name)]
        assert states == [(TrialState.COMPLETE, "ok")] * 2 + [(TrialState.PRUNED, "pruned")] * 2


@pytest.mark.system
def test_trial_pruned_of_a_worker_that_stops_is_handed_back(tmp_path: Path) -> None:
    """The report's answer is the same: only the worker knows why it said stop."""
    code = """
def main(cfg: DictConfig) -> float:
    for step in range(10**9):
        if current_trial().report(step, cfg.x):
            raise optuna.TrialPruned()
        open("begun", "w").close()
"""
    app = example(tmp_path, code, TestObjective.CONFIG)
    with app.started("x=1", ":study_name=s") as process:
        until((tmp_path / "begun").exists)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, out + err
    assert "1 unfinished trial will begin again" in out
    assert [t.state for t in app.trials()] == [TrialState.FAIL, TrialState.WAITING]


class TestObjective:
    """See test_values.py for all that is a number."""

    CODE = """
def main(cfg: DictConfig):
    import torch
    made = {
        "torch": lambda: (torch.tensor([cfg.x], requires_grad=True) * 2).sum(),
        "numpy": lambda: np.float32(2 * cfg.x),
        "exact": lambda: Fraction(cfg.x) * 2,
        "text": lambda: str(cfg.x),
        "reports a text": lambda: current_trial().report(0, "0.5"),
        "reports": lambda: current_trial().report(np.int64(0), np.array([cfg.x])) or 2 * cfg.x,
    }
    return made[cfg.made]()
"""
    CONFIG = "defaults:\n  - override hydra/sweeper: sweepmore\nmade: torch\nx: 0\n"

    def test_is_any_real_number(self, tmp_path: Path) -> None:
        app = example(tmp_path, self.CODE, self.CONFIG)
        kinds = ("torch", "numpy", "exact", "reports")
        lines = {kind: ("x=1.0,2.0", f"made={kind}", f":study_name={kind}") for kind in kinds}
        ended = app.each(*lines.values())
        for kind in kinds:
            assert ended[lines[kind]].returncode == 0, errors(ended[lines[kind]])
            assert sorted(t.value or 0 for t in app.trials(kind)) == [2.0, 4.0]
        assert [t.intermediate_values for t in app.trials("reports")] == [{0: 1.0}, {0: 2.0}]

    @pytest.mark.parametrize("made", ["text", "reports a text"])
    def test_a_text_ends_the_sweep_at_the_first_trial(self, made: str, tmp_path: Path) -> None:
        app = example(tmp_path, self.CODE, self.CONFIG)
        words = ("x=range(0,30)", f"made={made}", ":study_name=s", ":max_failure_rate=1")
        message = refusal(app.each(words)[words])
        assert "Trial 0 has no objective" in message
        assert "a number: the objective" in message
        (finished,) = (t for t in app.trials() if t.state.is_finished())
        assert finished.state is TrialState.FAIL
