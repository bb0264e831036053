"""200 short trials under steady fire: workers and the parent are killed until all is done."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from tests.support.sweep_apps import PATIENCE, App, slots_of, until

TRIALS = 200
WORDS = ("does=result", "+gated=true", "x=interval(0,1)", ":study_name=s", ":n_jobs=2",
         f":n_trials={TRIALS}", "hydra/sweeper/sampler=random")  # fmt: skip
# So many more trials may end before the next kill, which comes while some of them do: the fire goes
# by what was done, for by a clock a slow machine's workers would die before they did anything.
BATCH = 16
# Of the batches, those in which the parent is killed instead of a worker.
PARENT_IN = (4, 8)


def workers(app: App, parent: int) -> list[psutil.Process]:
    return [process for process in app.processes() if process.pid != parent]


@dataclass
class Fire:
    """Kills a random worker, or the parent, in each batch of trials."""

    app: App
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    batches: int = 0
    workers: int = 0
    parents: int = 0

    def until_done(self) -> None:
        """The same command, again and again, until it ends well."""
        while True:
            with self.app.started(*WORDS) as parent:
                while parent.poll() is None and self.batches * BATCH < TRIALS:
                    self.kill(parent)
                if parent.poll() is None:
                    self.app.open_gate()
                out, err = parent.communicate(timeout=PATIENCE)
                assert self.app.gone()  # nobody works on without a parent
            if parent.returncode == 0:
                return
            assert parent.returncode == -9, out + err

    def kill(self, parent: subprocess.Popen[str]) -> None:
        """Three more begun are one more done at least: three deaths without would end the sweep."""
        begun = len(self.app.seen()) + self.chance.randint(3, BATCH // 2)
        self.app.open_gate(*range(self.batches * BATCH, (self.batches + 1) * BATCH))
        self.batches += 1
        until(lambda: len(self.app.seen()) >= begun)
        if self.batches in PARENT_IN:
            parent.kill()
            parent.wait()
            self.parents += 1
        else:
            self.chance.choice(workers(self.app, parent.pid)).kill()
            self.workers += 1


@pytest.mark.system
@pytest.mark.faults
@pytest.mark.timeout(900)
def test_soak(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    app = App.copied(tmp_path)
    fire = Fire(app)
    fire.until_done()

    assert fire.parents == 2
    assert fire.workers == 11
    trials = app.trials()
    assert slots_of(trials) == list(range(TRIALS))  # every trial once
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    reasons = {t.user_attrs.get("reason") for t in trials if t.state is TrialState.FAIL}
    assert reasons <= {"died", "handed_back", "void"}
    folders = list((app.folder / "outputs" / "studies" / "s").glob("[0-9]*"))
    assert len(folders) == TRIALS
    assert all((folder / "result.json").exists() for folder in folders)
    record_property(
        "soak", f"{TRIALS} trials, {fire.workers} workers and {fire.parents} parents killed"
    )
