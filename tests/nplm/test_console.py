"""The live line of a run fits in a narrow terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nplm.console import BAR_WIDTH, Follower
from nplm.result import Progress as Report


@pytest.mark.parametrize(
    ("width", "shown", "dropped"),
    [
        (120, ["minibatch", "dev", "lr 0.1", "steps/s", "-:--"], []),
        (80, ["minibatch", "dev", "-:--"], ["steps/s", "…"]),
    ],
)
def test_narrow_line_drops_speed_before_time_left(
    width: int, shown: list[str], dropped: list[str]
) -> None:
    out = io.StringIO()
    columns = (
        TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
        BarColumn(bar_width=BAR_WIDTH),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(compact=True),
    )
    console = Console(file=out, force_terminal=True, width=width)
    with Progress(*columns, console=console, auto_refresh=False) as bar:
        task = bar.add_task("", total=200_000, status="")
        follower = Follower(200_000, 3.3, bar, task, dev_loss=2.153)
        follower(Report(step=123_456, smoothed_loss=2.123, lr=0.1, dev_loss=None, seconds=10.0))
        bar.refresh()
    text = out.getvalue()
    assert all(part in text for part in shown)
    assert not any(part in text for part in dropped)
