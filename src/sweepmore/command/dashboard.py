"""``sweepmore dashboard``: Optuna's dashboard on the database of the studies."""

from __future__ import annotations

from typing import Annotated

import typer

from sweepmore.command.options import Outputs, Storage, require


def dashboard(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]", show_default=False, help="The study whose page the link opens."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 8080,
    outputs: Outputs = None,
    storage: Storage = None,
) -> None:
    """Show studies in Optuna's dashboard, with contours.

    It ends with Ctrl-C. It has no authentication: other users of this machine can open its port.

    Example: sweepmore dashboard last
    """
    require("dashboard", "optuna_dashboard")
    from sweepmore.command.serving import serve
    from sweepmore.runs.places import find_place

    serve(study, find_place(outputs, storage), port)
