"""The stock plugin's first example, as an application in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from sweepmore.compose.hydra_internals import IS_13
from tests.support.sweep_apps import App

HEAD = """
import os
from decimal import Decimal
from fractions import Fraction

import hydra
import numpy as np
import optuna
from omegaconf import DictConfig

from sweepmore.trial import current_trial

@hydra.main(VERSION_BASE config_path="conf", config_name="config")
""".replace("VERSION_BASE", 'version_base="1.3",' if IS_13 else "")
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
