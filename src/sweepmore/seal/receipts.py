"""Receipts of looks at a test split: files in a folder that is meant to be committed."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepmore.errors import UserError
from sweepmore.runs.files import fsync_folder, write_json
from sweepmore.typed import build

# What a receipt that was torn by a kill no longer tells.
UNKNOWN = "unknown"
# Only its owner reads or changes a receipt here; git keeps no more of a mode than its x.
_PRIVATE = 0o600


@dataclass(frozen=True)
class Look:
    """One look. ``result`` is None while it is claimed without a result; ``reason`` says why it
    was taken after an earlier one. ``overlap`` says what earlier looks had seen of its items,
    ``keys`` which items it saw; a look that was taken before there were keys has neither."""

    fingerprint: str
    number: int
    checkpoint: str
    claimed: str
    claimant: Mapping[str, Any]
    about: Mapping[str, Any]
    reason: str | None = None
    result: Mapping[str, Any] | None = None
    overlap: Mapping[str, Any] | None = None
    keys: str | None = None  # apart by blanks: one line of a file that people read

    @property
    def items(self) -> frozenset[str] | None:
        return None if self.keys is None else frozenset(self.keys.split())

    @property
    def is_torn(self) -> bool:
        """Whether its receipt no longer tells who claimed it."""
        return self.claimed == UNKNOWN

    @property
    def place(self) -> tuple[str, int]:
        """What its receipt and its row are named by: two claims in two databases may share it."""
        return self.fingerprint, self.number

    @property
    def claim(self) -> tuple[str, int, str, str]:
        """What no other claim shares."""
        return *self.place, self.claimed, self.checkpoint

    def is_same_claim(self, other: Look) -> bool:
        return self.claim == other.claim and not self.is_torn

    def __str__(self) -> str:
        state = "claimed, no result" if self.result is None else "done"
        why = f': "{self.reason}"' if self.reason else ""
        if self.is_torn:
            return f"look {self.number}, at an unknown time: its receipt is damaged{why}"
        when = self.claimed[:16].replace("T", " ")
        return f"look {self.number}, taken {when} UTC ({state}){why}"


def receipts(folder: Path, fingerprint: str = "*") -> list[Look]:
    """The receipts of a split or of all, first one first; one that cannot be read still counts."""
    return [
        read_receipt(path) for path in sorted(folder.glob(f"{fingerprint}-*.json"), key=_number_of)
    ]


def read_receipt(path: Path) -> Look:
    """A receipt; UNKNOWN where a kill tore it, or where it holds what no claim writes: the claim
    was made."""
    fingerprint, number = path.stem.rpartition("-")[0], _number_of(path)
    try:
        look = build(Look, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, OSError, RecursionError, UserError):
        look = None
    if look is None or not _is_claimant(look.claimant) or not _is_overlap(look.overlap):
        return Look(fingerprint, number, UNKNOWN, UNKNOWN, {}, {})
    return dataclasses.replace(look, fingerprint=fingerprint, number=number)


def _is_claimant(one: Mapping[str, Any]) -> bool:
    kinds = {"host": str, "boot": str, "pid": int}
    return all(isinstance(one.get(key), kind) for key, kind in kinds.items())


def _is_overlap(one: Mapping[str, Any] | None) -> bool:
    """Nothing, or what ``overlap.Overlap.as_json`` writes."""
    if one is None:
        return True
    known = {"fingerprint": str, "number": int}
    before = {**known, "claimed": str, "shared": int, "by_chance": (int, float)}
    lists: Any = {"looks": before, "unknown": known}
    return all(isinstance(one.get(key), int) for key in ("items", "union")) and all(
        isinstance(one.get(name), list)
        and all(
            isinstance(look, dict) and isinstance(look.get(key), kind)
            for look in one[name]
            for key, kind in kinds.items()
        )
        for name, kinds in lists.items()
    )


def is_of(path: Path, look: Look) -> bool:
    """Whether a receipt, if it is there, may be this look's: one that was written for a claim in
    another database is not, nor one that is damaged other than by a kill."""
    if not path.exists():
        return True
    receipt = read_receipt(path)
    return is_cut_off(path) if receipt.is_torn else receipt.is_same_claim(look)


def is_cut_off(path: Path) -> bool:
    """Whether a receipt that cannot be read is the beginning of one, as a kill leaves it. Another
    one (edited, or with git's marks of a conflict) may hold more, and stays as it is."""
    text = path.read_bytes().strip(b"\0 \r\n")
    if text and (not text.startswith(b"{") or b"<<<<<<<" in text):
        return False
    try:
        json.loads(text)
    except ValueError:
        return True
    return False


def _number_of(path: Path) -> int:
    number = path.stem.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def write_receipt(path: Path, look: Look) -> None:
    """Exclusive: FileExistsError where the receipt is there already."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(look), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fsync_folder(path.parent)


def rewrite_receipt(path: Path, look: Look) -> None:
    """Write over a receipt of this look; one that cannot be read and is not cut off stays."""
    if path.exists() and read_receipt(path).is_torn and not is_cut_off(path):
        return
    write_json(path, dataclasses.asdict(look), _PRIVATE)
