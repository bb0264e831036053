"""Offline W&B runs of a study go to the server later, each once: ``wandb sync`` underneath."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from sweepmore.errors import StudyError
from sweepmore.runs.tracking import is_synced, offline_runs
from sweepmore.study.parts import parts_of
from sweepmore.study.view import view
from sweepmore.wording import plural

# One start of W&B's program takes 0.5 s, and it uploads five runs at a time (both wandb 0.31):
# a batch is what it does in a few rounds, and what is told at a time.
BATCH = 20


@dataclass(frozen=True)
class Uploads:
    """A study's offline runs, as the folders that ``wandb sync`` takes."""

    done: Sequence[Path]
    left: Sequence[Path]


def uploads(study: optuna.Study) -> Uploads:
    """Of the study's trials, all attempts and repeats, and of its confirmation."""
    runs = [run for folder in folders_of(study) for run in offline_runs(folder)]
    return Uploads(
        done=[run for run in runs if is_synced(run)],
        left=[run for run in runs if not is_synced(run)],
    )


def folders_of(study: optuna.Study) -> list[Path]:
    """The folders that trials ran in; those of the confirmation last, where there is one.

    Without those of trials that run now: half a run would be marked as uploaded.
    """
    studies = [study, *parts_of(study)]
    attempts = [attempt for one in studies for attempt in view(one).attempts]
    running = {attempt.attrs.folder for attempt in attempts if attempt.open}
    folders = dict.fromkeys(attempt.attrs.folder for attempt in attempts)  # attempts share theirs
    return [folder for folder in folders if folder is not None and folder not in running]


def sync_study(study: optuna.Study) -> None:
    """Upload what is not uploaded yet; StudyError at the first that fails, and again goes on."""
    found = uploads(study)
    total = len(found.done) + len(found.left)
    if not total:
        problem = f"{study.study_name} has no offline W&B runs."
        cure = "Its runs were online, or had wandb.mode=disabled; or their folders are elsewhere."
        raise StudyError(problem, value=study.study_name, cure=cure)
    if found.done:
        print(f"W&B      {len(found.done)} of {plural(total, 'run')} uploaded before")
    for start in range(0, len(found.left), BATCH):
        batch = found.left[start : start + BATCH]
        said = upload(batch)
        failed = [run for run in batch if not is_synced(run)]
        so_far = len(found.done) + start + len(batch) - len(failed)
        print(f"W&B      {so_far} of {plural(total, 'run')} uploaded", flush=True)
        if failed:
            raise StudyError(
                f"{failed[0]} was not uploaded: {reason(said)}",
                value=[str(run) for run in failed],
                cure="Rerun the same command to upload the rest. A key: `wandb login`.",
            )


def upload(runs: Sequence[Path]) -> str:
    """What ``wandb sync`` said. Its marks tell whether it worked; it may fail and exit with 0."""
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *(str(run.resolve()) for run in runs)],
        cwd=runs[0].parent.parent,  # its log goes into wandb/ there, not into one in our own
        stdin=subprocess.DEVNULL,  # it would ask a terminal for a key
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout


def reason(said: str) -> str:
    """The line of ``wandb sync`` that tells of an error, else its last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() and "error logs" not in line]
    return (errors or lines or ["it said nothing"])[-1]
