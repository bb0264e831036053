"""Which process is doing something, so that another can tell whether it still lives."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from sweepmore.slurm import this_job


@cache
def _boot_id() -> str:
    """Differs after a reboot, when a process id may mean another process."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else str(int(psutil.boot_time()))


def this_process() -> dict[str, Any]:
    """Host, boot, process id and start time: together unique for ever. And its job on Slurm."""
    job = this_job()
    return {
        "host": platform.node(),
        "boot": _boot_id(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        **({} if job is None else {"slurm": job}),
    }


def on_this_host(owner: Mapping[str, Any]) -> bool:
    return bool(owner["host"] == platform.node())


def is_alive(owner: Mapping[str, Any]) -> bool:
    """Whether a process of this host still runs; a zombie does not."""
    if owner["boot"] != _boot_id():
        return False
    try:
        process = psutil.Process(owner["pid"])
        return bool(
            process.create_time() == owner["started"] and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False
