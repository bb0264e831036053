"""200 short trials under steady fire: workers and the parent are killed until all is done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
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


def under_fire(app: App) -> dict[str, int]:
    """The same command, again and again, until it ends by itself; how many were killed."""
    chance, killed = random.Random(0), {"workers": 0, "parents": 0}
    while True:
        with app.started(*WORDS) as parent:
            while parent.poll() is None:
                next_kill = time.monotonic() + KILL_SECONDS
                while parent.poll() is None and time.monotonic() < next_kill:
                    time.sleep(0.1)
                    due = len(PARENT_AT) > killed["parents"]
                    if due and counted(app) >= PARENT_AT[killed["parents"]]:
                        parent.kill()
                        killed["parents"] += 1
                        break
                if parent.poll() is None and (alive := workers(app, parent.pid)):
                    chance.choice(alive).kill()
                    killed["workers"] += 1
            assert app.gone(seconds=10)  # nobody works on without a parent
            out, err = parent.communicate()
        if parent.returncode >= 0:
            assert parent.returncode == 0, out + err
            return killed


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_soak(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    for name in ("calm", "fire"):
        (tmp_path / name).mkdir()
    calm, app = App.copied(tmp_path / "calm"), App.copied(tmp_path / "fire")
    undisturbed = seconds_of(lambda: calm.ok(*WORDS, timeout=300))
    killed: dict[str, int] = {}
    disturbed = seconds_of(lambda: killed.update(under_fire(app)))

    assert killed["parents"] == 2
    assert killed["workers"] > 5
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
        f"{TRIALS} trials, {killed['workers']} workers and {killed['parents']} parents killed: "
        f"{disturbed:.0f} s, undisturbed {undisturbed:.0f} s, {disturbed / undisturbed:.2f} times",
    )
