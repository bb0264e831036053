"""docs/images/rooms.svg: the rooms of both packages and who imports whom, from the code itself.

``python tools/draw_rooms.py`` draws it anew. The order is import-linter's contract in
pyproject.toml, the imports are those that grimp finds (inside functions and for types, too), so
the picture shows what is checked and what is there; tests/docs/test_documents.py compares.
"""

from __future__ import annotations

import math
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
PACKAGES = ("sweepmore", "nplm")
# Okabe & Ito, as all figures of the project, and three greys.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
INK, SOFT, PAPER = "#24292f", "#6e7781", "#f3f5f8"
MARGIN, ROW, CELL, GAP, LABEL = 28, 22, 21, 4, 122
FONT, SMALL = 15, 12
TILT = 50  # degrees
LEAN = math.cos(math.radians(TILT))
HEAD = 104  # above a matrix: its columns' names, which are tilted, and its title


@dataclass(frozen=True)
class Package:
    """A package as its contract orders it: ``layers`` from the top, each of one room or more."""

    name: str
    layers: tuple[tuple[str, ...], ...]

    @property
    def rooms(self) -> list[str]:
        return [room for layer in self.layers for room in layer]


@dataclass(frozen=True)
class Imports:
    """How many modules of a room import a module of another one, by (importer, imported).

    Rooms are ``package.room``; a library is its own name.
    """

    count: Mapping[tuple[str, str], int]

    def used_by(self, rooms: Sequence[str], *, library: bool) -> list[str]:
        """What these rooms import beside themselves, the most used first."""
        users = Counter(
            imported
            for importer, imported in self.count
            if importer in rooms and imported not in rooms and ("." not in imported) is library
        )
        return sorted(users, key=lambda name: (-users[name], name))


@dataclass(frozen=True)
class Column:
    """One column of a matrix: what it counts, how it is named, its colour, how far to the right."""

    key: str
    label: str
    colour: str
    x: float


@dataclass(frozen=True)
class Matrix:
    """A package's rooms as rows, and as columns what they import: its own rooms, others'
    and libraries. A room that imports only from those below it has no dot left of the diagonal."""

    package: Package
    imports: Imports
    order: Sequence[str]  # all rooms of all packages, in the order of their contracts
    top: float

    @cached_property
    def keys(self) -> list[str]:
        return [f"{self.package.name}.{room}" for room in self.package.rooms]

    @cached_property
    def columns(self) -> list[Column]:
        others = self.imports.used_by(self.keys, library=False)
        foreign = sorted(others, key=self.order.index)
        libraries = self.imports.used_by(self.keys, library=True)
        x, columns = MARGIN + LABEL + 14.0, []
        for colour, keys in ((BLUE, self.keys), (GREEN, foreign), (ORANGE, libraries)):
            for key in keys:
                columns.append(Column(key, key.rpartition(".")[2], colour, x))
                x += CELL
            x += CELL * 0.8 if keys else 0
        return columns

    @property
    def right(self) -> float:
        return self.columns[-1].x + CELL

    @property
    def end(self) -> float:
        """Of the rows, and of the columns' names: about 0.6 of their size a letter, tilted."""
        names = (column.x + 0.6 * SMALL * len(column.label) * LEAN for column in self.columns)
        return max(self.right, *(end + CELL for end in names))

    @cached_property
    def row_tops(self) -> dict[str, float]:
        y, tops = self.top + HEAD, {}
        for layer in self.package.layers:
            for room in layer:
                tops[f"{self.package.name}.{room}"] = y
                y += ROW
            y += GAP
        return tops

    @property
    def bottom(self) -> float:
        return max(self.row_tops.values()) + ROW

    def svg(self) -> Iterator[str]:
        yield text(MARGIN, self.top + 18, f"src/{self.package.name}/", size=17, weight="bold")
        yield from self._bands()
        yield from self._head()
        for key, y in self.row_tops.items():
            yield from self._row(key, y)

    def _bands(self) -> Iterator[str]:
        """A band for each layer, a line down each column, a square where a room meets itself."""
        for layer in self.package.layers:
            y = self.row_tops[f"{self.package.name}.{layer[0]}"]
            height, width = ROW * len(layer), self.right - MARGIN + 6
            yield (
                f'<rect x="{MARGIN - 8}" y="{y:g}" width="{width + 8:g}" height="{height}" '
                f'rx="6" fill="{PAPER}"/>'
            )
        for column in self.columns:
            middle, first = column.x + CELL / 2, self.top + HEAD - 2
            yield (
                f'<path d="M{middle:g} {first:g}V{self.bottom:g}" stroke="#dde1e6" '
                f'stroke-width="1"/>'
            )
            if column.key in self.row_tops:
                x, y = column.x + (CELL - 14) / 2, self.row_tops[column.key] + (ROW - 14) / 2
                yield (
                    f'<rect x="{x:g}" y="{y:g}" width="14" height="14" rx="3" fill="#ffffff" '
                    f'stroke="#b4bbc3"/>'
                )

    def _head(self) -> Iterator[str]:
        for column in self.columns:
            x, y = column.x + CELL / 2 + 3, self.top + HEAD - 8
            yield text(x, y, column.label, size=SMALL, fill=column.colour, turn=-TILT)

    def _row(self, key: str, y: float) -> Iterator[str]:
        room = key.rpartition(".")[2]
        is_package = (ROOT / "src" / key.replace(".", "/")).is_dir()
        label = f"{room}/" if is_package else f"{room}.py"
        weight = "bold" if is_package else "normal"
        yield text(MARGIN, y + ROW / 2 + 5, label, size=FONT, weight=weight)
        for column in self.columns:
            count = self.imports.count.get((key, column.key), 0)
            if count and column.key != key:
                x = column.x + CELL / 2
                title = f"{plural(count)} of {room} to {column.key.replace('.', '/')}"
                yield (
                    f'<circle cx="{x:g}" cy="{y + ROW / 2:g}" r="{radius(count):.2f}" '
                    f'fill="{column.colour}"><title>{escape(title)}</title></circle>'
                )


