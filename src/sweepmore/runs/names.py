"""What studies and runs are called: on every system, in W&B, and which belong together."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

# What the names of studies end with that train another one's configurations again: a confirmation,
# its later rounds (-2, -3 …) and the final seeds of its winners (-final, -final-2 …), or noise.
CONFIRM, FINAL, NOISE = ".confirm", ".confirm-final", ".noise"
_AGAIN = re.compile(r"\.(confirm(-final)?(-[0-9]+)?|noise)$")

# What a folder may be called on every system, and a W&B run's id begin with.
_SAFE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def ending(study: str) -> str:
    """Of a study that trains another one's configurations again what its name adds to the other's;
    of any other study nothing."""
    found = _AGAIN.search(study)
    return found.group() if found else ""


def searched_name(study: str) -> str:
    """The name of the search that a study confirms or measures the noise of; its own, else."""
    return study.removesuffix(ending(study))


def safe_name(study: str) -> str:
    """A study's name as that of a folder: itself where it is one, else what is left of it and a
    hash, because two names may leave the same (``A/b``, ``a-b``, and ``A`` is ``a`` on some disks).
    """
    suffix = ending(study)
    name = study.removesuffix(suffix)
    if _SAFE.fullmatch(name):
        return study
    left = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:55]
    marked = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{left}-{marked}{suffix}" if left else f"{marked}{suffix}"


def run_stem(study: str, uid: str) -> str:
    """What the ids of all runs of a study begin with, short enough for W&B."""
    return f"{safe_name(study)[:40]}-{uid}"


def as_name(text: str) -> str:
    """``[a-z0-9][a-z0-9._-]*``: what W&B ids and Optuna's study names both allow."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text.lower())
    return (kept.lstrip("._-") or "run")[:50]


def name_of(folder: Path) -> str:
    """As a person names a run: its own folder's name; a trial's with its study's, mine/0017."""
    parts = folder.parts
    if "studies" in parts:
        return "/".join(parts[parts.index("studies") + 1 :])
    return folder.name
