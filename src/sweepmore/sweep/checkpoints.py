"""What stays of a study's trials on disk: ``hydra.sweeper.keep``."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from sweepmore.study.view import StudyView

# What weights and training states are called in a trial's folder, by this application and others.
CHECKPOINTS = ("checkpoints", "*.safetensors", "*.pt", "*.pth", "*.ckpt")


@dataclass
class BestOnly:
    """Removes the checkpoints of trials that are finished and not the best.

    A trial that is beaten once is never the best again, so each is looked at once; one that will
    be retried keeps its checkpoints. Of several objectives, all that no other trial beats stay.
    """

    _done: set[int] = field(default_factory=set)

    def __call__(self, seen: StudyView) -> None:
        given_up = set(seen.given_up)
        finished = {a.root for a in seen.attempts if a.counts or a.slot in given_up}
        many = len(seen.directions) > 1
        best = {a.root for a in (*seen.ranked[:1], *(seen.front if many else ()))}
        for root in finished - best - self._done:
            for attempt in seen.attempts:
                if attempt.root == root and attempt.attrs.folder is not None:
                    remove_checkpoints(attempt.attrs.folder)
            self._done.add(root)


def remove_checkpoints(folder: Path) -> None:
    for pattern in CHECKPOINTS:
        for path in list(folder.rglob(pattern)):
            with contextlib.suppress(FileNotFoundError):  # another parent was first
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
