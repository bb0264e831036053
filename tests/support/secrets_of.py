"""Searching what was written for a secret: bytes, names, links, and W&B's log decoded."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.helpers import wandb_records


def files_below(folder: Path) -> list[Path]:
    """Files, and links to nowhere; what a link to a folder shows is there by itself."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def traces(folder: Path, secret: str) -> list[str]:
    """Where the secret stands: files by content or name, and records of W&B's logs."""
    found = []
    for path in files_below(folder):
        content = path.read_bytes() if path.exists() else b""
        target = str(path.readlink()) if path.is_symlink() else ""
        if secret.encode() in content or secret in str(path) or secret in target:
            found.append(str(path.relative_to(folder)))
    for log in folder.rglob("run-*.wandb"):
        records = wandb_records(log.parents[2], named=log.stem.removeprefix("run-"))
        found += [f"{log.name}: {r.WhichOneof('record_type')}" for r in records if secret in str(r)]
    return found


def is_pickle(content: bytes) -> bool:
    """A pickle stream of protocol 2 or later, or a zip archive that holds one (torch.save)."""
    if content[:1] == b"\x80":
        try:
            operations = list(pickletools.genops(content))
        except ValueError:
            return False
        return operations[-1][0].name == "STOP"
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(is_pickle(archive.read(name)) for name in archive.namelist())
    return False


def pickles(folder: Path) -> list[Path]:
    return [p for p in files_below(folder) if p.exists() and is_pickle(p.read_bytes())]


def texts_in_pickle(content: bytes) -> Iterator[str]:
    """Every text that a pickle holds, without loading it."""
    for _, argument, _ in pickletools.genops(content):
        if isinstance(argument, str):
            yield argument
        elif isinstance(argument, bytes):
            yield argument.decode(errors="replace")
