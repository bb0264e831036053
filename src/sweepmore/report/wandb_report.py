"""A study as a W&B report: its runs by their group, the panels of a sweep, the winner's table.

Only here is ``wandb-workspaces`` imported. Its client asks the server even to describe a run set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import wandb
import wandb_workspaces.expr as expr
from wandb_workspaces.reports.v2 import interface as wr

from sweepmore.errors import ConfigError, StudyError, first_line
from sweepmore.report.confirmation import seeds_title, winner_table
from sweepmore.report.document import cell, markdown
from sweepmore.report.study import Study
from sweepmore.runs.record import read_config
from sweepmore.runs.tracking import Tracking
from sweepmore.study.attempts import words
from sweepmore.study.attributes import Winner
from sweepmore.study.winners import TESTED_BEFORE, reported
from sweepmore.sweep.command_lines import command_line
from sweepmore.typed import dotted
from sweepmore.wording import plural

# A report's grid is 24 columns wide (wandb-workspaces 0.4).
WIDTH, HEIGHT = 24, 10


@dataclass(frozen=True)
class Place:
    """The W&B project that holds a report. The study's runs must be in it, too."""

    entity: str
    project: str


@dataclass(frozen=True)
class Runs:
    """What one run's config says of all runs of a study; empty if its folder was deleted."""

    config: Mapping[str, Any]

    @classmethod
    def of(cls, study: Study) -> Runs:
        folder: Path = study.winning_run
        there = (folder / "config.yaml").exists()
        return cls(dotted(read_config(folder)) if there else {})

    def logs(self, name: str) -> bool:
        """Whether W&B has ``name`` as a setting. It has no config groups, only their settings."""
        return not self.config or name in self.config


def require_account() -> None:
    """Raise ConfigError if W&B is offline or has no API key. Asks neither you nor the network."""
    wandb.setup(settings=wandb.Settings(silent=True))
    mode = wandb.setup().settings.mode
    if mode != "online":
        problem = f"This needs W&B's server, but W&B's mode is {mode}."
        cure = "Unset WANDB_MODE, or `wandb online`. `sweepmore report` needs no server."
        raise ConfigError(problem, value=mode, cure=cure)
    cure = "`wandb login`, or WANDB_API_KEY=…; sweepmore report makes a page without a server."
    try:
        has_key = wandb.login(prompt=False, verify=False)
    except wandb.Error as error:  # a key of the wrong length
        raise ConfigError(f"W&B's API key is invalid: {error}", value=None, cure=cure) from error
    if not has_key:
        problem = "This needs W&B's server, but no API key is known."
        raise ConfigError(problem, value=None, cure=cure)


def metric_of(study: Study, given: str | None) -> str:
    """Return the key that trials are compared by: ``given``, or else the first curve's. Raises
    ConfigError if the application names no curve either."""
    if given is not None:
        return given
    for curve in study.application.curves.drawn:
        return curve.key
    problem = f"{study.seen.name} does not say by what its runs are compared on W&B."
    cure = "Name a key of their summaries: --metric KEY."
    raise ConfigError(problem, value=None, cure=cure)


def publish(
    study: Study,
    metric: str,
    entity: str | None,
    project: str | None,
    warnings: Sequence[str] = (),
) -> str:
    """Save a new report of a study on W&B's server and return its URL.

    ``metric`` is a key of the runs' summaries. ``warnings`` are about the run of the answer. Raises
    ConfigError if W&B refuses the report, and StudyError if the project does not exist.
    """
    require_account()
    runs = Runs.of(study)
    try:
        place = find_place(runs, entity, project)
        report = describe(study, runs, metric, place, warnings)
        report.save()
        return str(report.url)
    except wandb.Error as error:
        said = first_line(error)
        cure = "Check the network, WANDB_BASE_URL and the key (`wandb login --relogin`)."
        raise ConfigError(f"W&B did not take the report: {said}", value=said, cure=cure) from error


def find_place(runs: Runs, entity: str | None, project: str | None) -> Place:
    """Return the place that was given, else the study's own, else the account's.

    Raises StudyError if the project does not exist.
    """
    api = wandb.Api()
    entity = entity or runs.config.get("wandb.entity") or api.default_entity
    project = project or runs.config.get("wandb.project") or Tracking().project
    if project not in [listed.name for listed in api.projects(entity)]:
        raise StudyError(
            f"W&B has no project {entity}/{project}.",
            value=f"{entity}/{project}",
            cure="Upload its runs first (sweepmore wandb NAME --no-report), or give --project.",
        )
    return Place(str(entity), project)


