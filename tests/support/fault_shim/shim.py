"""``FAULT_AT=n:kind``: the n-th point at which this process writes below ``FAULT_UNDER`` fails.

Points are counted in the order in which the process meets them: a file opened for writing, each
write that reaches the kernel, fsync, replace, rename, mkdir, unlink, and each commit of SQLite.
``n+:kind`` fails at the n-th and at every later one, as a disk does that stays full.

- ``kill9``: SIGKILL; at a write when half of it is done.
- ``EIO``: the call raises; SQLite says ``disk I/O error``.
- ``ENOSPC``: the call raises; a write is half done, and the next one raises. SQLite says
  ``database or disk is full``. A full disk lets files go: unlink is no point.
- ``short-write``: half is written, and so it is told, as POSIX allows; only writes are counted.

``FAULT_LOG`` gets a line once the counter reaches n: none means that the run had fewer points.
What writes without Python (W&B's service, SQLite below its commit) is not seen.
"""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["kill9", "EIO", "ENOSPC", "short-write"]
# What SQLite says where a file would give this error.
SQLITE = {"EIO": "disk I/O error", "ENOSPC": "database or disk is full"}
# Calls that a fault of this kind does not concern.
NO_POINT: dict[str, tuple[str, ...]] = {
    "ENOSPC": ("unlink", "remove"),
    "short-write": ("open", "fsync", "replace", "rename", "mkdir", "unlink", "remove", "commit"),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Faults:
    """Which point fails, and how; ``under`` are the folders whose files are meant."""

    at: int
    kind: Kind
    under: tuple[Path, ...]
    log: Path
    lasting: bool = False

    @classmethod
    def from_environment(cls) -> Faults:
        at, _, kind = os.environ["FAULT_AT"].partition(":")
        under = tuple(map(Path, os.environ["FAULT_UNDER"].split(os.pathsep)))
        log = Path(os.environ["FAULT_LOG"])
        return cls(int(at.rstrip("+")), kind, under, log, at.endswith("+"))  # type: ignore[arg-type]

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is started, with this folder first on its path."""
        return {
            "FAULT_AT": f"{self.at}{'+' if self.lasting else ''}:{self.kind}",
            "FAULT_UNDER": os.pathsep.join(map(str, self.under)),
            "FAULT_LOG": str(self.log),
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        }

    @property
    def struck(self) -> str | None:
        """What was about to happen at the point, or None where the counter never reached it."""
        return self.log.read_text().strip() if self.log.exists() else None


class Shim:
    """Counts, and fails when it is time. The real functions are kept from before they are
    replaced."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.points = itertools.count(1)  # atomic: threads write, too
        self.full = False
        self.names: dict[int, str] = {}
        self.open, self.os_open, self.os_write, self.kill = io.open, os.open, os.write, os.kill

    def name(self, target: Any) -> str | None:
        """The path behind a path or a descriptor, if it is one of those that are meant."""
        if isinstance(target, int):
            return self.names.get(target)
        path = Path(os.path.abspath(os.fsdecode(target)))
        return str(path) if any(path.is_relative_to(at) for at in self.faults.under) else None

    def due(self, what: str, name: str) -> bool:
        """Count a point; whether it is the one."""
        if what in NO_POINT.get(self.faults.kind, ()):
            return False
        number = next(self.points)
        if number == self.faults.at:
            log = self.os_open(self.faults.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self.os_write(log, f"{what} {name}\n".encode())
            os.close(log)
        return number == self.faults.at or (self.faults.lasting and number > self.faults.at)

    def strike(self, what: str, name: str | None) -> None:
        """Count a point that is no write; fails where it is due."""
        if name is None or not self.due(what, name):
            return
        if self.faults.kind == "kill9":
            self.kill(os.getpid(), signal.SIGKILL)
        raise self.error(name)

    def error(self, name: str | None) -> OSError:
        code = errno.EIO if self.faults.kind == "EIO" else errno.ENOSPC
        return OSError(code, os.strerror(code), *([name] if name else []))

    def write(self, data: Any, name: str | None, write: Callable[[Any], int]) -> int:
        """``write(data)``, unless it is due to fail."""
        if name is not None and self.full and not self.faults.lasting:
            self.full = False
            raise self.error(None)
        if name is None or not self.due("write", name):
            return write(data)
        if self.faults.kind == "EIO" or self.full:
            raise self.error(None)
        view = memoryview(data).cast("B")
        done = write(view[: max(1, len(view) // 2)])
        if self.faults.kind == "kill9":
            self.kill(os.getpid(), signal.SIGKILL)
        self.full = self.faults.kind == "ENOSPC"
        return done


def install(faults: Faults) -> None:
    """Replace what this process writes with; there is no way back."""
    shim = Shim(faults)
    _open_files(shim)
    _descriptors(shim)
    for name, what in {"replace": 1, "rename": 1, "mkdir": 0, "unlink": 0, "remove": 0}.items():
        _counted(shim, name, what)
    _commits(shim)
    shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]  # it would pass by write


def _counted(shim: Shim, function: str, argument: int) -> None:
    """``os.function``, a point for the path that stands at ``argument``."""
    real = getattr(os, function)

    def counted(*given: Any, **more: Any) -> Any:
        if not more.get("dir_fd"):
            shim.strike(function, shim.name(given[argument]))
        return real(*given, **more)

    setattr(os, function, counted)


def _descriptors(shim: Shim) -> None:
    real_close, real_fsync = os.close, os.fsync

    def opened(path: Any, flags: int, *given: Any, **more: Any) -> int:
        name = shim.name(path)
        if flags & WRITING:
            shim.strike("open", name)
        descriptor = shim.os_open(path, flags, *given, **more)
        if name is not None:
            shim.names[descriptor] = name
        return descriptor

    def closed(descriptor: int) -> None:
        shim.names.pop(descriptor, None)
        real_close(descriptor)

    def synced(target: Any) -> None:
        descriptor = target if isinstance(target, int) else target.fileno()
        shim.strike("fsync", shim.names.get(descriptor))
        real_fsync(descriptor)

    def written(descriptor: int, data: Any) -> int:
        name = shim.names.get(descriptor)
        return shim.write(data, name, lambda part: shim.os_write(descriptor, part))

    os.open, os.close, os.fsync, os.write = opened, closed, synced, written  # type: ignore[assignment]


def _open_files(shim: Shim) -> None:
    class File(io.FileIO):
        """Its writes are points; the buffers above it are Python's own."""

        name_shown: str

        def write(self, data: Any) -> int:
            return shim.write(data, self.name_shown, super().write)

        def close(self) -> None:
            if not self.closed:
                shim.names.pop(self.fileno(), None)
            super().close()

    def opened(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        name = shim.name(file)
        if name is None or not set(mode) & set("wax+"):
            return shim.open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if opener is None and not isinstance(file, int):
            shim.strike("open", name)
        raw = File(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        raw.name_shown = shim.names[raw.fileno()] = name
        if buffering == 0:
            return raw
        buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffer
        return io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering=buffering == 1)

    io.open = builtins.open = opened


def _commits(shim: Shim) -> None:
    from sqlalchemy.engine.default import DefaultDialect

    real = DefaultDialect.do_commit

    def commit(self: Any, connection: Any) -> None:
        try:
            shim.strike("commit", self.name)
        except OSError:
            raise sqlite3.OperationalError(SQLITE[shim.faults.kind]) from None
        real(self, connection)  # type: ignore[no-untyped-call]

    DefaultDialect.do_commit = commit  # type: ignore[method-assign]
