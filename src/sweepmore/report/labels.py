"""Labels of points that would lie on each other, moved apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sweepmore.colours import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

Floats = npt.NDArray[np.float64]

# Places that are tried around a point: rings a quarter of a height apart, and directions of each.
RINGS, DIRECTIONS = 24, 24
# A label that is moved further than this many of its heights has a line to its point.
FAR = 1.0
# Pixels between two labels in a row.
GAP = 2.0


def apart(centres: Floats, sizes: Floats, frame: Floats) -> tuple[Floats, list[bool]]:
    """Return (n, 2) places near ``centres`` at which no two boxes overlap, and which are placed.

    ``sizes`` (n, 2) holds widths and heights, ``frame`` the lower left and the upper right corner
    of where a box may move to. Boxes that overlap none stay; each of the others, in order, takes
    the nearest place that is free. One that finds none is not placed.
    """
    alone = [k for k in range(len(centres)) if not _hits(centres[k], k, centres, sizes).any()]
    places, placed = centres.copy(), list(alone)
    for k in (k for k in range(len(centres)) if k not in alone):
        tried = centres[k] + _around(float(sizes[k, 1]))
        inside = ((tried - sizes[k] / 2 >= frame[0]) & (tried + sizes[k] / 2 <= frame[1])).all(1)
        inside[0] = True  # its point may lie at the rim
        lacking = (sizes[placed] + sizes[k]) / 2 - np.abs(tried[:, None] - places[placed])
        free = inside & ~(lacking > 1e-9).all(axis=2).any(axis=1)
        if free.any():
            places[k] = tried[np.argmax(free)]
            placed.append(k)
    return places, [k in placed for k in range(len(centres))]


def _hits(centre: Floats, k: int, centres: Floats, sizes: Floats) -> npt.NDArray[np.bool_]:
    """Say of each other box whether it overlaps box ``k`` at ``centre``."""
    hits = ((sizes + sizes[k]) / 2 - np.abs(centres - centre) > 1e-9).all(axis=1)
    hits[k] = False
    return np.asarray(hits)


def _around(height: float) -> Floats:
    """Return (rings · directions + 1, 2) offsets, the nearest first, no offset before all."""
    angles = np.pi / 2 + np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    radii = np.arange(1, RINGS + 1) * height / 4
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    return np.vstack([np.zeros((1, 2)), (radii[:, None, None] * ring).reshape(-1, 2)])


def label(axes: Axes, texts: Sequence[str], points: Sequence[tuple[float, float]]) -> None:
    """Write a text on each point; where texts would overlap, they are moved apart.

    A text that is far from its point has a line to it; one that finds no room is hidden.
    """
    labels = [
        axes.annotate(text, point, (0, 0), textcoords="offset points", ha="center", va="center",
                      parse_math=False)
        for text, point in zip(texts, points)
    ]  # fmt: skip
    for each in labels:
        each.set_in_layout(False)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # what overlaps depends on the layout
    boxes = [each.get_window_extent() for each in labels]
    sizes = np.array([[box.width + GAP, box.height] for box in boxes])
    centres = np.array([[(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2] for box in boxes])
    places, placed = apart(centres, sizes, np.array(axes.get_window_extent().get_points()))
    offsets, heights = (places - centres) * 72 / figure.dpi, sizes[:, 1] * 72 / figure.dpi
    for each, by, height, shown in zip(labels, offsets, heights, placed):
        each.set_visible(shown)
        each.xyann = tuple(by)
        if shown and np.hypot(*by) > FAR * height:
            _lead(axes, each, height)


def _lead(axes: Axes, moved: Annotation, height: float) -> None:
    """Draw a thin line from a moved label to its point."""
    line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkA": height / 2, "shrinkB": 0}
    drawn = axes.annotate("", moved.xy, moved.xyann, textcoords="offset points", arrowprops=line)
    drawn.set_in_layout(False)
