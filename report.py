"""See what there is: ``python report.py`` lists, ``study=NAME`` or ``run=NAME`` makes a page."""

from __future__ import annotations

try:
    from sweepmore.compose import cli
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: run `make setup`, then `. .venv/bin/activate`"
    ) from None

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweepmore.errors import ConfigError
from sweepmore.runs import finding
from sweepmore.runs.names import safe_name
from sweepmore.typed import setting
from sweepmore.wording import shown_path

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from sweepmore.report.additions import Additions
    from sweepmore.report.document import Page, Table
    from sweepmore.report.study import Study

ROOT = Path(__file__).resolve().parent
# Characters of a line of a list.
WIDEST = 100


@dataclass(frozen=True)
class Arguments:
    """python report.py [study=A[,B] | run=R[,S]]: list, or write a page; nothing is trained."""

    study: str | None = setting(None, "a study's name, or last; several with commas compare them")
    run: str | None = setting(None, "a run's folder or name, or last; two with a comma")
    trial: int | None = setting(None, "of study= (null: the last): that trial's run", at_least=0)
    csv: bool = setting(False, "also every trial as trials.csv")
    sync: bool = setting(False, "upload the study's offline W&B runs instead")
    keep: bool = setting(False, "the study into sweeps/NAME/ instead, to be committed")
    storage: str | None = setting(None, "a database URL; null: outputs/studies.db")
    outputs: str = setting("outputs", "the folder of runs and studies, relative to this one")


def main(arguments: Arguments) -> None:
    cli.require("matplotlib")
    from sweepmore.compose.script_storage import opened

    outputs = ROOT / arguments.outputs
    if arguments.study is not None and arguments.run is not None:
        cure = "Give one of them."
        raise ConfigError("study= and run= are two pages.", value=arguments.run, cure=cure)
    check(arguments)
    if arguments.trial is not None:
        asked = (arguments.run, arguments.study, arguments.trial)
        of_runs([finding.find_named(*asked, outputs, "result.json")], outputs, arguments)
        return
    if arguments.run is not None:
        names = arguments.run.split(",")
        if len(names) > 2:
            problem = f"{len(names)} runs were named."
            raise ConfigError(problem, value=names, cure="Name one or two.")
        folders = [finding.find_run(name, outputs, "result.json") for name in names]
        of_runs(folders, outputs, arguments)
    elif arguments.study is not None:
        with opened(arguments.storage, outputs) as database:
            of_studies(arguments.study.split(","), database, outputs, arguments)
    else:
        listing(outputs, arguments)


def check(arguments: Arguments) -> None:
    """ConfigError where one of the words would be of no effect."""
    if arguments.sync or arguments.keep or arguments.csv:
        if arguments.study is None or arguments.trial is not None:
            cure = "Give study=NAME, and no trial."
            raise ConfigError("sync, keep and csv are about a study.", value=None, cure=cure)
        if arguments.keep and "," in arguments.study:
            cure = "Keep them one by one."
            raise ConfigError("keep=true is about one study.", value=arguments.study, cure=cure)
        if arguments.sync and (arguments.keep or arguments.csv):
            problem = "sync=true uploads instead of writing: keep and csv would be of no effect."
            raise ConfigError(problem, value=True, cure="Give them in a second command.")


def additions(arguments: Arguments, outputs: Path) -> Additions:
    """nplm's part of a page; looks at test count by receipt or by row."""
    from nplm.app import report
    from sweepmore.compose.script_storage import typed_url

    return report.additions(ROOT, typed_url(arguments.storage, outputs))


def of_runs(folders: list[Path], outputs: Path, arguments: Arguments) -> None:
    finding.require_outputs(outputs)
    from sweepmore.report.document import write
    from sweepmore.report.runs_page import runs_page

    page = runs_page(folders, additions(arguments, outputs))
    name = page.title.replace(" and ", "-").replace("/", "-")
    done(write(page, outputs / "reports" / name), page)


