"""The configs that docs/migration.md says others become: each is swept as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from sweepmore import load_study
from tests.support.helpers import ROOT, environment

PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
BECOMES = re.compile(
    r"^## From ([^\n]+)\n(?:(?!^## ).)*?\nbecomes\n\n```yaml\n(.*?)```", re.M | re.S
)
CONFIGS = dict(BECOMES.findall(PAGE))
APP = """
import hydra
import sweepmore


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(config):
    trial, loss = sweepmore.current_trial(), 0.0
    for step in range(1, 4):
        loss = abs(config.lr - 0.02) * config.layers / step
        if trial is not None and trial.report(step, loss):
            break
    return loss


main()
"""


def test_each_tool_has_its_config() -> None:
    assert list(CONFIGS) == ["W&B sweeps", "Ray Tune", "plain Optuna"]


@pytest.mark.system
@pytest.mark.parametrize("tool", CONFIGS)
def test_is_swept_as_it_is(tool: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "config.yaml").write_text(CONFIGS[tool] + "lr: 0.01\nlayers: 1\n")
    done = subprocess.run(
        [sys.executable, "app.py", "-m", "hydra.sweeper.study_name=moved"],
        cwd=tmp_path,
        env=environment({}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    record = load_study("moved", outputs=tmp_path / "outputs")
    assert len(record.trials) == 20
    assert all(0.001 <= trial.params["lr"] <= 0.1 for trial in record.trials)
    assert {trial.params["layers"] for trial in record.trials} <= {1, 2, 3}
    if "enqueue" in CONFIGS[tool]:
        first = min(record.trials, key=lambda trial: trial.number)
        assert first.params == {"lr": 0.01, "layers": 2}
    if "pruner" in CONFIGS[tool]:
        storage = f"sqlite:///{tmp_path / 'outputs' / 'studies.db'}"
        trials = optuna.load_study(study_name="moved", storage=storage).get_trials()
        assert max(len(trial.intermediate_values) for trial in trials) == 3
