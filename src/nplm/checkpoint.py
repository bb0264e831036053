"""Weights and training states on disk: safetensors with JSON inside, replaced atomically.

A file holds named tensors and, in its header, JSON of what they are. A digest over both is
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

WEIGHTS = "model.safetensors"
LAST = Path("checkpoints") / "last.safetensors"
PREVIOUS = Path("checkpoints") / "previous.safetensors"
BEST = Path("checkpoints") / "best.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors and what they are."""

    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors named ``prefix.…``, without the prefix."""
        return {
            name.removeprefix(f"{prefix}."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(f"{prefix}.")
        }


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Replace ``path`` by the checkpoint; a kill at any instant leaves the old one or the new."""
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()
    }
    about = json.dumps({"format": FORMAT, "version": VERSION, **checkpoint.about})
    # one entry: safetensors writes several in an order that differs from process to process
    header = {FORMAT: json.dumps({"about": about, "digest": _digest(tensors, about)})}
    with contextlib.suppress(FileNotFoundError):  # of a run's folder that is gone, see there
        path.parent.mkdir(exist_ok=True)
    write_atomic(path, safetensors.torch.save(tensors, metadata=header))


def save_last(folder: Path, checkpoint: Checkpoint) -> None:
    """Save a run's training state and keep the one before it; neither is missing at any instant."""
    if (folder / LAST).exists():
        write_atomic(folder / PREVIOUS, (folder / LAST).read_bytes())
    save(folder / LAST, checkpoint)


def load(path: Path) -> Checkpoint:
    """Raises RunError for a file that is missing, damaged, of another kind or a newer version."""
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
        raise _refused(path, f"has version {about.get('version')}, known is {VERSION}")
    return Checkpoint(tensors, about)


def load_last(folder: Path) -> Checkpoint:
    """The last training state of a run that can be read; the previous one if the last cannot."""
    try:
        return load(folder / LAST)
    except RunError:
        if not (folder / PREVIOUS).exists():
            raise
        return load(folder / PREVIOUS)


def _refused(path: Path, what: str) -> RunError:
    cure = "Give another run, or repeat this one."
    return RunError(f"{path} {what}.", value=str(path), cure=cure)


def _digest(tensors: Mapping[str, Tensor], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).numpy().tobytes())
    return digest.hexdigest()