def of_studies(
    names: list[str], database: BaseStorage, outputs: Path, arguments: Arguments
) -> None:
    from sweepmore.report.comparison import compare_studies
    from sweepmore.report.document import write
    from sweepmore.report.study import read_study
    from sweepmore.report.study_page import study_page
    from sweepmore.study.loading import load
    from sweepmore.sweep.trials_csv import write_csv

    nplm = additions(arguments, outputs)
    if arguments.sync:
        from sweepmore.report.upload import sync_study

        for name in names:
            sync_study(load(database, name))
        return
    studies = [read_study(load(database, name), nplm) for name in names]
    if arguments.keep:
        keep(studies[0])
        return
    where = cli.given(arguments, "outputs", "storage")
    one = len(studies) == 1
    page = study_page(studies[0], nplm, where) if one else compare_studies(studies, nplm, where)
    folder = outputs / "reports" / "-".join(safe_name(study.seen.name) for study in studies)
    path = write(page, folder)
    if arguments.csv:
        for study in studies:
            path_of_table = folder / f"{safe_name(study.seen.name)}.csv"
            write_csv(study.seen, path_of_table, study.attrs.as_text)
    done(path, page)


def keep(study: Study) -> None:
    """``sweeps/NAME/``: RESULTS.md, figures, every trial."""
    from nplm.app.report import RECORDED
    from sweepmore.process.machine import processor
    from sweepmore.report.document import write
    from sweepmore.report.results import results_page
    from sweepmore.report.study_page import study_page
    from sweepmore.runs.files import read_json, write_atomic
    from sweepmore.sweep.trials_csv import write_csv

    folder = ROOT / "sweeps" / safe_name(study.seen.name)
    about, provenance = [("machine", processor())], study.winning_run / "provenance.json"
    if provenance.exists():  # another application may keep none
        code = read_json(provenance)
        commit = code["commit"] or "none"
        about = [
            ("commit", commit[:7] + ("+" if code["dirty_diff"] else "")),
            ("versions", ", ".join(f"{k} {v}" for k, v in code["versions"].items())),
            ("machine", f"{processor()}; Python {code['python']}"),
        ]
    page = write(study_page(study, RECORDED), folder)
    page.unlink()  # the figures stay: RESULTS.md is the page that a repository shows
    write_csv(study.seen, folder / "trials.csv", study.attrs.as_text)
    write_atomic(folder / "RESULTS.md", results_page(study, about, RECORDED))
    done(folder / "RESULTS.md")


def listing(outputs: Path, arguments: Arguments) -> None:
    from nplm.app.application import describe
    from sweepmore.compose.script_storage import opened
    from sweepmore.report.lists import list_runs, list_studies

    nplm = describe({})
    tables, storage = [list_runs(outputs, nplm)], arguments.storage
    if storage is not None or (outputs / "studies.db").exists():
        with opened(storage, outputs) as database:
            tables.append(list_studies(database))
    if not any(table.rows for table in tables):
        print("Nothing yet" if nplm.begin is None else f"Nothing yet: {nplm.begin}")
        return
    for table in tables:
        if table.rows:
            show(table)
    print("python report.py study=NAME or run=NAME makes a page; last is the newest")
    if where := cli.given(arguments, "outputs", "storage"):
        print(f"each with{where}")


def show(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as Lines

    from sweepmore.report.document import cell

    console = Console(highlight=False, markup=False)  # objective=[a,b] is no markup
    console.width = min(WIDEST, console.width) if console.is_terminal else WIDEST
    lines = Lines(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for k, name in enumerate(table.head):
        last = k == len(table.head) - 1  # what was set by hand is as long as it is
        lines.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1 if last else None)
    for row in table.rows:
        lines.add_row(*map(cell, row))
    console.print(lines)


def done(path: Path, page: Page | None = None) -> None:
    print(f"page     {shown_path(path)}")
    if page is not None and page.commands:
        print(f"next     {page.commands[0][1]}")


if __name__ == "__main__":
    cli.command(Arguments, main)
