"""The W&B runs that lie in a run's folder until ``wandb sync`` uploads them (wandb 0.31)."""

from __future__ import annotations

import shlex
from pathlib import Path

from sweepmore.runs.files import read_json
from sweepmore.runs.record import tracked_id


def offline_runs(folder: Path) -> list[Path]:
    """The folders of a run that ``wandb sync`` takes: one for each attempt that logged anything.

    Those of a trial's repeats, one level below it, are included.
    """
    folders = [*folder.glob("wandb/offline-run-*"), *folder.glob("*/wandb/offline-run-*")]
    return sorted(run for run in folders if any(run.glob("*.wandb")))


def sync_command(folder: Path) -> str | None:
    """Return the command that uploads what a trial recorded offline; None where it did not.

    That of a trial with repeats uploads all of its runs.
    """
    for runs in ("wandb/offline-run-*", "*/wandb/offline-run-*"):
        if any(folder.glob(f"{runs}/*.wandb")):
            return f"wandb sync {shlex.quote(str(folder))}/{runs}"
    return None


def is_synced(run: Path) -> bool:
    """Whether ``wandb sync`` left its mark (wandb 0.31), once everything was uploaded."""
    return any(run.glob("*.wandb.synced"))


def id_of(run: Path) -> str:
    """The W&B id of an offline run, from the name of its folder."""
    return run.name.split("-", 3)[-1]  # offline-run-TIME-ID


def superseded_ids(folder: Path) -> list[str]:
    """The W&B ids of attempts at a run that a later attempt began again, at the first step."""
    path = folder / "provenance.json"
    if not path.exists():
        return []
    provenance = read_json(path)
    return [tracked_id(provenance["run_id"], k) for k in range(provenance.get("began", 0))]
