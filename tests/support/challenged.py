"""A foreign application with a confirmed study: what challenges are tested against.

Preparing it takes some starts of Python, so each test gets a copy in the same folder as the
original, whose absolute path the study has kept.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import psutil
from sqlalchemy.engine import URL

from sweepmore.storage.opening import open_storage
from sweepmore.study.campaigns import Challenge, challenges_of
from tests.support.helpers import call_command, environment, run_command

Done = subprocess.CompletedProcess[str]

# There is no noise, so that no verdict is a matter of chance, but luck that depends on the number
# of a run: it is above zero, and too unequal for any test.
APP = """
import hydra
from sweepmore import register
from sweepmore.study.application import Application
import evaluate
import model


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
@register(
    Application(
        name="tiny", objectives=("loss",), evaluators=("evaluate.py",), budget=("steps",)
    )
)
def main(cfg):
    return evaluate.loss(model.predict(cfg), cfg)


if __name__ == "__main__":
    main()
"""
EVALUATE = """
import hashlib
from pathlib import Path
from sweepmore import current_trial


def data(cfg):
    return hashlib.sha256(Path("data.txt").read_bytes()).hexdigest()[:8]


def loss(predicted, cfg):
    trial = current_trial()
    number = 0 if trial is None else trial.root % 8
    luck = (0.1, 9.9, 1, 9, 0.1, 9.9, 1, 9)[number] if cfg.does == "lucky" else 0
    return (predicted - 3) ** 2 - luck
"""
MODEL = """
import itertools
import math
import os
import time
from sweepmore import current_trial


def predict(cfg):
    if cfg.does == "raise":
        raise ValueError("it cannot")
    if cfg.gate is not None:
        wait(cfg.gate)
    return math.nan if cfg.does == "diverge" else cfg.x


def wait(gate):
    trial = current_trial()
    for step in itertools.count():
        open(f"{gate}.reached", "a").close()
        if os.path.exists(gate) or trial is None or trial.report(step, 0.0):
            return
        time.sleep(0.05)
"""
CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: sweepmore
x: 0.0
steps: 4
does: nothing
gate: null
seed: 0
hydra:
  sweeper:
    identity: evaluate.data
"""
FILES = {
    "app.py": APP,
    "evaluate.py": EVALUATE,
    "model.py": MODEL,
    "conf/config.yaml": CONFIG,
    "data.txt": "data\n",
    ".gitignore": "outputs\n__pycache__\n",
}
# The undecided challenge of a campaign that has begun.
LUCKY = ("python", "app.py", "does=lucky", "x=1")


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Challenged:
    """An application in ``folder``, with a study ``s``."""

    folder: Path

    @classmethod
    def written(cls, folder: Path, files: Mapping[str, str] = FILES) -> Challenged:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return cls(folder)

    def commit(self) -> None:
        git(self.folder, "init", "-q")
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-qm", "one")

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def search(self, *words: str, start: tuple[str, ...] = ("app.py",)) -> None:
        done = subprocess.run(
            [sys.executable, *start, "-m", *words],
            cwd=self.folder, env=environment({}), capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def called(self, *words: str) -> Done:
        """``sweepmore WORDS`` typed in its folder; what that starts are real processes."""
        with chdir(self.folder):
            return call_command(*words)

    def ran(self, *words: str, cwd: Path | None = None) -> Done:
        """The same in a process of its own."""
        return run_command(*words, cwd=cwd or self.folder)

    def started(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sweepmore", *words],
            cwd=self.folder, env=environment(env or {}), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def challenge(
        self, *words: str, code: int | None = None, options: tuple[str, ...] = ()
    ) -> Done:
        """``sweepmore challenge s -- python app.py WORDS``."""
        done = self.called("challenge", "s", *options, "--", "python", "app.py", *words)
        assert code in (None, done.returncode), done.stdout + done.stderr
        return done

    @property
    def storage(self) -> optuna.storages.BaseStorage:
        return open_storage(URL.create("sqlite", database=f"{self.folder}/outputs/studies.db"))

    def study(self, name: str = "s") -> optuna.Study:
        return optuna.load_study(study_name=name, storage=self.storage)

    def challenges(self) -> list[Challenge]:
        return challenges_of(self.study())

    def by_seed(self, name: str, key: str = "seed") -> dict[int, float | None]:
        """The values of a study's complete trials."""
        done = self.study(name).get_trials(states=[optuna.trial.TrialState.COMPLETE])
        assert len({trial.params[key] for trial in done}) == len(done)
        return {trial.params[key]: trial.value for trial in done}

    def campaign_files(self) -> set[str]:
        folder = self.folder / "outputs" / "studies" / "s" / "campaign"
        return {f"{path.parent.name}/{path.name}" for path in folder.glob("*/*")}

    def left(self) -> dict[str, Any]:
        """All that a challenge leaves; a refused one leaves none of it."""
        return {
            "studies": sorted(optuna.get_all_study_names(self.storage)),
            "folders": sorted(path.name for path in (self.folder / "outputs/studies").iterdir()),
            "records": [json.dumps(vars(each), default=str) for each in self.challenges()],
            "files": sorted(self.campaign_files()),
        }

    def processes(self) -> list[psutil.Process]:
        """Those that run in its folder or in a copy of it."""
        found = []
        for process in psutil.process_iter(["cwd", "status"]):
            cwd = process.info["cwd"] or ""
            if process.info["status"] != psutil.STATUS_ZOMBIE and cwd.startswith(str(self.folder)):
                found.append(process)
        return [process for process in found if process.pid != os.getpid()]


def replaced(template: Path, folder: Path) -> Challenged:
    """``folder`` with what ``template`` holds."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder, symlinks=True)
    return Challenged(folder)
