"""``sweepmore ls``: studies and runs, newest first; removes those that came to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sweepmore.command.options import AsJson, Outputs, Storage, print_json

if TYPE_CHECKING:
    from sweepmore.report.lists import Listing
    from sweepmore.runs.places import Place


def ls(
    rm: Annotated[
        list[str],
        typer.Option(
            "--rm",
            metavar="NAME",
            show_default=False,
            help="Remove this stopped or empty study or run; asks. Repeatable.",
        ),
    ] = [],  # noqa: B006  # typer copies it
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    most: Annotated[int, typer.Option(min=1, help="How many studies and runs are listed.")] = 15,
    json: AsJson = False,
    outputs: Outputs = None,
    storage: Storage = None,
) -> None:
    """List studies and runs, the newest first.

    Example: sweepmore ls --rm interrupted-study
    """
    from sweepmore.command.application import additions_of
    from sweepmore.report.lists import listing
    from sweepmore.runs.places import find_place

    place = find_place(outputs, storage)
    if rm:
        from sweepmore.command.removing import remove

        remove(rm, place, asked=yes)
        return
    application = additions_of(place).describe({})
    found = listing(place, application, most)
    if json:
        print_json(found.as_json())
        return
    if not found.studies and not found.runs:
        print(f"Nothing yet{f': {application.begin}' if application.begin else ''}")
        return
    print_lists(found, place)


def print_lists(found: Listing, place: Place) -> None:
    """Print both tables, and how to go on."""
    from sweepmore.command.terminal import print_table

    for table in (found.runs_table(), found.studies_table()):
        if table.rows:
            print_table(table)
    print(f"{place.verb('report', 'NAME')} makes a page; last is the newest")
