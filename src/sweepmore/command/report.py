"""``sweepmore report``: a page of a study or a run, or a comparison of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweepmore.command.options import Names, Outputs, Storage, require

if TYPE_CHECKING:  # what draws is loaded once it is certain that a page will be made
    from sweepmore.report.document import Page


def report(
    names: Names,
    trial: Annotated[
        int | None, typer.Option(min=0, show_default=False, help="The run of this trial.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Write the study to sweeps/NAME/, to be committed.")
    ] = False,
    outputs: Outputs = None,
    storage: Storage = None,
) -> None:
    """Write a page: one HTML file that needs no network. Several names are compared.

    Examples:

    sweepmore report last

    sweepmore report mine other

    sweepmore report mine --trial 17
    """
    from sweepmore.command import pages
    from sweepmore.errors import ConfigError
    from sweepmore.runs.places import find_place

    if (trial is not None or keep) and len(names) > 1:
        problem = f"--{'keep' if keep else 'trial'} is about one study."
        raise ConfigError(problem, value=names, cure="Name one.")
    if trial is not None and keep:
        raise ConfigError("--keep is about a whole study.", value=trial, cure="Omit --trial.")
    require("report", "matplotlib", "jinja2")
    place = find_place(outputs, storage)
    if trial is not None:
        done(*pages.of_trial(names[0], trial, place))
        return
    found = pages.meant(names, place)
    if keep:
        done(pages.keep(found, place))
    elif isinstance(found[0], Path):
        done(*pages.of_runs(found, place))
    else:
        done(*pages.of_studies(found, place))


def done(path: Path, page: Page | None = None) -> None:
    """Print where a page is, and the first of the commands that it recommends."""
    from sweepmore.wording import shown_path

    print(f"page     {shown_path(path)}")
    if page is not None and page.commands:
        print(f"next     {page.commands[0][1]}")
