"""An application's code as it was when a challenge began, so that champion and challenger can train
side by side while somebody edits.

Code and config files are copied; everything else (data, environments, outputs) is linked. So a
command that is started in the copy finds what it finds in the original, but no later edit of code.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepmore.compose.frozen import NOT_SOURCES
from sweepmore.errors import ConfigError
from sweepmore.runs.files import make_whole, write_atomic
from sweepmore.runs.provenance import git

# The name of a snapshot's folder, and of the file beside it that says what was copied.
CODE, ORIGIN = "code", "copied-from"
# Git's index for the copy, beside it, too.
INDEX = "index"
# What is copied: code, and the files that configure it. Data is not code, whatever its size.
SUFFIXES = {".py", ".pyi", ".pyx", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".sh"}
SUFFIXES |= {".yaml", ".yml", ".toml", ".json", ".cfg", ".ini", ".jinja", ".j2"}
# A longer file is data in the clothes of a config file, and is linked (a guess).
MOST_BYTES = 1_000_000
# More files than this are no application's own code; the largest project looked at has 8,000.
MOST_FILES = 20_000
# Where a copy says which files were copied: what runs in it may write others.
_COPIED = ".sweepmore-copied.json"


@dataclass(frozen=True)
class Snapshot:
    """A copy of the code below ``root``, in ``folder``."""

    root: Path  # of the original
    folder: Path
    skip: Path | None = None  # a folder below ``root`` that holds no sources, but these copies

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
        copied = list(sources(self.root, self.skip))
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder.parent / ORIGIN, str(self.root))
        if (index := git(self.root, "rev-parse", "--git-path", "index")) is not None:
            with contextlib.suppress(FileNotFoundError):  # nothing was ever added
                shutil.copyfile(self.root / index.strip(), self.folder.parent / INDEX)
        make_whole(self.folder, lambda fresh: _fill(fresh, self.root, copied))

    def digest(self) -> str:
        """Eight hex digits over the copied files and their names."""
        total = hashlib.sha256()
        for name in sorted(self.files()):
            total.update(f"{name}\0".encode() + _bytes(self.folder / name) + b"\0")
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
            old, new = since.folder / name, self.folder / name
            before = f"a/{name}" if old.exists() else os.devnull
            after = f"b/{name}" if new.exists() else os.devnull
            lines += difflib.unified_diff(_lines(old), _lines(new), before, after)
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)

    def place(self, path: Path) -> Path:
        """Where a path of the original is in the copy; a path outside the root stays."""
        real = path.resolve()
        return self.folder / real.relative_to(self.root) if _is_in(path, self.root) else path

    def origin(self, path: Path) -> Path:
        """Where a path of the copy is in the original; another path stays."""
        real, copy = path.resolve(), self.folder.resolve()
        return self.root / real.relative_to(copy) if real.is_relative_to(copy) else path

    def words(self, words: Sequence[str]) -> list[str]:
        """A command's words, with absolute paths of copied files and folders replaced by their
        copies', also behind ``--flag=``.

        A setting stays: its value may be a part of what tells two configurations apart.
        """
        return [self._word(word) for word in words]

    def _word(self, word: str) -> str:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        placed = self.place(Path(value))
        if not os.path.isabs(value) or not _is_in(
            placed, self.folder.resolve()
        ):  # such as a linked python
            return word
        return f"{flag}{equals}{placed}"

    def environment(self) -> dict[str, str]:
        """The environment of a command that runs in the copy.

        Packages that are installed from the original, in editable mode, are imported from the copy.
        A relative path that leads out of the original is made absolute.
        """
        mapped = [str(self.place(path)) for path in import_folders(self.root)]
        given = os.environ.get("PYTHONPATH", "")
        path = os.pathsep.join(filter(None, [*mapped, given]))
        # Git notes in its index how it found the files: those of the copy are not for the original.
        index = self.folder.parent / INDEX
        own = {"GIT_INDEX_FILE": str(index)} if index.exists() else {}
        outside = {
            name: f"{Path(value).resolve()}"
            for name, value in os.environ.items()
            if leads_out(value, Path.cwd(), self.root)
        }
        return {**os.environ, **outside, "PYTHONPATH": path, **own}

    def files(self) -> list[str]:
        """The names of the copied files, without those that are linked or were made since."""
        copied: list[str] = json.loads((self.folder / _COPIED).read_text(encoding="utf-8"))
        return copied


def root_of(folder: Path) -> Path:
    """The root of the application that is started in ``folder``: its Git checkout, else it."""
    checkout = git(folder, "rev-parse", "--show-toplevel")
    return folder if checkout is None else Path(checkout.strip()).resolve()


def leads_out(value: str, folder: Path, root: Path) -> bool:
    """Whether a text is a relative path that leads from ``folder`` out of ``root`` to something."""
    path = folder / value
    return value.startswith("..") and os.path.exists(path) and not _is_in(path, root)


def sources(root: Path, skip: Path | None = None) -> Iterator[Path]:
    """The files below ``root`` that are copied, relative to it; none below ``skip``."""
    count = 0
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(
            name
            for name in inside
            if Path(folder, name) != skip and _may_hold_code(Path(folder, name))
        )
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
    # the first entry is this command's own: the working directory, or the folder of its script
    folders = [*map(Path, sys.path[1:]), *(each.parent for each in packages)]
    own = [folder.resolve() for folder in folders if _is_in(folder, root)]
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
        for path in (root / folder).iterdir():
            name = folder / path.name
            if name in own:
                shutil.copy2(path, fresh / name)
            # bytecode is made anew: of two versions saved in one second, Python may load the other
            elif name not in holding and path.name != "__pycache__":
                (fresh / name).symlink_to(path)
    (fresh / _COPIED).write_text(json.dumps([str(path) for path in copied]), encoding="utf-8")


def _may_hold_code(folder: Path) -> bool:
    is_environment = any((folder / mark).exists() for mark in ("pyvenv.cfg", "conda-meta"))
    named = folder.name[0] == "." or folder.name in NOT_SOURCES
    return not (named or is_environment or folder.is_symlink())


def _is_code(path: Path) -> bool:
    return path.suffix in SUFFIXES


def _is_in(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _lines(path: Path) -> list[str]:
    """Lines as Git counts them; two files that differ have different ones, whatever they hold."""
    lines = _bytes(path).decode("utf-8", "backslashreplace").split("\n")
    return [f"{line}\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]
