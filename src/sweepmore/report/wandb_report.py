"""Studies or runs as one W&B report, which a second call updates.

Only here, in ``wandb_panels`` and in ``wandb_text`` is ``wandb-workspaces`` imported. Its client
asks the server even to describe a run set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb
from wandb_workspaces.reports.v2 import interface as wr

from sweepmore.errors import ConfigError, StudyError, first_line
from sweepmore.report import comparison
from sweepmore.report.additions import NOTHING
from sweepmore.report.runs_page import differing, ended, verdict_of
from sweepmore.report.study import Study
from sweepmore.report.wandb_panels import Place, Runs, panels, run_set
from sweepmore.report.wandb_text import Subject, about_studies, config_of, section
from sweepmore.runs.files import read_json, write_json
from sweepmore.runs.names import name_of
from sweepmore.runs.record import tracked_id
from sweepmore.runs.tracking import Tracking
from sweepmore.study.application import Application, Curve
from sweepmore.wording import plural


@dataclass(frozen=True)
class Wanted:
    """Where a report is wanted, and by which key of the summaries runs are compared; None: see
    ``find_place`` and ``metric_of``. ``outputs`` remembers which report it is."""

    outputs: Path
    metric: str | None = None
    entity: str | None = None
    project: str | None = None


# The longest title that W&B takes.
LONGEST_TITLE = 128


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
    """Return the key that trials are compared by: ``given``, or else the first curve's in the
    result. Raises ConfigError if the application names no curve either."""
    if given is not None:
        return given
    for curve in study.application.curves.drawn:
        return _in_summary(curve, study.winning_run)
    problem = f"{study.seen.name} does not say by what its runs are compared on W&B."
    cure = "Name a key of their summaries: --metric KEY."
    raise ConfigError(problem, value=None, cure=cure)


def _in_summary(curve: Curve, run: Path) -> str:
    """Return a curve's key in the summary of such runs. Runs without our record tell W&B
    themselves, and have no part ``result``."""
    return f"result.{curve.key}" if (run / "result.json").exists() else curve.key


def require_reportable(subjects: Sequence[Subject], wanted: Wanted) -> str:
    """Return the key that trials are compared by. Raises ConfigError if there is none, and
    StudyError if the studies differ in their data or objective."""
    studies = [subject.study for subject in subjects]
    comparison.require_comparable(studies)
    return metric_of(studies[0], wanted.metric)


def publish_studies(subjects: Sequence[Subject], wanted: Wanted) -> str:
    """Create or update the report of a study or of several compared, and return its URL.

    Raises ConfigError if W&B refuses the report, StudyError if the project does not exist, and
    both as ``require_reportable`` does.
    """
    metric = require_reportable(subjects, wanted)
    studies = [subject.study for subject in subjects]
    names = [subject.study.seen.name for subject in subjects]
    trials = plural(sum(len(study.seen.counted) for study in studies), "trial")
    what = "A study" if len(studies) == 1 else f"{len(studies)} studies"
    return _publish(
        Draft(
            " and ".join(names),
            f"{what} of {trials}, by sweepmore",
            " | ".join(subject.key for subject in subjects),
            about_studies(subjects),
            [subject.runs for subject in subjects],
            studies[0].application.curves.drawn,
        ),
        metric,
        wanted,
    )


def publish_runs(folders: Sequence[Path], application: Application, wanted: Wanted) -> str:
    """Create or update the report of single runs; as ``publish_studies``."""
    names, curves = [*map(name_of, folders)], application.curves
    if wanted.metric is None and not curves.drawn:
        cure = "Name a key of their summaries: --metric KEY."
        raise ConfigError("Nothing says by what runs are compared.", value=names, cure=cure)
    metric = wanted.metric or _in_summary(curves.drawn[0], folders[0])
    results = [read_json(folder / "result.json") for folder in folders]
    better = verdict_of(curves, [*zip(names, results)], [NOTHING for _ in folders])
    lines = [f"**{better}**"] if better else []
    lines += [f"**{name}**: {ended(curves, result)}." for name, result in zip(names, results)]
    blocks: list[wr.BlockTypes] = [wr.MarkdownBlock(text="\n\n".join(lines))]
    if len(folders) > 1:
        blocks += section("What differs", differing(folders))
    ids = [_id_of(folder) for folder in folders]
    runs = Runs("runs", ids=ids, config=config_of(folders[0]))
    title = " and ".join(names)
    draft = Draft(title, "By sweepmore", " | ".join(ids), blocks, [runs], curves.drawn)
    return _publish(draft, metric, wanted)


def _id_of(folder: Path) -> str:
    provenance = read_json(folder / "provenance.json")
    return tracked_id(provenance["run_id"], provenance.get("began", 0))


@dataclass(frozen=True)
class Draft:
    """A report before it is anywhere. ``key`` is permanently unique."""

    title: str
    description: str
    key: str
    blocks: Sequence[wr.BlockTypes]
    shown: Sequence[Runs]
    curves: Sequence[Curve]


def _publish(draft: Draft, metric: str, wanted: Wanted) -> str:
    require_account()
    try:
        place = find_place(draft.shown[0].config, wanted.entity, wanted.project)
        kept = Reports(wanted.outputs / "reports" / "wandb.json", f"{place.entity}/{place.project}")
        blocks, title = _blocks(draft, metric, place), draft.title[:LONGEST_TITLE]
        report = wr.Report(place.project, place.entity, title, draft.description, blocks, "fluid")
        if (before := kept.earlier(draft.key)) is not None:
            before.title, before.description = report.title, report.description
            before.blocks, before.width = report.blocks, report.width
            report = before
        report.save()
        kept.remember(draft.key, report.url)
        return str(report.url)
    except wandb.Error as error:
        said = first_line(error)
        cure = "Check the network, WANDB_BASE_URL and the key (`wandb login --relogin`)."
        raise ConfigError(f"W&B did not take the report: {said}", value=said, cure=cure) from error


@dataclass(frozen=True)
class Reports:
    """The file that remembers which report is about what, for each project."""

    path: Path
    project: str

    def earlier(self, key: str) -> wr.Report | None:
        """Return the report that was saved before, with what people wrote beside it; None for a
        first one, and where somebody has deleted it."""
        url = self._read().get(f"{self.project}: {key}")
        if url is None:
            return None
        try:
            found: wr.Report = wr.Report.from_url(url)
            return found
        except TypeError:  # the server answers null (wandb-workspaces 0.4.13)
            return None

    def remember(self, key: str, url: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {**self._read(), f"{self.project}: {key}": url})

    def _read(self) -> dict[str, str]:
        return dict(read_json(self.path)) if self.path.exists() else {}


def find_place(config: Mapping[str, Any], entity: str | None, project: str | None) -> Place:
    """Return the place that was given, else that of the runs' flat config, else the account's.

    Raises StudyError if the project does not exist.
    """
    api = wandb.Api()
    entity = entity or config.get("wandb.entity") or api.default_entity
    project = project or config.get("wandb.project") or Tracking().project
    if project not in [listed.name for listed in api.projects(entity)]:
        raise StudyError(
            f"W&B has no project {entity}/{project}.",
            value=f"{entity}/{project}",
            cure="Upload its runs first (sweepmore wandb NAME --no-report), or give --project.",
        )
    return Place(str(entity), project)


def _blocks(draft: Draft, metric: str, place: Place) -> list[wr.BlockTypes]:
    grid = wr.PanelGrid(
        runsets=[run_set(runs, metric, place) for runs in draft.shown],
        panels=panels(draft.shown, draft.curves, metric),
    )
    return [*draft.blocks, wr.H2("The runs"), grid]
