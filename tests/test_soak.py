"""200 short trials under steady fire: workers and the parent are killed until all is done."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from tests.sweep_apps import App, slots_of

TRIALS, SECONDS = 200, 0.3
WORDS = ("does=result", f"seconds={SECONDS}", "x=interval(0,1)", ":study_name=s", ":n_jobs=2",
         f":n_trials={TRIALS}", "hydra/sweeper/sampler=random")  # fmt: skip
# A worker is killed this often; the parent once a third and once two thirds are done.
KILL_SECONDS, PARENT_AT = 4.0, (TRIALS // 3, 2 * TRIALS // 3)


def seconds_of(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def workers(app: App, parent: int) -> list[psutil.Process]:
    return [process for process in app.processes() if process.pid != parent]


def counted(app: App) -> int:
    return len(slots_of(app.trials())) if app.database.exists() and "s" in app.names() else 0


@dataclass
class Fire:
    """Kills a random worker every few seconds, and the parent at its times."""

    app: App
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    workers: int = 0
    parents: int = 0

    def until_done(self) -> None:
        """The same command, again and again, until it ends well."""
        while True:
            with self.app.started(*WORDS) as parent:
                while parent.poll() is None:
                    self.kill(parent)
                assert self.app.gone(seconds=30)  # nobody works on without a parent
                out, err = parent.communicate()
            if parent.returncode == 0:
                return
            # three killed in a row before a trial was done end it, too; the same command goes on
            assert parent.returncode == -9 or "3 workers died" in err, out + err

    def kill(self, parent: subprocess.Popen[str]) -> None:
        end = time.monotonic() + KILL_SECONDS
        while parent.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
            if self.parents < len(PARENT_AT) and counted(self.app) >= PARENT_AT[self.parents]:
                parent.kill()
                parent.wait()
                self.parents += 1
        if parent.poll() is None and (alive := workers(self.app, parent.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.chance.choice(alive).kill()
                self.workers += 1


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_soak(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    for name in ("calm", "fire"):
        (tmp_path / name).mkdir()
    calm, app = App.copied(tmp_path / "calm"), App.copied(tmp_path / "fire")
    undisturbed = seconds_of(lambda: calm.ok(*WORDS, timeout=300))
    fire = Fire(app)
    disturbed = seconds_of(fire.until_done)

    assert fire.parents == 2
    assert fire.workers > 5
    trials = app.trials()
    assert slots_of(trials) == list(range(TRIALS))  # every trial once
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    reasons = {t.user_attrs.get("reason") for t in trials if t.state is TrialState.FAIL}
    assert reasons <= {"died", "handed_back", "void"}
    folders = list((app.folder / "outputs" / "studies" / "s").glob("[0-9]*"))
    assert len(folders) == TRIALS
    assert all((folder / "result.json").exists() for folder in folders)
    record_property(
        "soak",
        f"{TRIALS} trials, {fire.workers} workers and {fire.parents} parents killed: "
        f"{disturbed:.0f} s, undisturbed {undisturbed:.0f} s, {disturbed / undisturbed:.2f} times",
    )