def describe(
    study: Study, runs: Runs, metric: str, place: Place, warnings: Sequence[str]
) -> wr.Report:
    """Return the report, not saved yet. It asks the server only for the account's name."""
    blocks: list[wr.BlockTypes] = [
        wr.MarkdownBlock(text=answer(study, warnings)),
        wr.CodeBlock(code=command_line(study.attrs.command), language=None),
    ]
    if study.winner is not None:
        title, table = seeds_title(study.winner), winner_text(study.winner)
        blocks += [wr.H2(title), wr.MarkdownBlock(text=table)]
    grid = wr.PanelGrid(
        runsets=[run_set(study, runs, metric, place)], panels=panels(study, runs, metric)
    )
    blocks += [wr.H2("The trials"), grid]
    return wr.Report(
        project=place.project,
        entity=place.entity,
        title=study.seen.name,
        description=f"A study of {plural(len(study.seen.counted), 'trial')}, by sweepmore",
        blocks=blocks,
        width="fluid",
    )


def answer(study: Study, warnings: Sequence[str]) -> str:
    """Return the question, its answer and the warnings, in a few lines of Markdown."""
    best, space = study.best, study.question["space"]
    values = ", ".join(cell(value) for value in best.values or ())
    lines = [
        f"**Question**: {study.seen.directions[0]} {study.metrics[0]} over {', '.join(space)}.",
        f"**Best trial**: {best.root} with {values}: {words(best.params)}.",
    ]
    if study.may_be_luck:
        lines.append("One seed a trial: the best of many is partly luck until it is confirmed.")
    if study.winner is not None:
        lines.append(f"**Winner**: {words(study.winner.params)}: {reported(study.winner)}.")
    if study.since is not None:
        lines.append(f"{study.since[0]}.")
    if study.tested == "another":
        lines.append(f"{TESTED_BEFORE}.")
    if warnings:
        lines.append("\n".join(["Check these:", "", *(f"- {warning}" for warning in warnings)]))
    return "\n\n".join(lines)


def winner_text(winner: Winner) -> str:
    """Return the confirmed configurations as a Markdown table with the winner's row in bold."""
    table = winner_table(winner)
    rows = [
        [f"**{cell(value, at in table.typed)}**" if k in table.marked else value
         for at, value in enumerate(row)]
        for k, row in enumerate(table.rows)
    ]  # fmt: skip
    return markdown(replace(table, rows=rows))


def run_set(study: Study, runs: Runs, metric: str, place: Place) -> wr.Runset:
    """Return the runs of a study, which W&B holds as a group with the study's name."""
    shown = [f"config:{_key(name)}" for name in study.question["space"] if runs.logs(name)]
    return wr.Runset(
        entity=place.entity,
        project=place.project,
        name=study.seen.name,
        filters=[expr.Metric("Group") == study.seen.name],
        order=[wr.OrderBy(wr.SummaryMetric(metric), ascending=study.sign > 0)],
        pinned_columns=["run:displayName", f"summary:{metric}"],
        visible_columns=shown,
    )


def panels(study: Study, runs: Runs, metric: str) -> list[wr.PanelTypes]:
    """Return the panels: parallel coordinates, curves, importance, and a comparison of runs."""
    space = study.question["space"]
    columns = [
        column(name, distribution) for name, distribution in space.items() if runs.logs(name)
    ]
    columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(metric)))
    whole = wr.Layout(x=0, y=0, w=WIDTH, h=HEIGHT)
    keys = [curve.key for curve in study.application.curves.drawn]
    below = 1 + (len(keys) + 1) // 2
    return [
        wr.ParallelCoordinatesPlot(columns=columns, layout=whole),
        *(curve(key, _half(1 + k // 2, k % 2)) for k, key in enumerate(keys)),
        wr.ParameterImportancePlot(with_respect_to=metric, layout=_half(below, 0)),
        wr.RunComparer(diff_only="split", layout=_half(below, 1)),
    ]


def curve(key: str, layout: wr.Layout) -> wr.LinePlot:
    return wr.LinePlot(title=key, x="Step", y=[key], title_x="step", log_y=True, layout=layout)


def _half(row: int, side: int) -> wr.Layout:
    """Return the left (0) or right (1) half of a row of the grid."""
    return wr.Layout(x=side * WIDTH // 2, y=row * HEIGHT, w=WIDTH // 2, h=HEIGHT)


def column(name: str, distribution: Mapping[str, Any]) -> wr.ParallelCoordinatesPlotColumn:
    log = bool(distribution.get("attributes", {}).get("log"))
    return Setting(metric=wr.Config(name), display_name=name, log=log or None)


class Setting(wr.ParallelCoordinatesPlotColumn):
    """A column of one of our settings, by its display name.

    Our configs are flat, ``{"optim.lr": 0.1}``, and the server stores ``optim.lr.value``. The
    package (0.4.13) takes a dotted name for a nested setting and would ask for ``optim.value.lr``.
    """

    def _to_model(self) -> Any:
        model = super()._to_model()  # type: ignore[no-untyped-call]
        model.accessor = f"config:{_key(str(self.display_name))}"
        return model


def _key(name: str) -> str:
    """Return the server's name of a setting in a flat config."""
    return f"{name}.value"
