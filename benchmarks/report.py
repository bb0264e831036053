"""A report over a study of 1,000 trials: seconds from the prompt, bytes of the page.

``python -m benchmarks.report``
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.common import ROOT, machine, spread
from sweepmore.storage.opening import open_storage
from sweepmore.storage.urls import storage_url

RUNS = 3
TRIALS, REPORTS, PARAMETERS = 1_000, 10, 6
# What is wanted (guess): nobody waits longer for a page, and a chat still takes it.
MOST_SECONDS, MOST_BYTES = 10, 2_000_000


def thousand(storage: optuna.storages.BaseStorage | None, run: str) -> optuna.Study:
    """As sweepmore leaves a study, without the training: two thirds of the trials complete, the
    others pruned; ``run`` is the folder of each one's run."""
    study = optuna.create_study(study_name="thousand", storage=storage)
    space: dict[str, BaseDistribution] = {
        f"p{k}": FloatDistribution(0.001, 1.0, log=True) for k in range(PARAMETERS)
    }
    shown = {name: json.loads(distribution_to_json(one)) for name, one in space.items()}
    study.set_user_attr("question", {"space": shown, "config": {}, "identity": None})
    study.set_user_attr("command", {"script": ["train.py"], "fixed": [], "hydra": [], "words": []})
    study.add_trials([_trial(number, space, run) for number in range(TRIALS)])
    return study


def _trial(number: int, space: dict[str, BaseDistribution], run: str) -> FrozenTrial:
    params = {name: 0.001 + (number * (k + 7) % 997) / 1000 for k, name in enumerate(space)}
    value = 2 + sum(abs(p - 0.3) for p in params.values()) / 10
    kept = {"train_loss": value - 0.02, "dev_loss": value}
    return create_trial(
        state=TrialState.COMPLETE if number % 3 else TrialState.PRUNED,
        value=value,
        params=params,
        distributions=space,
        user_attrs={"slot": number, "root": number, "attempt": 0, "folder": run, "result": kept},
        intermediate_values={step: value + 1 / (1 + step) for step in range(REPORTS)},
    )


def called(*words: str) -> float:
    """Seconds of a script or of the command, from the prompt to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - began


def measure() -> tuple[list[float], int]:
    """Seconds of each ``sweepmore report thousand``, and the bytes of its page."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        run = outputs / "run"
        called("train.py", "experiment=quick", "wandb.mode=disabled", f"hydra.run.dir={run}")
        thousand(open_storage(storage_url(None, None, outputs)), str(run))
        words = ("-m", "sweepmore", "report", "thousand", f"--outputs={outputs}")
        seconds = [called(*words) for _ in range(RUNS)]
        return seconds, (outputs / "reports" / "thousand" / "index.html").stat().st_size


def table() -> str:
    """Markdown: what was measured beside what is wanted."""
    seconds, size = measure()
    low, high = spread(seconds)[::2]
    return (
        "| `sweepmore report …` over 1,000 trials | measured | wanted |\n|---|---|---|\n"
        f"| from the prompt to its end | {median(seconds):.1f} s ({low:.1f} – {high:.1f}, "
        f"{RUNS} runs) | ≤ {MOST_SECONDS} s |\n"
        f"| bytes of the page | {size / 1e6:.2f} MB | < {MOST_BYTES / 1e6:.0f} MB |\n\n"
        f"A made-up study in SQLite: {PARAMETERS} parameters, {REPORTS} reports a trial, a third "
        "of them pruned, no confirmation; the best trial's run is a real one "
        "(`experiment=quick`), about which the page says all that it says of a run. The PNG of "
        f"each figure is written too. Load average at the end: {os.getloadavg()[0]:.1f}, of which "
        "about 1 is this benchmark's own."
    )


if __name__ == "__main__":
    print(table())
    print(machine())
