"""An application's code as it was when a challenge began, so that champion and challenger can train
side by side while somebody edits.

Code and config files are copied; everything else (data, environments, outputs) is linked. So a
command that is started in the copy finds what it finds in the original, but no later edit of code.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepmore.compose.frozen import NOT_SOURCES
from sweepmore.errors import ConfigError
from sweepmore.runs.files import make_whole, write_atomic

# The name of a snapshot's folder, and of the file beside it that says what was copied.
CODE, ORIGIN = "code", "copied-from"
# What is copied: code, and the files that configure it. Data is not code, whatever its size.
SUFFIXES = {".py", ".pyi", ".pyx", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".sh"}
SUFFIXES |= {".yaml", ".yml", ".toml", ".json", ".cfg", ".ini", ".jinja", ".j2"}
# A longer file is data in the clothes of a config file, and is linked (a guess).
MOST_BYTES = 1_000_000
# More files than this are no application's own code; the largest project looked at has 8,000.
MOST_FILES = 20_000


@dataclass(frozen=True)
class Snapshot:
    """A copy of the code below ``root``, in ``folder``."""

    root: Path  # of the original
    folder: Path

    @classmethod
    def around(cls, folder: Path) -> Snapshot | None:
        """The snapshot that holds ``folder``; None for a folder that is not copied."""
        for parent in (folder, *folder.parents):
            if (origin := parent.parent / ORIGIN).exists() and parent.name == CODE:
                return cls(Path(origin.read_text()), parent)
        return None

    @property
    def exists(self) -> bool:
        """Whether it has been taken, and not removed since."""
        return self.folder.is_dir()

    def take(self) -> None:
        """Copy the code. Raises ConfigError where there is too much of it."""
        copied = list(sources(self.root))
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder.parent / ORIGIN, str(self.root))
        make_whole(self.folder, lambda fresh: _fill(fresh, self.root, copied))

    def digest(self) -> str:
        """Eight hex digits over the copied files and their names."""
        total = hashlib.sha256()
        for name in sorted(self.files()):
            total.update(f"{name}\0".encode() + (self.folder / name).read_bytes() + b"\0")
        return total.hexdigest()[:8]

    def changed(self, since: Snapshot) -> tuple[str, ...]:
        """The files that differ from those of an earlier snapshot, or that only one of them has."""
        mine, theirs = set(self.files()), set(since.files())
        both = {n for n in mine & theirs if _bytes(self.folder / n) != _bytes(since.folder / n)}
        return tuple(sorted((mine ^ theirs) | both))

    def diff(self, since: Snapshot) -> str:
        """The unified diff from an earlier snapshot to this one."""
        lines: list[str] = []
        for name in self.changed(since):
            before, after = (_lines(each.folder / name) for each in (since, self))
            lines += difflib.unified_diff(before, after, f"a/{name}", f"b/{name}")
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)

    def place(self, path: Path) -> Path:
        """Where a path of the original is in the copy; a path outside the root stays."""
        return self.folder / path.relative_to(self.root) if _is_in(path, self.root) else path

    def words(self, words: Sequence[str]) -> list[str]:
        """A command's words, with absolute paths of the original replaced by those of the copy."""
        return [
            str(self.place(Path(word))) if os.path.isabs(word) and word.endswith(".py") else word
            for word in words
        ]

    def environment(self) -> dict[str, str]:
        """The environment of a command that runs in the copy.

        Packages that are installed from the original, in editable mode, are imported from the copy.
        """
        mapped = [str(self.place(path)) for path in import_folders(self.root)]
        given = os.environ.get("PYTHONPATH", "")
        path = os.pathsep.join(filter(None, [*mapped, given]))
        # Git would otherwise note in its index when it looked at the copy's files.
        return {**os.environ, "PYTHONPATH": path, "GIT_OPTIONAL_LOCKS": "0"}

    def files(self) -> Iterator[str]:
        """The names of the copied files, without those that are linked."""
        for folder, inside, files in os.walk(self.folder):
            inside[:] = [name for name in inside if not os.path.islink(Path(folder, name))]
            for name in files:
                path = Path(folder, name)
                if not path.is_symlink():
                    yield str(path.relative_to(self.folder))


def root_of(folder: Path) -> Path:
    """The root of the application that is started in ``folder``: its Git checkout, else it."""
    query = ["git", "rev-parse", "--show-toplevel"]
    try:
        done = subprocess.run(query, cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):  # no Git
        return folder
    return Path(done.stdout.strip()).resolve() if done.returncode == 0 else folder


def sources(root: Path) -> Iterator[Path]:
    """The files below ``root`` that are copied, relative to it."""
    count = 0
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(name for name in inside if _may_hold_code(Path(folder, name)))
        for name in sorted(files):
            path = Path(folder, name)
            if _is_code(path) and not path.is_symlink() and path.stat().st_size <= MOST_BYTES:
                count += 1
                if count > MOST_FILES:
                    problem = f"{root} has more than {MOST_FILES:,} files of code."
                    cure = "Start the challenge in the application's folder, or in its checkout."
                    raise ConfigError(problem, value=str(root), cure=cure)
                yield path.relative_to(root)


def import_folders(root: Path) -> list[Path]:
    """The folders below ``root`` from which Python imports, environments aside.

    Some editable installations have no folder on the path, but a finder with a mapping.
    """
    finders = [m for name, m in sys.modules.items() if name.startswith("__editable__")]
    packages = [Path(p) for m in finders for p in getattr(m, "MAPPING", {}).values()]
    folders = [*(Path(entry) for entry in sys.path if entry), *(each.parent for each in packages)]
    own = [f.resolve() for f in folders if _is_in(f, root) and f.resolve() != root]
    named = [f for f in own if not NOT_SOURCES & {*f.relative_to(root).parts} and f.is_dir()]
    return [
        f for f in dict.fromkeys(named) if not any(p[0] == "." for p in f.relative_to(root).parts)
    ]


def hashes(folder: Path, names: Sequence[str]) -> Mapping[str, str]:
    """The sha256 of each of these files below ``folder``; an empty one for a missing file."""
    return {
        name: hashlib.sha256(_bytes(folder / name)).hexdigest() if (folder / name).exists() else ""
        for name in names
    }


def _fill(fresh: Path, root: Path, copied: Sequence[Path]) -> None:
    """Copy files, and link what else the folders that hold them have."""
    holding = {parent for path in copied for parent in path.parents} | {Path()}
    own = set(copied)
    for folder in sorted(holding):
        (fresh / folder).mkdir(exist_ok=True)
        for entry in os.scandir(root / folder):
            name = folder / entry.name
            if name in own:
                shutil.copy2(entry.path, fresh / name)
            # bytecode is made anew: of two versions saved in one second, Python may load the other
            elif name not in holding and entry.name != "__pycache__":
                (fresh / name).symlink_to(entry.path)


def _may_hold_code(folder: Path) -> bool:
    is_environment = (folder / "pyvenv.cfg").exists()
    named = folder.name[0] == "." or folder.name in NOT_SOURCES
    return not (named or is_environment or folder.is_symlink())


def _is_code(path: Path) -> bool:
    return path.suffix in SUFFIXES


def _is_in(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _lines(path: Path) -> list[str]:
    return _bytes(path).decode("utf-8", "replace").splitlines(keepends=True)
