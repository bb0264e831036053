"""Where an application keeps its runs and studies, and the words that say so in a command."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from sweepmore.process.invocation import sweepmore
from sweepmore.runs.files import write_atomic
from sweepmore.runs.finding import require_outputs
from sweepmore.runs.names import safe_name, searched_name
from sweepmore.wording import shown_path

# The name of the folder of runs and studies, unless hydra.sweeper.outputs says otherwise.
OUTPUTS = "outputs"
# What such a folder holds: another program's `outputs` has none of these.
MARKS = ("studies.db", "studies", "runs")
# The file in a study's folder that names its database, where that is not the one in outputs.
STORAGE = "storage"


@dataclass(frozen=True)
class Place:
    """The folder of runs and studies, absolute, and the database of studies.

    ``storage`` is the database's URL as somebody wrote it, perhaps with ``${oc.env:…}``. None is
    the one in ``outputs``.
    """

    outputs: Path
    storage: str | None = None

    def options(self) -> str:
        """Return `` --outputs … --storage …`` for a verb of the command that is typed here.

        Empty where the verb finds the place by itself.
        """
        words = []
        if nearest_outputs(Path.cwd()) != self.outputs:
            words += ["--outputs", shown_path(self.outputs)]
        if self.storage is not None:
            words += ["--storage", self.storage]
        return "".join(f" {shlex.quote(word)}" for word in words)

    def settings(self, root: Path | None) -> str:
        """Return `` outputs=… storage=…`` for a script of the application in ``root``.

        Empty where these are its defaults.
        """
        words = []
        if root is None or not self.outputs.is_relative_to(root):
            words.append(f"outputs={self.outputs}")
        elif self.outputs != root / OUTPUTS:
            words.append(f"outputs={self.outputs.relative_to(root)}")
        if self.storage is not None:
            words.append(f"storage={self.storage}")
        return "".join(f" {shlex.quote(word)}" for word in words)

    def verb(self, name: str, *words: str) -> str:
        """Return the line ``sweepmore NAME WORDS…`` that can be typed here."""
        return shlex.join([*sweepmore(), name, *words]) + self.options()

    def keep(self, study: Path) -> None:
        """Note in a study's folder which database has it, so that no verb needs --storage."""
        if self.storage is not None and not (study / STORAGE).exists():
            write_atomic(study / STORAGE, self.storage)

    def of_study(self, name: str | None) -> Place:
        """Return the place with the database of the study ``name``, as its sweep noted it."""
        if name is None:
            return self
        path = self.outputs / "studies" / safe_name(searched_name(name)) / STORAGE
        if self.storage is not None or not path.exists():
            return self
        return Place(self.outputs, path.read_text())

    def each(self) -> list[Place]:
        """Return a place for every database that keeps studies here, the default one first."""
        if self.storage is not None:
            return [self]
        noted = {path.read_text() for path in self.outputs.glob(f"studies/*/{STORAGE}")}
        own = [self] if (self.outputs / "studies.db").exists() else []
        return [*own, *(Place(self.outputs, storage) for storage in sorted(noted))]


def find_place(outputs: Path | str | None = None, storage: str | None = None) -> Place:
    """Return the place that is named, or the nearest one from the working directory.

    Raises RunError where ``outputs`` is named and is not a folder.
    """
    if outputs is None:
        return Place(nearest_outputs(Path.cwd()), storage)
    folder = (Path.cwd() / outputs).resolve()
    require_outputs(folder)
    return Place(folder, storage)


def nearest_outputs(start: Path) -> Path:
    """Return the folder of runs and studies in ``start`` or in the nearest folder above it.

    Where there is none, it is the one that ``start`` would have.
    """
    for folder in (start, *start.parents):
        outputs = folder / OUTPUTS
        if any(os.path.lexists(outputs / mark) for mark in MARKS):
            return outputs
    return start / OUTPUTS
