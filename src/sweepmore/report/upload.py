"""Uploads of a study's offline W&B runs, each once, by ``wandb sync``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from sweepmore.errors import StudyError
from sweepmore.runs.offline import id_of, is_synced, offline_runs, superseded_ids
from sweepmore.runs.tracking import SUPERSEDED, UNFINISHED
from sweepmore.study.parts import parts_of
from sweepmore.study.view import view
from sweepmore.wording import plural

# One start of W&B's program takes 0.5 s, and it uploads five runs at a time (both wandb 0.31):
# a batch takes it a few rounds, and progress is printed after each batch.
BATCH = 20
# Whatever an attempt said of its end, another one began again.
SUPERSEDING = (
    "--replace-tags",
    ",".join(f"{tag}={SUPERSEDED}" for tag in (UNFINISHED, "interrupted", "error")),
)


@dataclass(frozen=True)
class Uploads:
    """A study's offline runs, as the folders that ``wandb sync`` takes."""

    done: Sequence[Path]
    left: Sequence[Path]
    superseded: Sequence[str] = ()  # ids of attempts that a later one began again


def uploads(study: optuna.Study) -> Uploads:
    """Return the offline runs of a study, with all attempts and repeats, and its confirmation."""
    return uploads_in(folders_of(study))


def uploads_in(folders: Sequence[Path]) -> Uploads:
    """Return the offline runs in folders of runs."""
    runs = [run for folder in folders for run in offline_runs(folder)]
    return Uploads(
        done=[run for run in runs if is_synced(run)],
        left=[run for run in runs if not is_synced(run)],
        superseded=superseded_in(folders),
    )


def superseded_in(folders: Sequence[Path]) -> list[str]:
    """Return the W&B ids of attempts at these runs that a later attempt began again.

    The runs of a trial's repeats lie one level below its folder.
    """
    runs = [run for folder in folders for run in (folder, *folder.glob("[0-9]*/"))]
    return list(dict.fromkeys(name for run in runs for name in superseded_ids(run)))


def folders_of(study: optuna.Study) -> list[Path]:
    """Return the folders that trials ran in, those of a confirmation last.

    Trials that are still running are left out, because W&B would mark half a run as uploaded.
    """
    studies = [study, *parts_of(study)]
    attempts = [attempt for part in studies for attempt in view(part).attempts]
    running = {attempt.attrs.folder for attempt in attempts if attempt.open}
    folders = dict.fromkeys(attempt.attrs.folder for attempt in attempts)  # attempts share theirs
    return [folder for folder in folders if folder is not None and folder not in running]


def sync_study(study: optuna.Study) -> None:
    """Upload a study's offline runs that are not uploaded yet, those of its confirmation included.

    Raises StudyError as ``sync_runs`` does.
    """
    sync_runs(study.study_name, uploads(study))


def sync_runs(name: str, runs: Uploads) -> None:
    """Upload the runs that are left, a batch at a time, and print the progress.

    Raises StudyError after a batch in which a run failed, or if ``name``, the study or run that is
    meant, has no offline runs. A second call continues with the runs that are left.
    """
    total = len(runs.done) + len(runs.left)
    if not total:
        problem = f"{name} has no offline W&B runs."
        cure = "Its runs were online, or had wandb.mode=disabled; or their folders are elsewhere."
        raise StudyError(problem, value=name, cure=cure)
    if runs.done:
        print(f"W&B      {len(runs.done)} of {plural(total, 'run')} uploaded before")
    so_far = len(runs.done)
    for batch, are_superseded in _batches(runs):
        said = upload(batch, SUPERSEDING if are_superseded else ())
        failed = [run for run in batch if not is_synced(run)]
        so_far += len(batch) - len(failed)
        print(f"W&B      {so_far} of {plural(total, 'run')} uploaded", flush=True)
        if failed:
            raise StudyError(
                f"{failed[0]} was not uploaded: {reason(said)}",
                value=[str(run) for run in failed],
                cure="Rerun the same command to upload the rest. A key: `wandb login`.",
            )


def _batches(runs: Uploads) -> Iterator[tuple[Sequence[Path], bool]]:
    """Yield batches of what is left, and whether they are superseded attempts."""
    old = [run for run in runs.left if id_of(run) in runs.superseded]
    for part in (old, [run for run in runs.left if run not in old]):
        for start in range(0, len(part), BATCH):
            yield part[start : start + BATCH], part is old


def upload(runs: Sequence[Path], options: Sequence[str] = ()) -> str:
    """Upload runs and return what ``wandb sync`` printed.

    Only the marks in the runs' folders show whether it worked: it may fail and exit with 0.
    """
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *options, *(str(run.resolve()) for run in runs)],
        cwd=runs[0].parent.parent,  # its log goes into wandb/ there, not into one in our own
        stdin=subprocess.DEVNULL,  # it would ask a terminal for a key
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout


def reason(said: str) -> str:
    """Return the first line that names an error, or else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() and "error logs" not in line]
    return (errors or lines or ["it said nothing"])[-1]
