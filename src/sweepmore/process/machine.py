"""What this machine is called, for results that somebody will compare."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def processor() -> str:
    """The processor's name as the system reports it, else the architecture."""
    try:
        facts = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in facts if line.startswith("model name")
        )
    except (OSError, StopIteration):
        words = ["sysctl", "-n", "machdep.cpu.brand_string"]  # macOS
        try:
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return platform.machine()


def cores() -> int:
    """How many cores this process may use."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return own or 1
