"""A report as one HTML file: no network, opens from disk, readable on a phone, light and dark.

Its tables are sorted by a script of a dozen lines: a library's would be longer than the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepmore.report.chart import Chart
from sweepmore.report.drawing import draw, save, svg
from sweepmore.runs.files import write_atomic
from sweepmore.wording import decimals


@dataclass(frozen=True)
class Table:
    """A table that a click on its head sorts.

    ``marked`` holds the indices of rows that stand out. The columns in ``typed`` hold values that
    people type into a command, so their numbers have no separators.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    marked: Sequence[int] = ()
    typed: Sequence[int] = ()


@dataclass(frozen=True)
class Picture:
    """A figure of one or more charts; ``caption`` says how to read it."""

    charts: Sequence[Chart]
    caption: str = ""
    columns: int = 1

    @property
    def name(self) -> str:
        return "slices" if len(self.charts) > 1 else self.charts[0].name


@dataclass(frozen=True)
class Section:
    """A titled part of a page: text, then pictures, then tables."""

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Page:
    """A page: the answer first (``facts``), then ``warnings`` about it, then the evidence."""

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    sections: Sequence[Section]
    commands: Sequence[tuple[str, str]] = ()


def write(page: Page, folder: Path) -> Path:
    """Write ``index.html`` and a PNG of each figure into a folder, and return the page's path.

    Figures of an earlier page in the same folder are deleted.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sweepmore.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    drawn: dict[str, str] = {}
    for section in page.sections:
        for picture in section.pictures:
            figure = draw(picture.charts, picture.columns)
            drawn[picture.name] = svg(figure, picture.charts)
            save(figure, folder / f"{picture.name}.png")
    environment.filters |= {"cell": cell, "sorts_by_number": sorts_by_number}
    text = environment.get_template("page.html.j2").render(page=page, drawn=drawn)
    for old in folder.glob("*.png"):
        if old.stem not in drawn:
            old.unlink()
    write_atomic(folder / "index.html", text)
    return folder / "index.html"


def sorts_by_number(value: Any) -> bool:
    """Whether JavaScript's Number() reads the value. All others are sorted by their text."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def cell(value: Any, typed: bool = False) -> str:
    """Return a value as a table shows it, without separators if it is ``typed`` into a command."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if typed else decimals(value)
    return f"{value:,}" if isinstance(value, int) and not typed else str(value)


def markdown(table: Table) -> str:
    """Return a table as Markdown, for RESULTS.md."""
    shown = [[cell(value, k in table.typed) for k, value in enumerate(row)] for row in table.rows]
    head, *rows = [[text.replace("|", "\\|") for text in row] for row in (table.head, *shown)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)
