"""What ``report.py`` writes and lists, once it knows which runs or studies are meant."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweepmore.errors import ConfigError
from sweepmore.runs import finding
from sweepmore.runs.names import safe_name
from sweepmore.wording import shown_path

if TYPE_CHECKING:  # what draws is only loaded once it is certain that a page will be made
    from optuna.storages import BaseStorage

    from sweepmore.report.additions import Additions
    from sweepmore.report.document import Page, Table
    from sweepmore.report.study import Study

# The most characters in a line of a list.
WIDEST = 100


@dataclass(frozen=True)
class Place:
    """Where studies and runs are.

    ``root`` is the folder of the scripts, and ``storage`` the database's URL, or None for the
    default. ``where`` repeats what was given of outputs and storage, for the next command.
    """

    root: Path
    outputs: Path
    storage: str | None
    where: str

    def database(self) -> AbstractContextManager[BaseStorage]:
        """Open the database of studies."""
        from sweepmore.compose.script_storage import opened

        return opened(self.storage, self.outputs)

    def additions(self) -> Additions:
        """Return nplm's part of a page. It counts looks at test by receipt or by row."""
        from nplm.app import report
        from sweepmore.compose.script_storage import typed_url

        return report.additions(self.root, typed_url(self.storage, self.outputs))


def of_runs(run: str | None, study: str | None, trial: int | None, place: Place) -> None:
    """Write the page of a study's trial, or of one or two runs by their names."""
    folders = named_runs(run, study, trial, place.outputs)
    finding.require_outputs(place.outputs)
    from sweepmore.report.document import write
    from sweepmore.report.runs_page import runs_page

    page = runs_page(folders, place.additions())
    name = page.title.replace(" and ", "-").replace("/", "-")
    done(write(page, place.outputs / "reports" / name), page)


def named_runs(run: str | None, study: str | None, trial: int | None, outputs: Path) -> list[Path]:
    """Return the folders of the run or trial that is named, or of two runs apart by a comma.

    Raises ConfigError if more than two runs are named, and RunError or StudyError if there is no
    such run, study or trial.
    """
    if trial is not None:
        return [finding.find_named(run, study, trial, outputs, "result.json")]
    if len(names := str(run).split(",")) > 2:
        raise ConfigError(f"{len(names)} runs were named.", value=names, cure="Name one or two.")
    return [finding.find_run(name, outputs, "result.json") for name in names]


def of_studies(names: Sequence[str], place: Place, csv: bool) -> None:
    """Write the page of a study, or of several compared, and with ``csv`` a table of all trials."""
    from sweepmore.report.comparison import compare_studies
    from sweepmore.report.document import write
    from sweepmore.report.study import read_study
    from sweepmore.report.study_page import study_page
    from sweepmore.study.loading import load
    from sweepmore.sweep.trials_csv import write_csv

    with place.database() as database:
        nplm, where = place.additions(), place.where
        studies = [read_study(load(database, name), nplm) for name in names]
        single = len(studies) == 1
        page = (
            study_page(studies[0], nplm, where) if single else compare_studies(studies, nplm, where)
        )
        reports = place.outputs / "reports"
        folder = reports / "-".join(safe_name(study.seen.name) for study in studies)
        path = write(page, folder)
        if csv:
            for study in studies:
                table = folder / f"{safe_name(study.seen.name)}.csv"
                write_csv(study.seen, table, study.attrs.as_text)
    done(path, page)


def sync(names: Sequence[str], place: Place) -> None:
    """Upload the offline W&B runs of these studies."""
    from sweepmore.report.upload import sync_study
    from sweepmore.study.loading import load

    with place.database() as database:
        for name in names:
            sync_study(load(database, name))


def keep(name: str, place: Place) -> None:
    """Write a study to ``sweeps/NAME/``, to be committed."""
    from sweepmore.report.study import read_study
    from sweepmore.study.loading import load

    with place.database() as database:
        write_results(read_study(load(database, name), place.additions()), place.root / "sweeps")


def write_results(study: Study, sweeps: Path) -> None:
    """Write RESULTS.md, the figures and ``trials.csv`` into the study's folder in ``sweeps``."""
    from nplm.app.report import RECORDED
    from sweepmore.process.machine import processor
    from sweepmore.report.document import write
    from sweepmore.report.results import results_page
    from sweepmore.report.study_page import study_page
    from sweepmore.runs.files import read_json, write_atomic
    from sweepmore.sweep.trials_csv import write_csv

    # where the numbers come from, as far as the winning run recorded it
    folder = sweeps / safe_name(study.seen.name)
    about, provenance = [("machine", processor())], study.winning_run / "provenance.json"
    if provenance.exists():  # another application may keep none
        code = read_json(provenance)
        commit = code["commit"] or "none"
        about = [
            ("commit", commit[:7] + ("+" if code["dirty_diff"] else "")),
            ("versions", ", ".join(f"{k} {v}" for k, v in code["versions"].items())),
            ("machine", f"{processor()}; Python {code['python']}"),
        ]

    # only the figures of the page stay, because a repository shows RESULTS.md instead
    page = write(study_page(study, RECORDED), folder)
    page.unlink()
    write_csv(study.seen, folder / "trials.csv", study.attrs.as_text)
    write_atomic(folder / "RESULTS.md", results_page(study, about, RECORDED))
    done(folder / "RESULTS.md")


def listing(place: Place) -> None:
    """Print the newest runs and studies, and the command that makes a page of any of them."""
    from nplm.app.application import describe
    from sweepmore.report.lists import list_runs, list_studies

    nplm = describe({})
    tables = [list_runs(place.outputs, nplm)]
    if place.storage is not None or (place.outputs / "studies.db").exists():
        with place.database() as database:
            tables.append(list_studies(database))
    if not any(table.rows for table in tables):
        print("Nothing yet" if nplm.begin is None else f"Nothing yet: {nplm.begin}")
        return
    for table in tables:
        if table.rows:
            show(table)
    print("python report.py study=NAME or run=NAME makes a page; last is the newest")
    if place.where:
        print(f"each with{place.where}")


def show(table: Table) -> None:
    """Print a table to the terminal, cut to its width."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Lines

    from sweepmore.report.document import cell

    console = Console(highlight=False, markup=False)  # objective=[a,b] would be read as markup
    console.width = min(WIDEST, console.width) if console.is_terminal else WIDEST
    lines = Lines(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for k, name in enumerate(table.head):
        last = k == len(table.head) - 1  # the settings, which take all the width that is left
        lines.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1 if last else None)
    for row in table.rows:
        lines.add_row(*map(cell, row))
    console.print(lines)


def done(path: Path, page: Page | None = None) -> None:
    """Print where a page is, and the first of the commands that it recommends."""
    print(f"page     {shown_path(path)}")
    if page is not None and page.commands:
        print(f"next     {page.commands[0][1]}")
