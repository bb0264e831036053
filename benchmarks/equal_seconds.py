"""Searches that get the same seconds: trials are asked for one by one, until they are spent.

What trials took counts, added up, and not what lies between them: starts and interruptions. A
trial begins while seconds are left, so a search gets its budget and less than one trial more. The
study is the only record, so the same call continues what was interrupted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import ROOT
from sweepmore import StudyRecord, TrialRecord, load_study
from sweepmore.errors import RunError, StudyError

# One core each: two searches run at a time.
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Search:
    """A study ``name`` that ``train.py -m`` with ``words`` searches, kept in ``outputs``."""

    name: str
    words: tuple[str, ...]
    outputs: Path

    def study(self) -> StudyRecord | None:
        """Return the study as it is now; None before it begins."""
        try:
            return load_study(self.name, outputs=self.outputs)
        except (RunError, StudyError):
            return None

    def spend(self, budget: float) -> None:
        """Run trials until they took ``budget`` seconds. Raises SystemExit where one fails."""
        while (spent := seconds_of(self.study())) < budget:
            done = ended(self.study())
            print(f"{self.name}: {len(done)} trials, {spent:,.0f} of {budget:,.0f} s", flush=True)
            self._run_to(len(done) + 1)
            newest = ended(self.study())[-1]
            if newest.state == "FAIL":
                raise SystemExit(f"{self.name}: trial {newest.number} failed ({newest.folder})")
        print(f"{self.name}: {len(ended(self.study()))} trials in {spent:,.0f} s", flush=True)

    def confirm(self, *words: str) -> None:
        """Train the best again with fresh seeds, as ``sweepmore confirm`` with ``words`` does."""
        own = ("--outputs", str(self.outputs))
        self._logged(["-m", "sweepmore", "confirm", self.name, *words, *own])

    def confirmed(self) -> TrialRecord | None:
        """Return the best with its fresh seeds; None before all are trained, or if one diverged."""
        try:
            study = load_study(f"{self.name}.confirm", outputs=self.outputs)
        except (RunError, StudyError):
            return None
        return study.best

    def _run_to(self, n_trials: int) -> None:
        # named on the command line, a study that asks something else is refused, not begun anew
        sweeper = {"study_name": self.name, "outputs": self.outputs, "n_trials": n_trials}
        settings = [f"hydra.sweeper.{key}={value}" for key, value in sweeper.items()]
        self._logged(["train.py", "-m", *self.words, *settings])

    def _logged(self, words: Sequence[str]) -> None:
        """Run Python with ``words``; what it prints goes to a log in the outputs."""
        self.outputs.mkdir(parents=True, exist_ok=True)
        path = self.outputs / f"{self.name}.log"
        with path.open("ab") as log:
            done = subprocess.run(
                [sys.executable, *words],
                cwd=ROOT,
                env={**os.environ, **THREADS},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise SystemExit(f"{self.name} ended with exit code {done.returncode}: see {path}")


def ended(study: StudyRecord | None) -> list[TrialRecord]:
    """Return the trials that used up their place in the budget, in the order of their numbers."""
    trials = () if study is None else study.trials
    own = ("exception", "out_of_memory")  # a trial that fails by itself is not tried again
    return [t for t in trials if t.state in ("COMPLETE", "PRUNED") or t.reason in own]


def seconds_of(study: StudyRecord | None) -> float:
    """Return what all trials took, those that were interrupted and wait for a retry included."""
    return sum(trial.seconds or 0.0 for trial in (study.trials if study is not None else ()))
