"""The same 20 trials under sweepmore and under the stock Hydra Optuna sweeper with joblib.

``python -m benchmarks.stock``. The stock plugins pin an old Optuna, so they get a virtual
environment of their own, which this makes (some minutes, the first time).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import optuna

from benchmarks.common import ROOT, Comparison, measure, text
from nplm.lines import names_file

PAIRS = 3
TRIALS, STEPS = 20, 20_000
HERE = Path(__file__).resolve().parent / "stock_app"
ENVIRONMENT = ROOT / "outputs" / "stock_venv"
PLUGINS = ("hydra-optuna-sweeper==1.3.0", "hydra-joblib-launcher")
# The plugin needs Optuna 2, and that SQLAlchemy 1; all else is as here.
OLDER = ("sqlalchemy<2", "setuptools<81")
SAME = ("torch", "wandb", "numpy", "hydra-core", "omegaconf")


@dataclass(frozen=True)
class Sweep:
    """Seconds: of the whole command, and from the first trial's start to the last one's end."""

    whole: float
    trials: float

    @property
    def startup(self) -> float:
        return self.whole - self.trials


def environment() -> Path:
    """Its interpreter; made where it is missing or other versions were asked for."""
    python, made = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "made"
    torch, *same = [f"{name}=={_version(name)}" for name in SAME]
    wanted = " ".join([torch, *same, *PLUGINS, *OLDER])
    if not made.exists() or made.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        for words in ([torch], [*same, *PLUGINS, *OLDER]):
            command = [str(python), "-m", "pip", "install", "--quiet", *words]
            subprocess.run(command, check=True, capture_output=True)
        made.write_text(wanted)
    return python


def _version(name: str) -> str:
    return metadata.version(name).partition("+")[0]


def theirs(python: Path, data: Path) -> Sweep:
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        subprocess.run(
            [str(python), "app.py", "-m", f"data={data}", f"hydra.sweep.dir={folder}"],
            cwd=HERE,
            capture_output=True,
            check=True,
        )
        whole = time.time() - began
        times = [json.loads(path.read_text()) for path in Path(folder).glob("*/times.json")]
    assert len(times) == TRIALS, len(times)
    return Sweep(whole, max(t[1] for t in times) - min(t[0] for t in times))


def ours() -> Sweep:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "train.py", "-m", "data=names", "model.init=lecture"]
        command += ["model.emb=10", "model.hidden=200", "eval_every=1"]
        command += [f"optim.steps={STEPS}", "optim.lr=tag(log,interval(0.01,0.3))"]
        command += [f"hydra.sweeper.n_trials={TRIALS}", "hydra.sweeper.n_jobs=2"]
        command += ["hydra.sweeper.study_name=stock", f"hydra.sweeper.outputs={folder}"]
        began = time.time()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        whole = time.time() - began
        study = optuna.load_study(
            study_name="stock", storage=f"sqlite:///{Path(folder) / 'studies.db'}"
        )
        trials = study.get_trials(deepcopy=False)
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    assert len(ends) == TRIALS, len(ends)
    return Sweep(whole, (max(ends) - min(starts)).total_seconds())


def compare() -> Comparison:
    python = environment()
    sweeps: tuple[list[Sweep], list[Sweep]] = ([], [])

    def one(which: int) -> float:
        sweep = (lambda: ours(), lambda: theirs(python, names_file()))[which]()
        sweeps[which].append(sweep)
        return sweep.trials

    mine, others = measure(lambda: one(0), lambda: one(1), PAIRS, warm=False)
    startups = [min(sweep.startup for sweep in of) for of in sweeps]
    work = (
        f"{TRIALS} trials of the lecture's model, {STEPS:,} steps and one evaluation each, W&B "
        "offline, two processes; from the first trial's start to the last one's end. Start-up "
        f"and end apart: ours {startups[0]:.1f} s, theirs {startups[1]:.1f} s. Ours also keeps the "
        "study in SQLite, evaluates train too, and writes a record, checkpoints, a figure, samples"
    )
    return Comparison("20 trials, against the stock sweeper", work, "s", mine, others)


if __name__ == "__main__":
    print(text(compare()))
