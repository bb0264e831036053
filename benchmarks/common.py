"""What every benchmark does: two ways timed in turn, their spread, the machine in words."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median

from hydra import compose, initialize_config_dir

from nplm.app import for_hydra
from nplm.config import Config, Data, from_hydra
from sweepmore.compose.cli import ROOT_VARIABLE
from sweepmore.compose.composing import resolved
from sweepmore.compose.hydra_internals import VERSION_BASE
from sweepmore.process.machine import processor

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "numpy")


@dataclass(frozen=True)
class Comparison:
    """Ours against theirs, measured in pairs; the times in ``unit``.

    ``work`` says what both do and what the clock leaves out.
    """

    name: str
    work: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """theirs / ours of each pair: how many times faster ours is."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]


def measure(
    ours: Callable[[], float], theirs: Callable[[], float], pairs: int, warm: bool = True
) -> tuple[list[float], list[float]]:
    """What both return, ``pairs`` times in turn; with ``warm`` after an unmeasured call of each.

    Who goes first alternates, so that a machine that slows down slows both.
    """
    if warm:
        ours(), theirs()
    times: tuple[list[float], list[float]] = [], []
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            times[which].append((ours, theirs)[which]())
    return times


def text(comparison: Comparison) -> str:
    """A few lines for a terminal."""
    low, middle, high = spread(comparison.ratios)
    return (
        f"{comparison.name}: {comparison.work}\n"
        f"  ours    {median(comparison.ours):8.4g} {comparison.unit} (median)\n"
        f"  theirs  {median(comparison.theirs):8.4g} {comparison.unit} (median)\n"
        f"  theirs / ours: {low:.2f} min, {middle:.2f} median, {high:.2f} max "
        f"of {len(comparison.ours)} pairs\n"
        f"  {machine()}"
    )


def table_row(comparison: Comparison) -> str:
    """A row under ``TABLE_HEAD``."""
    low, middle, high = spread(comparison.ratios)
    return (
        f"| {comparison.name} | {median(comparison.ours):.4g} {comparison.unit} "
        f"| {median(comparison.theirs):.4g} {comparison.unit} "
        f"| {middle:.3g} ({low:.3g} – {high:.3g}) | {len(comparison.ours)} |"
    )


TABLE_HEAD = (
    "| what | ours, median | theirs, median | theirs / ours, median (min – max) | pairs |\n"
    "|---|---|---|---|---|"
)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Smallest, median, largest."""
    return min(values), median(values), max(values)


def machine() -> str:
    """Processor, system and versions; no host name."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return (
        f"{processor()}, {os.cpu_count()} cores; {platform.system()}; "
        f"Python {platform.python_version()}, {versions}"
    )


def commit() -> str:
    """The checkout's commit; a ``+`` where tracked source files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "conf")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def experiment(*overrides: str) -> Config:
    """What train.py would run with these overrides."""
    os.environ[ROOT_VARIABLE] = str(ROOT)
    for_hydra.register()
    with initialize_config_dir(str(ROOT / "conf"), **VERSION_BASE):
        return from_hydra(resolved(compose("config", overrides=[*overrides, "device=cpu"])))


def lecture_data() -> Data:
    """names.txt where it lies already ($SWEEPMORE_DATA_DIR), else the embedded names."""
    folder = os.environ.get("SWEEPMORE_DATA_DIR")
    there = folder is not None and (Path(folder) / "names.txt").exists()
    return Data(name="names" if there else "given_names")
