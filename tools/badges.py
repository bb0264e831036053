"""docs/images/badge-*.svg: what pyproject.toml says, as README shows it at its top.

``python tools/badges.py``. No service draws them, so they need no network and cannot go stale: a
test compares them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
# A character's width and the padding of a half, in pixels of 11 px Verdana (measured).
CHARACTER, PADDING, HEIGHT = 6.6, 12, 20


def facts() -> Mapping[str, tuple[str, str]]:
    """Each badge's label and text, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = project["requires-python"].replace(">=", "≥ ")
    return {
        "version": ("version", project["version"]),
        "python": ("python", python),
        "licence": ("licence", project["license"]),
    }


def badge(label: str, text: str) -> str:
    """An SVG of two halves: the label, grey, and the text, blue."""
    left, right = (round(CHARACTER * len(part) + PADDING) for part in (label, text))
    halves = ((label, 0, left, "#57606a"), (text, left, right, "#0072B2"))
    drawn = "".join(
        f'<rect x="{x}" width="{width}" height="{HEIGHT}" fill="{colour}"/>'
        f'<text x="{x + width / 2:g}" y="14" fill="#fff" text-anchor="middle">{escape(part)}</text>'
        for part, x, width, colour in halves
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(label)}: {escape(text)}" '
        f'font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{drawn}</svg>\n'
    )


def path_of(name: str) -> Path:
    return IMAGES / f"badge-{name}.svg"


def main() -> None:
    for name, (label, text) in facts().items():
        path_of(name).write_text(badge(label, text), encoding="utf-8")


if __name__ == "__main__":
    main()
