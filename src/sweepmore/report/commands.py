"""What to do next with what a study found."""

from __future__ import annotations

import shlex

from sweepmore.report.additions import Additions
from sweepmore.report.study import Study
from sweepmore.runs.names import searched_name
from sweepmore.sweep.command_lines import command_line
from sweepmore.wording import plural, shown_path


def commands_of(study: Study, where: str, additions: Additions) -> list[tuple[str, str]]:
    """Return the labelled commands of a study's page, the most useful next step first.

    A confirmation only points back to its search, because confirm.py continues it from there.
    ``where`` repeats the ``outputs`` and ``storage`` that were given.
    """
    if not study.is_search:
        about = f"study={shlex.quote(searched_name(study.seen.name))}{where}"
        return additions.script("The study that it is about:", "report.py", about)

    # the next step depends on how far the study has come: searched, confirmed, searched again
    application, own = study.application, study.application.commands
    name, commands = shlex.quote(study.seen.name), list[tuple[str, str]]()
    if study.since is not None:
        what = "What was found since, into the same confirmation:"
        commands += additions.script(what, "confirm.py", study.since[1] + where)
    elif study.winner is not None and not study.tested:
        commands += additions.own(application, own.number, study=name, which="winner", where=where)
    elif study.winner is None and len(study.seen.directions) == 1:
        what = "Is the best better than the next ones?"
        commands += additions.script(what, "confirm.py", f"study={name}{where}")

    # commands that are useful at any time; several objectives have no single best to sample from
    if len(study.seen.directions) == 1:
        which = "best" if study.winner is None else "winner"
        commands += additions.own(application, own.study, study=name, which=which, where=where)
    commands.append(_going_on(study))
    root = additions.scripts
    if root is not None and (root / "Makefile").exists() and not where:  # make has no outputs=
        there = "" if shown_path(root) == "." else f" -C {shlex.quote(shown_path(root))}"
        commands.append(("Contours, parallel coordinates, every trial:", f"make{there} dashboard"))
    return commands


def _going_on(study: Study) -> tuple[str, str]:
    """Return the study's own command, which asks for twice the trials once all are done."""
    command, done, total = study.attrs.command, len(study.seen.counted), study.total
    same = command_line(command, here=True)
    if total is None:
        return "The study's command continues where it stopped:", same
    if done + len(study.seen.given_up) < total:
        return f"{done} of {plural(total, 'trial')} done; to continue, rerun:", same
    if study.attrs.budget is not None and study.attrs.budget.grid:
        return f"The study's command; all of its grid is done ({plural(total, 'point')}):", same
    more = command_line(command, 2 * total, here=True)
    return (
        f"{plural(total, 'trial is', 'trials are')} done; for more, n_trials is the new total:",
        more,
    )
