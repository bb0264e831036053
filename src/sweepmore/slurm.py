"""What Slurm itself says of jobs, by its own commands; nothing where it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

# How old Slurm's answer may be: squeue asks the server of the whole cluster.
LOOK_SECONDS = 10.0
# What a job knows of itself: together unique for ever.
JOB_VARIABLES = ("SLURM_CLUSTER_NAME", "SLURM_JOB_UID", "SLURM_JOB_ID")
# What a job tells the commands that it runs: for jobs that it submits they would be wrong.
INHERITED = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_")


@dataclass(frozen=True)
class Queued:
    """A job that waits (``pending``), runs or is ending."""

    number: str
    name: str
    pending: bool


def this_job() -> str | None:
    """Cluster, user and number of the job that this process belongs to; None outside of jobs."""
    known = [os.environ[name] for name in JOB_VARIABLES if name in os.environ]
    return "/".join(known) if len(known) == len(JOB_VARIABLES) else None


def is_gone(job: str) -> bool:
    """Whether Slurm says that a job, as ``this_job`` named it, has ended. False where it cannot
    tell: no Slurm here, another cluster's job, or another user's."""
    here, _, number = job.rpartition("/")
    if queued() is None or here != f"{_cluster()}/{os.getuid()}":
        return False
    if _is_listed(number):
        return False
    _queued.cache_clear()  # the answer may be older than the job
    return queued() is not None and not _is_listed(number)


def _is_listed(number: str) -> bool:
    return any(number == one.number for one in queued() or ())


def queued(seconds: float = LOOK_SECONDS) -> tuple[Queued, ...] | None:
    """This user's jobs, from an answer that is at most ``seconds`` old; None without one."""
    return _queued(seconds, int(time.monotonic() / seconds))


@lru_cache(maxsize=2)
def _queued(seconds: float, period: int) -> tuple[Queued, ...] | None:
    said = _ask("squeue", "--me", "--noheader", "--format=%A %t %j")
    if said is None:
        return None
    rows = [line.split(" ", 2) for line in said.splitlines()]
    return tuple(Queued(number, name, state == "PD") for number, state, name in rows)


def cancel(jobs: Iterable[Queued]) -> None:
    _ask("scancel", *(job.number for job in jobs))


def forget_own_job() -> None:
    """A job that is submitted from within a job inherits its environment."""
    for name in [name for name in os.environ if name.startswith(INHERITED)]:
        if name != "SLURM_CONF":
            del os.environ[name]


@lru_cache(maxsize=1)
def _cluster() -> str | None:
    """To be asked after ``queued`` was answered: so this will be, too."""
    for line in (_ask("scontrol", "show", "config") or "").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "ClusterName":
            return value.strip()
    return None


def _ask(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
