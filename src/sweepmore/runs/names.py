"""What studies and runs are called: on every system, in W&B, and which belong together."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

# Endings of the names of studies that train another study's configurations again: a confirmation,
# its later rounds (-2, -3 …) and the final seeds of its winners (-final, -final-2 …), or noise.
CONFIRM, FINAL, NOISE = ".confirm", ".confirm-final", ".noise"
_AGAIN = re.compile(r"\.(confirm(-final)?(-[0-9]+)?|noise)$")

# Endings of the names of studies that a campaign trains: its challenges, and its champions' runs.
CHALLENGE, CHAMPION = ".challenge-", ".champion-"
_OF_CAMPAIGN = re.compile(r"\.(challenge|champion)-[0-9]+$")

# A name that every system takes for a folder, and W&B for the beginning of a run's id.
_SAFE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def ending(study: str) -> str:
    """What the name of a study that confirms another adds to that one's; else an empty string."""
    match = _AGAIN.search(study)
    return match.group() if match else ""


def campaign_of(study: str) -> str:
    """The name of the study in whose campaign a study was trained; an empty string for others."""
    match = _OF_CAMPAIGN.search(study)
    return study[: match.start()] if match else ""


def is_search(study: str) -> bool:
    """Whether a study was asked for by itself: no confirmation, and no part of a campaign."""
    return not ending(study) and not campaign_of(study)


def searched_name(study: str) -> str:
    """The name of the search that a study confirms or measures the noise of, else its own."""
    return study.removesuffix(ending(study))


def safe_name(study: str) -> str:
    """A folder's name for a study: its own name where that is safe, else its safe part and a hash.

    The hash keeps apart names with the same safe part: ``A/b`` and ``a-b``, and ``A`` and ``a``,
    which are the same on some disks.
    """
    suffix = ending(study)
    name = study.removesuffix(suffix)
    if _SAFE.fullmatch(name):
        return study
    safe = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:55]
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{safe}-{digest}{suffix}" if safe else f"{digest}{suffix}"


def run_stem(study: str, uid: str) -> str:
    """The beginning of the ids of all runs of a study, short enough for W&B."""
    return f"{safe_name(study)[:40]}-{uid}"


def as_name(text: str) -> str:
    """``text`` as ``[a-z0-9][a-z0-9._-]*``, which W&B ids and Optuna's study names both allow."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text.lower())
    return (name.lstrip("._-") or "run")[:50]


def name_of(folder: Path) -> str:
    """What a person calls a run: its folder's name, or for a trial the study's, too: mine/0017."""
    parts = folder.parts
    if "studies" in parts:
        return "/".join(parts[parts.index("studies") + 1 :])
    return folder.name
