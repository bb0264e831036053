"""What this machine is called, and what of it this process may use."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepmore.process.placement import THREADS, Machine
from sweepmore.wording import plural

# A GPU in the list of nvidia-smi -L, or a MIG instance, which follows its GPU.
_LISTED = re.compile(
    r"^(?:GPU (?P<index>\d+):|\s+MIG\b).*\(UUID: (?P<uuid>[^)]+)\)\s*$", re.MULTILINE
)
# What CUDA_VISIBLE_DEVICES holds where there is none: CUDA ignores all from such a name on.
_NO_GPU = ("-1", "NoDevFiles")


def this_machine() -> Machine:
    """This machine, as far as this process may use it."""
    variable, gpus = visible_gpus()
    threads = {name: os.environ[name] for name in THREADS if name in os.environ}
    return Machine(cores(), gpus, variable, threads)


def size(machine: Machine) -> str:
    """What a machine has, in words."""
    gpus = plural(len(machine.gpus), "GPU") if machine.gpus else "no GPU"
    return f"{gpus}, {plural(machine.cores, 'core')}"


def told(placed: Mapping[str, Any]) -> str:
    """``Share.as_json`` in words: ``GPU 0, shared by 4 workers; 2 threads``."""
    words, gpus = plural(placed["threads"], "thread"), placed["gpus"]
    if not gpus:
        return words
    sharing = f", shared by {placed['workers']} workers" if placed["workers"] > 1 else ""
    return f"{'GPU' if len(gpus) == 1 else 'GPUs'} {', '.join(gpus)}{sharing}; {words}"


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


def visible_gpus() -> tuple[str, tuple[str, ...]]:
    """The variable that says which GPUs a process may use, and those that this one may use.

    The drivers' own tools list them, because sweepmore does not depend on torch. There are none
    when these are missing, or do not answer within 10 s. HIP obeys CUDA_VISIBLE_DEVICES, too.
    """
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        if variable in os.environ:
            return variable, _named(os.environ[variable])
    if gpus := _of_nvidia(_said("nvidia-smi", "-L")):
        return "CUDA_VISIBLE_DEVICES", gpus
    if gpus := _of_amd(_said("rocm-smi", "--showid", "--json")):
        return "HIP_VISIBLE_DEVICES", gpus
    return "CUDA_VISIBLE_DEVICES", ()


def _named(value: str) -> tuple[str, ...]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    end = next((at for at, name in enumerate(names) if name in _NO_GPU), len(names))
    return tuple(names[:end])


def _said(*command: str) -> str:
    """What a program says; nothing where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _of_nvidia(listed: str) -> tuple[str, ...]:
    """Indices of GPUs; where some are divided by MIG, the UUIDs of all instances and others.

    CUDA reads an index of a divided GPU as its first instance.
    """
    rows = [(row["index"], row["uuid"]) for row in _LISTED.finditer(listed)]
    if all(index is not None for index, _ in rows):
        return tuple(index for index, _ in rows)
    following = [*rows[1:], ("", "")]
    return tuple(
        uuid
        for (index, uuid), (following_index, _) in zip(rows, following)
        if index is None or following_index is not None
    )


def _of_amd(listed: str) -> tuple[str, ...]:
    """Indices of GPUs, among those that ROCR_VISIBLE_DEVICES leaves to HIP."""
    try:
        cards = [name for name in json.loads(listed) if name.startswith("card")]
    except ValueError:
        return ()
    left = os.environ.get("ROCR_VISIBLE_DEVICES")
    return tuple(map(str, range(len(cards) if left is None else len(_named(left)))))
