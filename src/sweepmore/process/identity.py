"""Which process is doing something, so that another can tell whether it still lives."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from sweepmore.process.ray_cluster import this_node
from sweepmore.process.slurm import this_job

# By how many seconds a clock may be set while a process runs that only its start time, in Unix
# time, tells from another (guess).
CLOCK_SECONDS = 60.0


@cache
def _boot_id() -> str:
    """An id that differs after a reboot, when a process id may mean another process.

    Empty where the system has none: the time of boot is no substitute, it moves with the clock.
    """
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def this_process() -> dict[str, Any]:
    """Host, boot, process id and start, which together are permanently unique.

    And its job on Slurm or its node of Ray's cluster.

    The start is in clock ticks since boot on Linux, which do not change when a clock is set;
    elsewhere, and in older records, it is Unix time.
    """
    pid, job, node = os.getpid(), this_job(), this_node()
    ticks = _ticks(pid)
    return {
        "host": platform.node(),
        "boot": _boot_id(),
        "pid": pid,
        **({"started": psutil.Process().create_time()} if ticks is None else {"ticks": ticks}),
        **({} if job is None else {"slurm": job}),
        **({} if node is None else {"ray": node}),
    }


def _ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: field 22 of proc_pid_stat(5).

    None where there is no such process, or no /proc.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[22 - 3])  # its name, field 2, may hold anything


def on_this_host(owner: Mapping[str, Any]) -> bool:
    """Whether the process that ``owner`` identifies (see ``this_process``) ran on this host."""
    return bool(owner["host"] == platform.node())


def is_alive(owner: Mapping[str, Any]) -> bool:
    """Whether this process of this host still runs; a zombie does not."""
    if owner["boot"] != _boot_id():
        return False
    try:
        process = psutil.Process(owner["pid"])
        return _is_same(process, owner) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_stopped(owner: Mapping[str, Any]) -> bool:
    """Whether this process of this host exists but is suspended, as after Ctrl-Z."""
    if not is_alive(owner):
        return False
    try:
        return bool(psutil.Process(owner["pid"]).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _is_same(process: psutil.Process, owner: Mapping[str, Any]) -> bool:
    if "ticks" in owner:
        return bool(owner["ticks"] == _ticks(process.pid))
    return abs(float(owner["started"]) - process.create_time()) < CLOCK_SECONDS
