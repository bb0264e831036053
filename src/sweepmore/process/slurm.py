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
# A user's own defaults of the two commands that are asked here: they would hide jobs from us.
DEFAULTS = ("SQUEUE_", "SCANCEL_")


@dataclass(frozen=True)
class Queued:
    """A job that waits (``pending``), runs or is ending."""

    number: str
    name: str
    pending: bool


@dataclass(frozen=True)
class Queue:
    """This user's jobs, as they were when ``squeue`` was ``asked`` (of the monotonic clock)."""

    asked: float
    jobs: tuple[Queued, ...]


def this_job() -> str | None:
    """Cluster, user and number of the job that this process belongs to; None outside of jobs."""
    known = [os.environ[name] for name in JOB_VARIABLES if name in os.environ]
    return "/".join(known) if len(known) == len(JOB_VARIABLES) else None


def is_gone(job: str) -> bool:
    """Whether Slurm says that a job, as ``this_job`` named it, has ended. False where it cannot
    tell: no Slurm here, another cluster's job, or another user's."""
    here, _, number = job.rpartition("/")
    if queue() is None or here != f"{_cluster()}/{os.getuid()}":
        return False
    if not _is_unlisted(number):
        return False
    forget_queue()  # the answer may be older than the job
    return _is_unlisted(number)


def _is_unlisted(number: str) -> bool:
    now = queue()
    return now is not None and all(number != one.number for one in now.jobs)


def queue(seconds: float = LOOK_SECONDS) -> Queue | None:
    """From an answer that is at most ``seconds`` old; None without one."""
    return _queue(seconds, int(time.monotonic() / seconds))


@lru_cache(maxsize=2)
def _queue(seconds: float, period: int) -> Queue | None:
    asked = time.monotonic()
    said = _ask("squeue", "--me", "--noheader", "--format=%A %t %j")
    if said is None:
        return None
    rows = [line.split(" ", 2) for line in said.splitlines()]
    jobs = tuple(Queued(number, name, state == "PD") for number, state, name in rows)
    return Queue(asked, jobs)


def forget_queue() -> None:
    """The next answer is Slurm's own."""
    _queue.cache_clear()


def cancel(numbers: Iterable[str]) -> bool:
    """Whether Slurm has taken it, which it does of jobs that are gone, too."""
    return _ask("scancel", *numbers) is not None


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
    """In a session of its own, where the terminal's Ctrl-C does not reach it: that is this
    process's to hear, and to act upon by the answer."""
    if shutil.which(command[0]) is None:
        return None
    environment = {key: os.environ[key] for key in os.environ if not key.startswith(DEFAULTS)}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
