"""A whole study of 100 trials, and the lecture's one run of 200,000 steps.

``python -m benchmarks.study``
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import torch
from optuna.trial import TrialState

from benchmarks import lecture
from benchmarks.common import ROOT, Comparison, lecture_data, measure, text
from nplm.data import load_splits

PAIRS = 3
TRIALS, LEVEL = 100, 2.09


def ours(best: list[float]) -> float:
    """Seconds of ``python train.py -m sweeps=hundred`` from the shell; its best dev loss too."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "train.py", "-m", "sweeps=hundred"]
        began = time.perf_counter()
        subprocess.run(
            [*command, f"hydra.sweeper.outputs={folder}"], cwd=ROOT, capture_output=True, check=True
        )
        elapsed = time.perf_counter() - began
        study = optuna.load_study(
            study_name="hundred", storage=f"sqlite:///{Path(folder) / 'studies.db'}"
        )
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        done = [trial for trial in study.get_trials(deepcopy=False) if trial.state in ended]
        assert len(done) == TRIALS, len(done)
        best.append(study.best_value)
    return elapsed


def compare() -> Comparison:
    splits = load_splits(lecture_data(), 3)
    if splits.name != "names":
        raise SystemExit("names.txt is needed: SWEEPMORE_DATA_DIR=FOLDER")
    torch.set_num_threads(1)
    best: list[float] = []
    mine, theirs = measure(
        lambda: ours(best),
        lambda: lecture.run(splits.train, len(splits.vocabulary), 0),
        PAIRS,
        warm=False,
    )
    reached = ", ".join(f"{value:.3f}" for value in best)
    work = (
        f"ours: sweeps=hundred from the shell, {TRIALS} trials complete or pruned, two workers, "
        f"W&B offline, best dev losses {reached} (wanted: ≤ {LEVEL}); theirs: the loop of one "
        f"run of {lecture.STEPS:,} steps"
    )
    return Comparison("100 trials, against one run of the lecture", work, "s", mine, theirs)


if __name__ == "__main__":
    print(text(compare()))
