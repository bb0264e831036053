"""The run sets of a W&B report, and the panels that show them.

W&B keeps a config as ``{"optim": {"value": {"lr": 0.1}}}``: filters and columns name a setting by
its place there, panels by ``Config("optim.lr")``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import wandb_workspaces.expr as expr
from wandb_workspaces.reports.v2 import interface as wr

from sweepmore.runs.tracking import SUPERSEDED
from sweepmore.study.application import Curve

# A report's grid is 24 columns wide (wandb-workspaces 0.4).
WIDTH, HEIGHT = 24, 10
# Equal for all seeds of a configuration, see runs/tracking.py.
CONFIGURATION = "study.settings"
# What W&B calls the seconds of a process since its run began.
WALL_TIME = "RelativeTime(Process)"


@dataclass(frozen=True)
class Place:
    """The W&B project that holds a report. The runs must be in it, too."""

    entity: str
    project: str


@dataclass(frozen=True)
class Runs:
    """The runs that a run set shows: those of ``groups``, or those with ``ids``.

    ``superseded`` are ids of attempts that a later one began again. ``searched`` has a
    distribution for each setting, and ``config`` is what one of the runs says of all, flat; it is
    empty where the run's folder was deleted.
    """

    name: str
    groups: Sequence[str] = ()
    ids: Sequence[str] = ()
    superseded: Sequence[str] = ()
    searched: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    sign: float = 1.0  # 1 where a lower value is better, else -1

    @property
    def columns(self) -> dict[str, Any]:
        """The searched settings that W&B has; it has no config groups, only their settings."""
        return {k: v for k, v in self.searched.items() if not self.config or k in self.config}

    @property
    def filters(self) -> expr.And:
        """Return which runs of the project these are."""
        if self.ids:
            return expr.And(expr.Metric("ID").isin([*self.ids]))
        chosen = [expr.Metric("Group").isin([*self.groups]), expr.Tags().notin([SUPERSEDED])]
        if self.superseded:  # those that were online have no such tag
            chosen.append(expr.Metric("ID").notin([*self.superseded]))
        return expr.And(*chosen)


def run_set(runs: Runs, metric: str, place: Place) -> wr.Runset:
    """Return a run set, best first. It asks the server for the project's number."""
    return wr.Runset(
        entity=place.entity,
        project=place.project,
        name=runs.name,
        filters=runs.filters,
        order=[wr.OrderBy(wr.SummaryMetric(metric), ascending=runs.sign > 0)],
        pinned_columns=["run:displayName", f"summary:{metric}"],
        visible_columns=["tags:__ALL__", *(f"config:{stored(name)}" for name in runs.columns)],
    )


def stored(name: str) -> str:
    """Return where W&B keeps a setting: ``optim.value.lr`` for ``optim.lr``."""
    first, *rest = name.split(".")
    return ".".join([first, "value", *rest])


def panels(shown: Sequence[Runs], curves: Sequence[Curve], metric: str) -> list[wr.PanelTypes]:
    """Return the panels: parallel coordinates, curves, importance, and a comparison of runs.

    Curves of a study are grouped by configuration. Single runs have nothing to group, and nothing
    that was searched.
    """
    searched = {name: part for runs in shown for name, part in runs.columns.items()}
    grouped = bool(searched)
    top: list[wr.PanelTypes] = []
    if searched:
        columns = [column(name, distribution) for name, distribution in searched.items()]
        columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(metric)))
        top = [wr.ParallelCoordinatesPlot(columns=columns, layout=_row(0))]
    lines = [
        line(curve, x, _half(len(top) + k, side), grouped)
        for k, curve in enumerate(curves)
        for side, x in enumerate(("step", WALL_TIME))
    ]
    below = len(top) + len(curves)
    comparer = wr.RunComparer(diff_only="split", layout=_row(below + grouped))
    if not grouped:
        return [*top, *lines, comparer]
    importance = wr.ParameterImportancePlot(with_respect_to=metric, layout=_row(below))
    return [*top, *lines, importance, comparer]


def line(curve: Curve, x: str, layout: wr.Layout, grouped: bool) -> wr.LinePlot:
    """Return a curve: of each run, or the mean of a configuration's with its standard error."""
    by_time = x == WALL_TIME
    return wr.LinePlot(
        title=f"{curve.key} by {'wall time' if by_time else 'step'}",
        x=x,
        y=[curve.key],
        title_x="seconds" if by_time else "step",
        log_y=True,
        groupby=wr.Config(CONFIGURATION) if grouped else None,
        groupby_aggfunc="mean" if grouped else None,
        groupby_rangefunc="stderr" if grouped else None,
        layout=layout,
    )


def column(name: str, distribution: Mapping[str, Any]) -> wr.ParallelCoordinatesPlotColumn:
    """Return the axis of a setting, logarithmic as it was searched."""
    log = bool(distribution.get("attributes", {}).get("log"))
    return wr.ParallelCoordinatesPlotColumn(
        metric=wr.Config(name), display_name=name, log=log or None
    )


def _row(row: int) -> wr.Layout:
    return wr.Layout(x=0, y=row * HEIGHT, w=WIDTH, h=HEIGHT)


def _half(row: int, side: int) -> wr.Layout:
    """Return the left (0) or right (1) half of a row of the grid."""
    return wr.Layout(x=side * WIDTH // 2, y=row * HEIGHT, w=WIDTH // 2, h=HEIGHT)
