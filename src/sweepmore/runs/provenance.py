"""What computed a run: the start of each process, the code, the versions."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sweepmore.process.identity import this_process

# What is code or settings, and never data.
CODE = (".py", ".toml", ".yaml", ".yml")
# A longer diff is cut (guess: four times the longest diff that anybody would call small).
MAX_DIFF_CHARACTERS = 400_000


def start() -> dict[str, Any]:
    """The time (UTC) and the process in which a run starts or continues."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **this_process(),
    }


def code_folder() -> Path:
    """The folder of the running script."""
    here = Path(os.environ.get("SWEEPMORE_ROOT") or sys.argv[0]).resolve()
    return here if here.is_dir() else here.parent


@functools.cache  # what a process runs does not change while it runs
def code() -> Mapping[str, Any]:
    """Commit and uncommitted changes of the Git checkout that holds the running script, if any."""
    here = code_folder()
    commit = git(here, "rev-parse", "HEAD")
    diff = git(here, "diff", "HEAD") if commit else None
    return {
        "commit": commit.strip() if commit else None,
        "dirty_diff": diff[:MAX_DIFF_CHARACTERS] if diff else None,
        "diff_cut": bool(diff and len(diff) > MAX_DIFF_CHARACTERS),
    }


@functools.cache
def remote() -> str:
    """The URL of that checkout's ``origin``, without a user or password; else empty."""
    url = git(code_folder(), "config", "--get", "remote.origin.url") or ""
    return re.sub(r"//[^/@]*@", "//", url.strip())


def code_diff(named: Sequence[Any] = ()) -> str:
    """Uncommitted changes of code and settings, without those of any file that ``named`` names.

    It may leave the machine. A file of data may not, so other kinds of files are left out.
    """
    diff = str(code()["dirty_diff"] or "")
    parts = re.split(r"^(?=diff --git )", diff, flags=re.MULTILINE)
    return "".join(part for part in parts if _is_code(part.partition("\n")[0], named))


def _is_code(header: str, named: Sequence[Any]) -> bool:
    path = header.rpartition(" b/")[2]
    return path.endswith(CODE) and not any(str(name).endswith(path) for name in named)


def git(folder: Path, *words: str) -> str | None:
    """What Git answers in ``folder``; None where there is no Git, no checkout or no commit yet."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None  # there is no git, no checkout or no commit yet: provenance says null
    return done.stdout


@functools.cache  # reading the metadata of a distribution takes milliseconds
def versions(packages: tuple[str, ...]) -> Mapping[str, Any]:
    """Versions of Python, the platform and these distributions; None for one not installed."""
    numbers: dict[str, str | None] = {}
    for name in packages:
        try:
            numbers[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            numbers[name] = None
    python, system = platform.python_version(), platform.platform()
    return {"python": python, "platform": system, "versions": numbers}
