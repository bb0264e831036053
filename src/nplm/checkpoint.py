"""Weights and training states on disk: safetensors with JSON inside, replaced atomically.

A file holds named tensors and, in its header, JSON that describes them. A digest over both is
checked on loading, because safetensors has none: a flipped bit would load as another model.
Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from sweepmore.errors import RunError
from sweepmore.runs.files import write_atomic

FORMAT, VERSION = "nplm", 1

LAST = Path("checkpoints") / "last.safetensors"
PREVIOUS = Path("checkpoints") / "previous.safetensors"
BEST = Path("checkpoints") / "best.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors, and ``about``, what they are, as JSON holds it."""

    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors named ``prefix.…``, without the prefix."""
        return {
            name.removeprefix(f"{prefix}."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(f"{prefix}.")
        }


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Replace ``path`` with the checkpoint; a kill at any instant leaves the old file or the
    new."""
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()
    }
    about = json.dumps({"format": FORMAT, "version": VERSION, **checkpoint.about})
    # one entry, because safetensors writes several in an order that differs between processes
    header = {FORMAT: json.dumps({"about": about, "digest": _digest(tensors, about)})}
    with contextlib.suppress(FileNotFoundError):  # write_atomic reports a folder that is gone
        path.parent.mkdir(exist_ok=True)
    write_atomic(path, safetensors.torch.save(tensors, metadata=header))


def save_last(folder: Path, checkpoint: Checkpoint) -> None:
    """Save a run's training state and keep the previous one; at no instant is either missing."""
    if (folder / LAST).exists():
        write_atomic(folder / PREVIOUS, (folder / LAST).read_bytes())
    save(folder / LAST, checkpoint)


def load(path: Path) -> Checkpoint:
    """Return the checkpoint in ``path``. Raises RunError for a file that is missing, damaged, of
    another kind, or of a newer version."""
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(FORMAT, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
    except FileNotFoundError:
        raise _refused(path, "is missing") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise _refused(path, f"is not a whole safetensors file ({error})") from error
    if "about" not in header:
        raise _refused(path, "was not written by this program")
    if header.get("digest") != _digest(tensors, header["about"]):
        raise _refused(path, "is damaged: its digest does not fit its content")
    about = json.loads(header["about"])
    if about.get("format") != FORMAT or about.get("version", 0) > VERSION:
        version = about.get("version")
        raise _refused(path, f"has version {version}, but this program reads version {VERSION}")
    return Checkpoint(tensors, about)


def load_last(folder: Path) -> Checkpoint:
    """Return the last training state of the run in ``folder``, or the previous one where the last
    cannot be read. Raises RunError where neither can."""
    try:
        return load(folder / LAST)
    except RunError:
        if not (folder / PREVIOUS).exists():
            raise
        return load(folder / PREVIOUS)


def _refused(path: Path, what: str) -> RunError:
    cure = "Give another run, or repeat this run."
    return RunError(f"{path} {what}.", value=str(path), cure=cure)


def _digest(tensors: Mapping[str, Tensor], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).numpy().tobytes())
    return digest.hexdigest()
