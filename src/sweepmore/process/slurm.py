"""What Slurm says about jobs, asked by its own commands; nothing where it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

# How many seconds old Slurm's answer may be: squeue asks the server of the whole cluster.
LOOK_SECONDS = 10.0
# Environment variables of a job that together are permanently unique.
JOB_VARIABLES = ("SLURM_CLUSTER_NAME", "SLURM_JOB_UID", "SLURM_JOB_ID")
# Prefixes of variables that a job sets for its own commands; they would be wrong for a job that it
# submits.
INHERITED = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_")
# Prefixes of a user's defaults for the commands asked here; they would hide jobs from us.
DEFAULTS = ("SQUEUE_", "SCANCEL_")


@dataclass(frozen=True)
class Queued:
    """A job that waits (``pending``), runs or is ending."""

    number: str
    name: str
    pending: bool


@dataclass(frozen=True)
class Queue:
    """This user's jobs at the time ``asked`` (seconds of the monotonic clock)."""

    asked: float
    jobs: tuple[Queued, ...]


def this_job() -> str | None:
    """CLUSTER/USER/NUMBER of the job that this process belongs to; None outside a job."""
    parts = [os.environ[name] for name in JOB_VARIABLES if name in os.environ]
    return "/".join(parts) if len(parts) == len(JOB_VARIABLES) else None


def is_gone(job: str) -> bool:
    """Whether Slurm says that a job, named as by ``this_job``, has ended.

    False where Slurm cannot say: it is not installed here, or the job is another cluster's or
    another user's.
    """
    here, _, number = job.rpartition("/")
    if queue() is None or here != f"{_cluster()}/{os.getuid()}":
        return False
    if not _is_unlisted(number):
        return False
    forget_queue()  # the answer may be older than the job
    return _is_unlisted(number)


def _is_unlisted(number: str) -> bool:
    now = queue()
    return now is not None and all(number != job.number for job in now.jobs)


def queue(seconds: float = LOOK_SECONDS) -> Queue | None:
    """This user's jobs, by an answer at most ``seconds`` old; None where Slurm does not answer."""
    return _queue(seconds, int(time.monotonic() / seconds))


@lru_cache(maxsize=2)
def _queue(seconds: float, period: int) -> Queue | None:
    asked = time.monotonic()
    output = _ask("squeue", "--me", "--noheader", "--format=%A %t %j")
    if output is None:
        return None
    rows = [line.split(" ", 2) for line in output.splitlines()]
    jobs = tuple(Queued(number, name, state == "PD") for number, state, name in rows)
    return Queue(asked, jobs)


def forget_queue() -> None:
    """Make the next call of ``queue`` ask Slurm again."""
    _queue.cache_clear()


def cancel(numbers: Iterable[str]) -> bool:
    """Cancel jobs; whether Slurm accepted that, as it does for jobs that are gone, too."""
    return _ask("scancel", *numbers) is not None


def forget_own_job() -> None:
    """Remove this job's variables from the environment: a job submitted from here inherits it."""
    for name in [name for name in os.environ if name.startswith(INHERITED)]:
        if name != "SLURM_CONF":
            del os.environ[name]


@lru_cache(maxsize=1)
def _cluster() -> str | None:
    """The cluster's name. Ask it only after ``queue`` was answered, so that this is, too."""
    for line in (_ask("scontrol", "show", "config") or "").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "ClusterName":
            return value.strip()
    return None


def _ask(*command: str) -> str | None:
    """The output of a command; None where it fails or is not installed.

    It runs in a session of its own, where the terminal's Ctrl-C does not reach it: only this
    process shall hear that, and still needs the answer.
    """
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
