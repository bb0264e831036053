"""Labels that would overlap are moved apart: which, how far, and where."""

from __future__ import annotations

import numpy as np
import pytest

from sweepmore.report.chart import Chart, Point
from sweepmore.report.drawing import draw
from sweepmore.report.labels import Floats, apart

FRAME = np.array([[0.0, 0.0], [100.0, 100.0]])


def boxes(*centres: tuple[float, float], width: float = 10, height: float = 4) -> list[Floats]:
    return [np.array(centres, dtype=float), np.array([[width, height]] * len(centres), dtype=float)]


def overlaps(centres: Floats, sizes: Floats) -> int:
    lacking = (sizes[:, None] + sizes) / 2 - np.abs(centres[:, None] - centres)
    return int(((lacking > 1e-6).all(axis=2).sum() - len(centres)) / 2)


def test_what_does_not_overlap_stays() -> None:
    centres, sizes = boxes((20, 20), (20, 24), (30, 20))
    places, placed = apart(centres, sizes, FRAME)
    assert places.tolist() == centres.tolist()
    assert placed == [True] * 3


def test_the_later_one_goes_where_it_is_nearest() -> None:
    """Widths 10 at a distance of 1 lack 9, heights 4 at a distance of 2 lack 2: 2 up."""
    centres, sizes = boxes((20, 20), (21, 22))
    places, _ = apart(centres, sizes, FRAME)
    assert places == pytest.approx(np.array([[20, 20], [21, 24]]))


def test_it_goes_around_what_stays_and_not_out_of_the_frame() -> None:
    """Up there is the rim, 100: so it goes down, and further than the third one."""
    centres, sizes = boxes((20, 98), (20, 98), (20, 93))
    places, placed = apart(centres, sizes, FRAME)
    assert places[[0, 2]].tolist() == [[20, 98], [20, 93]]
    assert placed == [True] * 3
    assert overlaps(places, sizes) == 0
    assert (places + sizes / 2 <= 100).all()


def test_a_crowd_comes_apart_the_same_way_each_time() -> None:
    random = np.random.default_rng(0)
    centres = random.normal(50, 10, (40, 2))
    sizes = np.column_stack([random.uniform(4, 12, 40), np.full(40, 3.0)])
    places, placed = apart(centres, sizes, FRAME)
    assert overlaps(centres, sizes) > 20
    assert overlaps(places, sizes) == 0
    assert all(placed)
    assert np.hypot(*(places - centres).T).max() <= 24 / 4 * 3  # rings, a quarter of a height apart
    assert apart(centres, sizes, FRAME)[0].tolist() == places.tolist()


def test_what_finds_no_room_is_not_placed() -> None:
    centres, sizes = boxes(*[(50, 50)] * 3, width=90, height=45)
    assert apart(centres, sizes, FRAME)[1].count(True) < 3


def test_a_label_far_from_its_point_has_a_line_to_it() -> None:
    """Nine points in one place, and one alone."""
    points = [Point(0, 0, f"word{k}", "labelled") for k in range(9)]
    chart = Chart("c", "", "x", "y", [*points, Point(1, 1, "alone", "labelled")], better=None)
    figure = draw([chart])
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    words = [text for text in texts if text.get_text()]
    assert [word.get_text() for word in words if word.get_visible()] == [
        *(f"word{k}" for k in range(9)), "alone",
    ]  # fmt: skip
    assert words[-1].xyann == (0, 0)  # type: ignore[attr-defined]
    shown = np.array([word.get_window_extent().bounds for word in words])
    assert overlaps(shown[:, :2] + shown[:, 2:] / 2, shown[:, 2:] - 0.01) == 0
    lines = [text for text in texts if not text.get_text()]
    assert 0 < len(lines) < 9
