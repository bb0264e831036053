"""Out of memory: how it is told from other errors, and from other deaths."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CGROUPS = "/sys/fs/cgroup"
# A kill explains a death that is noticed within so many seconds (a guess): the kernel counts it
# first, and the end of a process with much memory takes a while.
RECENT_SECONDS = 10.0
# Classes of torch, cupy and TensorFlow; and how CUDA, HIP and XLA say it in an error of any class.
_CLASSES = ("OutOfMemoryError", "ResourceExhaustedError")
_WORDS = re.compile(r"(CUDA|HIP)\b.*\bout of memory|RESOURCE_EXHAUSTED|CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator had no memory left, by the words of whoever says so.

    An error that was raised from such a one counts, too.
    """
    seen = set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if any(kind.__name__ in _CLASSES for kind in type(cause).__mro__):
            return True
        if isinstance(cause, RuntimeError) and _WORDS.search(_text(cause)):
            return True
        cause = cause.__cause__
    return False


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # raised by its own __str__, which may raise anything
        return ""


def oom_kills() -> int:
    """How many processes of this one's cgroup the kernel has killed for lack of memory.

    0 where it does not count them: outside Linux, and in version 2's root.
    """
    for counter in _counters():
        try:
            rows = [line.split() for line in counter.read_text().splitlines()]
        except OSError:
            continue
        for row in rows:
            if row[0] == "oom_kill":
                return int(row[1])
    return 0


def _counters() -> Iterator[Path]:
    """Where the counter may be. Within a container, its own cgroup may be mounted as the root."""
    try:
        rows = [row.split(":", 2) for row in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in rows:
        if "memory" in controllers.split(","):  # version 1
            for place in (path.lstrip("/"), ""):
                yield Path(CGROUPS, "memory", place, "memory.oom_control")
        elif not controllers:  # version 2
            for place in (path.lstrip("/"), ""):
                yield Path(CGROUPS, place, "memory.events")


@dataclass
class MemoryKills:
    """The kernel's kills for lack of memory since this record was made; each explains one death."""

    _counted: int = field(default_factory=oom_kills, init=False)
    _unexplained: list[float] = field(default_factory=list, init=False)  # when they were noticed

    def look(self) -> None:
        """Notice new kills, and forget old ones: those were of other processes."""
        counted, now = oom_kills(), time.monotonic()
        recent = [when for when in self._unexplained if now - when < RECENT_SECONDS]
        self._unexplained = recent + [now] * (counted - self._counted)
        self._counted = counted

    def explain(self) -> bool:
        """Whether a kill explains a death that has just been noticed."""
        self.look()
        return bool(self._unexplained and self._unexplained.pop(0))
