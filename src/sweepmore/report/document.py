"""A report as one HTML file: no network, opens from disk, readable on a phone, light and dark.

Its tables are sorted by a script of a dozen lines: a library's would be longer than the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepmore.report.chart import Chart
from sweepmore.report.drawing import draw, save, svg, without_outliers
from sweepmore.runs.files import write_atomic
from sweepmore.wording import decimals, real_minus

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table that a click on its head sorts.

    ``marked`` holds the indices of rows that stand out, ``kept`` those of challenges that were
    kept: both have the colour that their marks have in the figure above. The columns in ``typed``
    hold values that people type into a command, so their numbers have no separators.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    marked: Sequence[int] = ()
    kept: Sequence[int] = ()
    typed: Sequence[int] = ()


@dataclass(frozen=True)
class Picture:
    """A figure of one or more charts; ``caption`` says how to read it.

    A ``detail`` shows little by itself: a page folds it away.
    """

    charts: Sequence[Chart]
    caption: str = ""
    columns: int = 1
    detail: bool = False

    @property
    def shown(self) -> Sequence[Chart]:
        """Return the charts as they are drawn: their subtitles count what is left out."""
        return [without_outliers(chart) for chart in self.charts]

    @property
    def name(self) -> str:
        return "slices" if len(self.charts) > 1 else self.charts[0].name


@dataclass(frozen=True)
class Section:
    """A titled part of a page: text, then pictures, then tables.

    A page folds a long text away, unless it is ``opened``: facts, not how to read them.
    """

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    opened: bool = False


@dataclass(frozen=True)
class Page:
    """A page: the answer first, then what makes one hesitate, the evidence, the facts.

    ``verdict`` is the answer in a sentence, ``number`` the value to remember and what it is,
    ``settings`` what it was reached with; ``chips`` say in a few words each what it rests on.
    ``warnings`` come in order of their weight.
    """

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    sections: Sequence[Section]
    commands: Sequence[tuple[str, str]] = ()
    verdict: str = ""
    number: tuple[str, str] | None = None
    settings: str = ""
    chips: Sequence[str] = ()


def write(page: Page, folder: Path) -> Path:
    """Write ``index.html`` and a PNG of each figure into a folder, and return the page's path.

    Figures of an earlier page in the same folder are deleted.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sweepmore.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    drawn: dict[str, list[str]] = {}
    for section in page.sections:
        for picture in section.pictures:
            figure = draw(picture.charts, picture.columns)
            save(figure, folder / f"{picture.name}.png")
            drawn[picture.name] = _forms(picture, figure)
    for each in (cell, sorts_by_number, anchor, digits):
        environment.filters[each.__name__] = each
    text = environment.get_template("page.html.j2").render(page=page, drawn=drawn)
    text = told_once(text)
    for old in folder.glob("*.png"):
        if old.stem not in drawn:
            old.unlink()
    write_atomic(folder / "index.html", text)
    return folder / "index.html"


def _forms(picture: Picture, figure: Figure) -> list[str]:
    """Return the SVG of each chart of several, or else the wide and the narrow form of the one."""
    if len(picture.charts) == 1:
        narrow = draw(picture.charts, narrow=True)
        return [svg(figure, picture.charts), svg(narrow, picture.charts, "-narrow")]
    return [
        svg(draw([chart], picture.columns, legend=k == 0), [chart])
        for k, chart in enumerate(picture.charts)
    ]


def told_once(text: str) -> str:
    """Return a page's text with each trial's tooltip only at the first mark that has it.

    A study's trials have marks in every figure. The page's script gives the words to the others: a
    page of 1,000 trials would be a third larger with them.
    """
    seen = set[str]()

    def first(match: re.Match[str]) -> str:
        if match[0] in seen:
            return f"{match[1]}/>"
        seen.add(match[0])
        return match[0]

    return re.sub(r'( data-trial="\d+")><title>[^<]*</title></use>', first, text)


def anchor(title: str) -> str:
    """Return the name by which a link leads to a section: ``What fresh seeds say`` by its words."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


def sorts_by_number(value: Any) -> bool:
    """Whether JavaScript's Number() reads the value. All others are sorted by their text."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def cell(value: Any, typed: bool = False) -> str:
    """Return a value as a table shows it, without separators if it is ``typed`` into a command."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if typed:
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if isinstance(value, float):
        return real_minus(decimals(value))
    return real_minus(f"{value:,}") if isinstance(value, int) else str(value)


def digits(value: Any, typed: bool = False) -> str:
    """Return a value as a page's table shows it: from 10 on a float has four significant digits.

    Smaller ones have four decimals, so that losses and their intervals line up.
    """
    if isinstance(value, float) and not typed and 10 <= abs(value) < 1e7:
        return real_minus(f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:#.4g}")
    return cell(value, typed)


def markdown(table: Table) -> str:
    """Return a table as Markdown, for RESULTS.md."""
    shown = [[cell(value, k in table.typed) for k, value in enumerate(row)] for row in table.rows]
    head, *rows = [[text.replace("|", "\\|") for text in row] for row in (table.head, *shown)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)
