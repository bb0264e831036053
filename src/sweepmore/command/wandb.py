"""``sweepmore wandb``: upload offline runs, and write a report of a study on W&B's server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sweepmore.command.options import Names, Outputs, Storage, require
from sweepmore.runs.places import Place


def wandb(
    names: Names,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write a report of each study, too.")
    ] = True,
    metric: Annotated[
        str | None,
        typer.Option(show_default=False, help="What trials are compared by: a key of summaries."),
    ] = None,
    entity: Annotated[
        str | None, typer.Option(show_default=False, help="W&B user or team; by default the runs'.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(show_default=False, help="W&B project; by default the runs'.")
    ] = None,
    outputs: Outputs = None,
    storage: Storage = None,
) -> None:
    """Upload offline W&B runs and write a W&B report.

    Each run is uploaded once, and each study gets a report. It needs a W&B account and its key
    (`wandb login`). Without an account, `sweepmore report` makes a page, and `wandb leet
    FOLDER/wandb` shows an offline run in the terminal.

    Example: sweepmore wandb last
    """
    require("wandb", "wandb", "wandb_workspaces")
    from sweepmore.command.pages import meant
    from sweepmore.report.wandb_report import require_account
    from sweepmore.runs.places import find_place

    place = find_place(outputs, storage)
    found = meant(names, place)
    require_account()
    for each in found:
        if isinstance(each, Path):
            _upload_run(each)
        else:
            _study(each, place, (metric, entity, project) if report else None)


def _upload_run(folder: Path) -> None:
    from sweepmore.report.upload import sync_runs, uploads_in
    from sweepmore.runs.names import name_of

    sync_runs(name_of(folder), uploads_in([folder]))


def _study(name: str, place: Place, about: Sequence[str | None] | None) -> None:
    """Upload a study's runs; ``about`` has the metric, entity and project of its report."""
    from sweepmore.command.application import additions_of
    from sweepmore.compose.studies import opened_study
    from sweepmore.report.additions import tell
    from sweepmore.report.study import read_study
    from sweepmore.report.upload import sync_study, uploads
    from sweepmore.report.wandb_report import metric_of, publish

    with opened_study(name, place) as (study, found):
        added = additions_of(found)
        seen = read_study(study, added, found)
        if about is None:
            sync_study(study)
            return
        metric, entity, project = about
        compared = metric_of(seen, metric)
        if uploads(study).left:  # runs that were online have nothing to upload
            sync_study(study)
        warnings = tell(added.of(seen.application), seen.winning_run).warnings
        print(f"report   {publish(seen, compared, entity, project, warnings)}")
