"""``sweepmore doctor``: what works here, what is missing, and the line that installs it."""

from __future__ import annotations

import typer

from sweepmore.command.options import AsJson, Outputs, Storage, print_json


def doctor(json: AsJson = False, outputs: Outputs = None, storage: Storage = None) -> None:
    """Say what works here, what is missing, and what installs it.

    It writes nothing and uses no network. It exits with 1 if there is a problem; something that is
    only missing is none.

    Example: sweepmore doctor --json
    """
    from sweepmore.command.checks import checks
    from sweepmore.runs.places import find_place

    found = list(checks(find_place(outputs, storage)))
    if json:
        print_json({"checks": [check.as_json() for check in found]})
    else:
        marks = {"ok": "✓", "missing": "–", "problem": "✗"}
        width = max(len(check.about) for check in found)
        for check in found:
            print(f"{marks[check.state]} {check.about:<{width}}  {check.found}")
            if check.cure is not None:
                print(f"  {'':<{width}}  → {check.cure}")
    if any(check.state == "problem" for check in found):
        raise typer.Exit(1)
