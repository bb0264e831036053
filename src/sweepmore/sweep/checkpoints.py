"""Which checkpoints of a study's trials stay on disk: ``hydra.sweeper.keep``."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from sweepmore.study.view import StudyView

# The usual names of weights and training states in the folder of a trial, whatever the application.
CHECKPOINTS = ("checkpoints", "*.safetensors", "*.pt", "*.pth", "*.ckpt")


@dataclass
class BestOnly:
    """Removes the checkpoints of finished trials that are not the best.

    A trial that is beaten once is never the best again, so each is cleaned only once. A trial that
    will be retried keeps its checkpoints. With several objectives, all trials that no other trial
    beats keep theirs, too.
    """

    _cleaned: set[int] = field(default_factory=set)  # roots of trials without checkpoints

    def __call__(self, snapshot: StudyView) -> None:
        """Remove what the present best has made useless."""
        given_up = set(snapshot.given_up)
        finished = {a.root for a in snapshot.attempts if a.counts or a.slot in given_up}
        many = len(snapshot.directions) > 1
        best = {a.root for a in (*snapshot.ranked[:1], *(snapshot.front if many else ()))}
        for root in finished - best - self._cleaned:
            for attempt in snapshot.attempts:
                if attempt.root == root and attempt.attrs.folder is not None:
                    remove_checkpoints(attempt.attrs.folder)
            self._cleaned.add(root)


def remove_checkpoints(folder: Path) -> None:
    """Remove everything in the folder, at any depth, that matches ``CHECKPOINTS``.

    Raises OSError when a file cannot be removed; one that is already gone is fine.
    """
    for pattern in CHECKPOINTS:
        for path in list(folder.rglob(pattern)):
            with contextlib.suppress(FileNotFoundError):  # another parent was first
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