def radius(count: int) -> float:
    """Of a dot whose area grows with the number of imports, from 1 to 20 of them."""
    return 3.2 + 1.3 * (math.sqrt(min(count, 20)) - 1)


def plural(count: int) -> str:
    return "1 import" if count == 1 else f"{count} imports"


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int,
    fill: str = INK,
    weight: str = "normal",
    turn: int = 0,
) -> str:
    turned = f' transform="rotate({turn} {x:g} {y:g})"' if turn else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}"{turned}>{escape(words)}</text>'
    )


def contract(pyproject: Path) -> list[Package]:
    """The packages by their ``layers`` contracts, in the order of ``PACKAGES``."""
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]
    found = {
        container: Package(container, tuple(map(members, contract["layers"])))
        for contract in settings["contracts"]
        if contract["type"] == "layers"
        for container in contract.get("containers", ())
    }
    return [found[name] for name in PACKAGES]


def members(layer: str) -> tuple[str, ...]:
    """The rooms of one line: ``a | b`` and ``a : b`` stand side by side, ``(a)`` may be missing."""
    return tuple(re.split(r"\s*[|:]\s*", re.sub(r"[()\s]", " ", layer).strip()))


def imports_of(packages: Sequence[Package]) -> Imports:
    """Every import between two rooms, or of a library, as grimp reads it from the sources."""
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)
    count: Counter[tuple[str, str]] = Counter()
    for module in sorted(graph.modules):
        importer = room_of(module)
        if importer is None:
            continue
        for imported in graph.find_modules_directly_imported_by(module):
            target = room_of(imported) or library_of(imported)
            if target is not None and target != importer:
                count[importer, target] += 1
    ordered = {f"{p.name}.{room}" for p in packages for room in p.rooms}
    if astray := {importer for importer, _ in count} - ordered:
        raise SystemExit(f"no layer of the contract has {', '.join(sorted(astray))}")
    return Imports(count)


def room_of(module: str) -> str | None:
    """``sweepmore.sweep`` of ``sweepmore.sweep.worker``; None of a package's root, or a library."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] in PACKAGES and len(parts) > 1 else None


def library_of(module: str) -> str | None:
    name = module.split(".")[0]
    return None if name in PACKAGES or name in sys.stdlib_module_names else name


def draw(pyproject: Path = ROOT / "pyproject.toml") -> str:
    """The whole picture, as SVG: the same text for the same code."""
    packages = contract(pyproject)
    imports = imports_of(packages)
    order = [f"{package.name}.{room}" for package in packages for room in package.rooms]
    matrices, top = [], 74.0
    for package in packages:
        matrices.append(Matrix(package, imports, order, top))
        top = matrices[-1].bottom + 34
    width = max(matrix.end for matrix in matrices) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {top:g}" '
        f'width="{width:.0f}" height="{top:g}" font-family="Helvetica, Arial, sans-serif" '
        'role="img">',
        "<title>The rooms of sweepmore and nplm, and who imports whom</title>",
        f'<rect width="{width:.0f}" height="{top:g}" rx="10" fill="#ffffff"/>',
        text(MARGIN, 36, "A room imports only from those below it", size=20, weight="bold"),
        text(MARGIN, 57, LEGEND, size=13, fill=SOFT),
        *(line for matrix in matrices for line in matrix.svg()),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


LEGEND = (
    "A dot means that the row imports from the column; a larger one, more often. "
    "Blue: the same package. Green: the framework. Orange: a library."
)


def main() -> None:
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
