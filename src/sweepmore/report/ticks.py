"""How a figure's axes are labelled: plain numbers, thousands separated, a mark where one is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# The share of its height that an axis goes on beyond what ends it: half a mark (guess).
HEADROOM = 0.05


def has_logarithm(interval: Sequence[float]) -> bool:
    """Whether an axis may be logarithmic. A share, a gain or a reward may be 0 or less."""
    return bool(min(interval) > 0)


def separate_thousands(axis: Axis) -> None:
    """Write 200,000 for 200000 on a linear axis; a logarithmic one has its own formatter."""
    from matplotlib.ticker import FixedFormatter, ScalarFormatter

    low, high = sorted(axis.get_view_interval())
    formatter = axis.get_major_formatter()
    if not isinstance(formatter, ScalarFormatter) or isinstance(formatter, FixedFormatter):
        return
    if 10_000 <= max(abs(low), abs(high)) < 1e9:
        axis.set_major_formatter("{x:,.0f}")


def plain_ticks(axis: Axis, few: bool) -> None:
    """Label 0.01, 0.02, 0.05 instead of powers of ten, and matplotlib's places within a decade.

    Over many decades matplotlib labels every second or third, but none at all if 2 and 5 are asked
    for, too.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    within_a_decade = high / low < 10
    axis.set_major_locator(
        MaxNLocator(4 if few else 7) if within_a_decade
        else LogLocator(subs=(1,) if high / low > (100 if few else 10_000) else (1, 2, 5))
    )  # fmt: skip
    axis.set_major_formatter(lambda x, _: f"{x:,.0f}" if 1_000 <= x < 1e9 else f"{x:.4g}")
    axis.set_minor_formatter(NullFormatter())


def cut(axes: Axes, bottom: float | None, top: float | None) -> None:
    """End the y axis at ``bottom`` and ``top``, where given, and break it there.

    Marks that lie on an end are whole: the axis goes on a little beyond it, and beyond the data at
    an end that is not given.
    """
    to_scale = axes.yaxis.get_transform()
    data = sorted(axes.dataLim.intervaly)
    ends = [data[0] if bottom is None else bottom, data[1] if top is None else top]
    low, high = to_scale.transform(ends)
    room = HEADROOM * (high - low)
    axes.set_ylim(*to_scale.inverted().transform([low - room, high + room]))
    for end, place in ((bottom, 0.0), (top, 1.0)):
        if end is not None:  # two strokes across the axis
            axes.plot([0, 0], [place - 0.012, place + 0.012], transform=axes.transAxes,
                      color="black", marker=[(-1, -0.5), (1, 0.5)], markersize=11,
                      markeredgewidth=1, linestyle="", clip_on=False)  # fmt: skip
