"""Searches that get the same seconds: trials are asked for one by one until these are spent.

What trials took counts, added up, and not what lies between them: starts and interruptions. A
trial begins while seconds are left, so a search gets its budget and less than one trial more. The
study is the only record, so the same call continues what was interrupted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import ROOT
from sweepmore import StudyRecord, TrialRecord, load_study
from sweepmore.compose.studies import names_in, opened_study
from sweepmore.confirm.rounds import begun_rounds
from sweepmore.runs.places import find_place

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
        return self._kept(self.name)

    def _kept(self, name: str) -> StudyRecord | None:
        """Return a study of this name; None where there is none. What cannot be read raises."""
        if not self.outputs.exists() or name not in names_in(find_place(self.outputs)):
            return None
        return load_study(name, outputs=self.outputs)

    def run_trial(self) -> None:
        """Run one trial more, or finish one that was interrupted. Raises SystemExit if it fails."""
        done, spent = ended(self.study()), self.spent
        print(f"{self.name}: {len(done)} trials, {spent:,.0f} s", flush=True)
        # named on the command line, a study that asks something else is refused, not begun anew
        sweeper = {
            "study_name": self.name, "outputs": self.outputs, "n_trials": len(done) + 1,
        }  # fmt: skip
        settings = [f"hydra.sweeper.{key}={value}" for key, value in sweeper.items()]
        self._logged(["train.py", "-m", *self.words, *settings])
        if (newest := ended(self.study())[-1]).state == "FAIL":
            raise SystemExit(f"{self.name}: trial {newest.number} failed ({newest.folder})")

    @property
    def best(self) -> TrialRecord | None:
        """The best trial; None before any has ended with a finite loss."""
        study = self.study()
        return None if study is None else study.best

    @property
    def spent(self) -> float:
        """The seconds that its trials have taken."""
        return seconds_of(self.study())

    def confirm(self, *words: str) -> None:
        """Train the best again with fresh seeds, as ``sweepmore confirm`` with ``words`` does.

        Raises SystemExit if that fails, but not for a seed that diverged, which is an outcome.
        """
        own = ("--outputs", str(self.outputs))
        try:
            self._logged(["-m", "sweepmore", "confirm", self.name, *words, *own])
        except SystemExit:
            if not diverged(self.confirmation):
                raise

    @property
    def confirmation(self) -> StudyRecord | None:
        """The study of the fresh seeds; None before it begins."""
        return self._kept(f"{self.name}.confirm")

    @property
    def seeds(self) -> tuple[int, ...]:
        """The fresh seeds; empty before the confirmation begins."""
        if self.confirmation is None:
            return ()
        with opened_study(self.name, find_place(self.outputs)) as (study, _):
            return begun_rounds(study)[0].seeds

    def missing(self) -> str:
        """Say why nothing can be reported of it; empty where something can."""
        return why_missing(self.study(), self.confirmation)

    def confirmed(self) -> TrialRecord | None:
        """Return the best with its fresh seeds; None where it is ``missing``."""
        confirmation = self.confirmation
        missing = why_missing(self.study(), confirmation)
        return None if confirmation is None or missing else confirmation.best

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


def share_out(searches: Sequence[Search], seconds: float, at_a_time: int) -> None:
    """Run trials of all searches until each took ``seconds``, at most ``at_a_time`` at once.

    Next comes the search that has had least, so that an hour in which the machine is busy with
    something else meets all alike. Raises what a search raises, once the trials that run are done.
    """
    lock, free, stopping = threading.Lock(), [*searches], threading.Event()

    def work() -> None:
        while (search := take()) is not None:
            try:
                search.run_trial()
            except BaseException:
                stopping.set()
                raise
            with lock:
                free.append(search)

    def take() -> Search | None:
        with lock:
            spent = {search: search.spent for search in free}
            left = [search for search in free if spent[search] < seconds]
            if stopping.is_set() or not left:
                return None
            search = min(left, key=lambda search: spent[search])
            free.remove(search)
            return search

    with ThreadPoolExecutor(at_a_time) as pool:
        try:
            for worker in [pool.submit(work) for _ in range(at_a_time)]:
                worker.result()
        finally:
            stopping.set()


def ended(study: StudyRecord | None) -> list[TrialRecord]:
    """Return the trials that used up their place in the budget, in the order of their numbers."""
    trials = () if study is None else study.trials
    own = ("exception", "out_of_memory")  # a trial that fails by itself is not tried again
    return [t for t in trials if t.state in ("COMPLETE", "PRUNED") or t.reason in own]


def seconds_of(study: StudyRecord | None) -> float:
    """Return what all trials took, those that were interrupted and wait for a retry included."""
    return sum(trial.seconds or 0.0 for trial in (study.trials if study is not None else ()))


def diverged(confirmation: StudyRecord | None) -> bool:
    """Return whether a fresh seed of a confirmation diverged; later ones are then not trained."""
    trials = () if confirmation is None else confirmation.trials
    return any(None in trial.repeats for trial in trials if trial.state == "COMPLETE")


def why_missing(study: StudyRecord | None, confirmation: StudyRecord | None) -> str:
    """Say why nothing can be reported of a search; empty where its best trial is confirmed."""
    if study is None:
        return "not searched yet"
    if study.best is None:
        return "no trial has ended with a finite loss"
    if confirmation is None:
        return "not confirmed yet"
    if diverged(confirmation):
        return "its best trial diverged with a fresh seed"
    if study.winner is None or confirmation.best is None:
        return "its fresh seeds are not all trained"
    if study.winner.roots != (study.best.number,):
        return "its search has gone on, or more than its best trial was confirmed"
    return ""
