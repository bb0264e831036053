"""A worker's seat: its part of the machine, which nobody else has while the worker lives.

Seats are locks of files in the study's folder, so that the kernel frees them however a worker ends.
They are held in three ways:

- ``HOST-seat-N``: by the worker in seat N, so that a second start of the same study waits for it.
- ``HOST-gpu-X``: by all workers of a GPU together, or by one that needs it alone.
- ``HOST-turn-X``: by the one that needs it alone, from when it begins to wait. The others end after
  their trial, which frees their memory, and their replacements wait until it has ended, too.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sweepmore.process.locks import try_lock, unlock
from sweepmore.process.signals import STOPPING, Stop
from sweepmore.runs.names import safe_name

# How often a waiting worker looks again.
WAIT_SECONDS = 0.1
# Who asks whether a GPU is wanted holds its lock for microseconds; who needs it alone, for a trial.
ASK_SECONDS = 1.0


@dataclass
class Seat:
    """What a worker has of its machine."""

    folder: Path  # of the locks
    number: int | None = None  # None: no other start may want it
    placed: Mapping[str, Any] | None = None  # as a trial's attributes keep it; None: unknown
    _files: dict[str, IO[Any]] = field(default_factory=dict, init=False)

    @property
    def is_shared(self) -> bool:
        """Whether other workers use its GPU, or its machine where it has none."""
        return self.placed is not None and self.placed["workers"] > 1

    def take(self, stop: Stop) -> None:
        """Wait until the seat is free and nobody needs its GPU alone, or until stopped."""
        if self.number is not None:
            number = self._file(f"seat-{self.number}")
            self._wait(lambda: try_lock(number), stop)
        if self.is_shared:
            turn, gpu = self._of_gpu()
            if self._wait(lambda: try_lock(turn, shared=True), stop):
                try_lock(gpu, shared=True)  # nobody has it alone, who would have the turn
                unlock(turn)

    def is_wanted(self) -> bool:
        """Whether another worker needs the GPU alone: this one should end."""
        if not self.is_shared:
            return False
        turn, _ = self._of_gpu()
        is_free = try_lock(turn, shared=True)
        unlock(turn)
        return not is_free

    def clear(self, stop: Stop) -> bool:
        """Wait until all others have left the GPU, and keep it until this process ends.

        Returns False when this worker was stopped, or another one needs the GPU alone, too.
        """
        if not self.is_shared:
            return True
        turn, gpu = self._of_gpu()
        end = time.monotonic() + ASK_SECONDS
        if not self._wait(lambda: try_lock(turn) or time.monotonic() > end, stop):
            return False
        return try_lock(turn) and self._wait(lambda: try_lock(gpu), stop)

    def leave(self, stop: Stop) -> None:
        """End this worker as if a signal had asked it to: its parent then replaces it."""
        stop.hear(STOPPING[-1])

    def _wait(self, is_done: Callable[[], bool], stop: Stop) -> bool:
        """Wait until ``is_done``, and return whether that was before the worker was stopped."""
        while stop.signum is None:
            if is_done():
                return True
            time.sleep(WAIT_SECONDS)
        return False

    def _of_gpu(self) -> tuple[IO[Any], IO[Any]]:
        assert self.placed is not None
        gpus = "+".join(self.placed["gpus"]) or "none"
        return self._file(f"turn-{gpus}"), self._file(f"gpu-{gpus}")

    def _file(self, name: str) -> IO[Any]:
        """The open file of a lock. It stays open, because closing it would free the lock."""
        if name not in self._files:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / safe_name(f"{platform.node()}-{name}")
            self._files[name] = path.open("ab")
        return self._files[name]
