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

# Stands for what cannot be read in a receipt that a kill tore.
UNKNOWN = "unknown"
# Only its owner reads or changes a receipt here; git keeps no more of a mode than its x.
_PRIVATE = 0o600


@dataclass(frozen=True)
class Look:
    """A look at a test split, claimed or done.

    ``result`` is None until the look is done. ``reason`` says why it was taken after an earlier
    look. ``overlap`` says what earlier looks had seen of its items, and ``keys`` which items it
    saw. Looks of older versions have neither.
    """

    fingerprint: str
    number: int
    checkpoint: str
    claimed: str
    claimant: Mapping[str, Any]
    about: Mapping[str, Any]
    reason: str | None = None
    result: Mapping[str, Any] | None = None
    overlap: Mapping[str, Any] | None = None
    keys: str | None = None  # with blanks between: a single line of a file that people read

    @property
    def items(self) -> frozenset[str] | None:
        """Return the keys of the items that the look saw, or None if it kept none."""
        return None if self.keys is None else frozenset(self.keys.split())

    @property
    def is_torn(self) -> bool:
        """Whether its receipt is damaged and no longer says who claimed it."""
        return self.claimed == UNKNOWN

    @property
    def place(self) -> tuple[str, int]:
        """Return what names its receipt and its row. Claims in two databases may share it."""
        return self.fingerprint, self.number

    @property
    def claim(self) -> tuple[str, int, str, str]:
        """Return what identifies the claim: no other claim shares it."""
        return *self.place, self.claimed, self.checkpoint

    def is_same_claim(self, other: Look) -> bool:
        """Whether two records are of one claim; a damaged record is not known to be."""
        return self.claim == other.claim and not self.is_torn

    def __str__(self) -> str:
        state = "claimed, no result" if self.result is None else "done"
        why = f': "{self.reason}"' if self.reason else ""
        if self.is_torn:
            return f"look {self.number}, at an unknown time: its receipt is damaged{why}"
        when = self.claimed[:16].replace("T", " ")
        return f"look {self.number}, taken {when} UTC ({state}){why}"


def receipts(folder: Path, fingerprint: str = "*") -> list[Look]:
    """Return the receipts of a split, or of all, in order. A damaged receipt still counts."""
    return [
        read_receipt(path) for path in sorted(folder.glob(f"{fingerprint}-*.json"), key=_number_of)
    ]


def read_receipt(path: Path) -> Look:
    """Read a receipt.

    A receipt that a kill tore, or that holds what no claim writes, gives a look that is ``is_torn``
    rather than an error, because the claim was made.
    """
    fingerprint, number = path.stem.rpartition("-")[0], _number_of(path)
    try:
        look = build(Look, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, OSError, RecursionError, UserError):
        look = None
    if look is None or not _is_claimant(look.claimant) or not _is_overlap(look.overlap):
        return Look(fingerprint, number, UNKNOWN, UNKNOWN, {}, {})
    return dataclasses.replace(look, fingerprint=fingerprint, number=number)


def _is_claimant(claimant: Mapping[str, Any]) -> bool:
    kinds = {"host": str, "boot": str, "pid": int}
    return all(isinstance(claimant.get(key), kind) for key, kind in kinds.items())


def _is_overlap(overlap: Mapping[str, Any] | None) -> bool:
    """Whether a value is None, or has the shape that ``overlap.Overlap.as_json`` writes."""
    if overlap is None:
        return True
    place = {"fingerprint": str, "number": int}
    before = {**place, "claimed": str, "shared": int, "by_chance": (int, float)}
    lists: Any = {"looks": before, "unknown": place}
    return all(isinstance(overlap.get(key), int) for key in ("items", "union")) and all(
        isinstance(overlap.get(name), list)
        and all(
            isinstance(look, dict) and isinstance(look.get(key), kind)
            for look in overlap[name]
            for key, kind in kinds.items()
        )
        for name, kinds in lists.items()
    )


def is_of(path: Path, look: Look) -> bool:
    """Whether a receipt is missing or may be this look's.

    A receipt of a claim in another database is not, and neither is one that was damaged in any
    other way than by a kill.
    """
    if not path.exists():
        return True
    receipt = read_receipt(path)
    return is_cut_off(path) if receipt.is_torn else receipt.is_same_claim(look)


def is_cut_off(path: Path) -> bool:
    """Whether a damaged receipt is only the beginning of a receipt, as a kill leaves it.

    A receipt that was edited, or that has git's conflict markers, may hold more and must stay as it
    is.
    """
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
    """Create a receipt and sync it to the disk. Raises FileExistsError if it exists already."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(look), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fsync_folder(path.parent)


def rewrite_receipt(path: Path, look: Look) -> None:
    """Replace a receipt of this look, unless it is damaged and may hold more than can be read."""
    if path.exists() and read_receipt(path).is_torn and not is_cut_off(path):
        return
    write_json(path, dataclasses.asdict(look), _PRIVATE)
