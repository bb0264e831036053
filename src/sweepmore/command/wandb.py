"""``sweepmore wandb``: upload offline runs, and write a report of a study on W&B's server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweepmore.command.options import Names, Outputs, Storage, require
from sweepmore.runs.places import Place

if TYPE_CHECKING:  # what talks to W&B is loaded once it is certain that it is there
    import optuna

    from sweepmore.report.wandb_report import Wanted
    from sweepmore.report.wandb_text import Subject


def wandb(
    names: Names,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write a report, too.")
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
    """Upload offline W&B runs and write one W&B report of these studies, or of two runs.

    Each run is uploaded once, and a second call updates the same report. It needs a W&B account and
    its key (`wandb login`). Without an account, `sweepmore report` makes a page, and `wandb leet
    FOLDER/wandb` shows an offline run in the terminal.

    Examples:

    sweepmore wandb last

    sweepmore wandb mine other
    """
    require("wandb", "wandb", "wandb_workspaces")
    from sweepmore.command.pages import meant
    from sweepmore.report.wandb_report import Wanted, require_account
    from sweepmore.runs.places import find_place

    place = find_place(outputs, storage)
    found = meant(names, place)
    require_account()
    wanted = Wanted(place.outputs, metric, entity, project) if report else None
    runs = [each for each in found if isinstance(each, Path)]
    if runs:
        _runs(runs, place, wanted)
    else:
        _studies([each for each in found if isinstance(each, str)], place, wanted)


def _runs(folders: Sequence[Path], place: Place, wanted: Wanted | None) -> None:
    """Upload runs; of two, write a report that compares them."""
    from sweepmore.command.application import additions_of
    from sweepmore.report.upload import sync_runs, uploads_in
    from sweepmore.report.wandb_report import publish_runs
    from sweepmore.runs.names import name_of
    from sweepmore.runs.record import read_config
    from sweepmore.typed import dotted

    compared = len(folders) > 1 and wanted is not None
    for folder in folders:
        runs = uploads_in([folder])
        if runs.left or not compared:  # runs that were online have nothing to upload
            sync_runs(name_of(folder), runs)
    if compared and wanted is not None:
        application = additions_of(place).describe(dotted(read_config(folders[0])))
        print(f"report   {publish_runs(folders, application, wanted)}")


def _studies(names: Sequence[str], place: Place, wanted: Wanted | None) -> None:
    """Upload the runs of studies, and write one report of all, unless none is wanted."""
    from sweepmore.report.upload import sync_study, uploads
    from sweepmore.report.wandb_report import publish_studies, require_reportable
    from sweepmore.report.wandb_winner import record_winner

    with ExitStack() as databases:
        found = [databases.enter_context(_opened(name, place)) for name in names]
        subjects = [subject for _, subject in found]
        if wanted is not None:  # before anything is uploaded
            require_reportable(subjects, wanted)
        for study, subject in found:
            record_winner(subject.study)
            if wanted is None or uploads(study).left:  # else they were online, or are there
                sync_study(study)
        if wanted is not None:
            print(f"report   {publish_studies(subjects, wanted)}")


@contextmanager
def _opened(name: str, place: Place) -> Iterator[tuple[optuna.Study, Subject]]:
    """Open a study for the block, with what a report says about it."""
    from sweepmore.command.application import additions_of
    from sweepmore.compose.studies import opened_study
    from sweepmore.report.additions import tell
    from sweepmore.report.study import read_study
    from sweepmore.report.wandb_text import Subject

    with opened_study(name, place) as (study, found):
        added = additions_of(found)
        seen = read_study(study, added, found)
        told = tell(added.of(seen.application), seen.winning_run)
        yield study, Subject.of(study, seen, told)
