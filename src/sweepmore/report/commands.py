"""What to do next with what a study found."""

from __future__ import annotations

import shlex
from pathlib import Path

from sweepmore.compose.question import digest
from sweepmore.report.additions import Additions, is_spent
from sweepmore.report.study import Study
from sweepmore.runs.names import searched_name
from sweepmore.study.campaigns import champions_of
from sweepmore.study.edges import at_edge, searched
from sweepmore.study.seeds import seed_key
from sweepmore.sweep.command_lines import command_for_more, command_line
from sweepmore.wording import plural


def commands_of(study: Study, additions: Additions) -> list[tuple[str, str]]:
    """Return the labelled commands of a study's page, the most useful next step first.

    A confirmation only points back to its search, from where it is continued.
    """
    place = study.place
    if not study.is_search:
        about = place.verb("report", searched_name(study.seen.name))
        return [("The study that it is about:", about)]

    # the next step depends on how far the study has come: searched, confirmed, searched again
    application, own = study.application, study.application.commands
    has_seed = seed_key(study.question) is not None
    commands = list[tuple[str, str]]()
    root = additions.scripts or (None if application.root is None else Path(application.root))
    words = {"study": shlex.quote(study.seen.name), "where": place.settings(root)}
    if study.kept is not None:
        verb = "report" if study.kept_confirmed else "confirm"
        what = f"The number to report of challenge {champions_of(study.challenges)[-1]}"
        how = "its own page has it" if study.kept_confirmed else "over fresh seeds"
        commands.append((f"{what}, {how}:", place.verb(verb, study.kept)))
    elif study.since is not None:
        what = "What was found since, into the same confirmation:"
        commands.append((what, study.since[1]))
    elif (
        study.winner is not None and not study.tested and not is_spent(additions, study.winner.run)
    ):
        for label, command in additions.own(application, own.number, which="winner", **words):
            commands.append((_once_finished(study, label), command))
    elif study.winner is None and len(study.seen.directions) == 1 and has_seed:
        what = "Is the best better than the next ones?"
        commands.append((what, place.verb("confirm", study.seen.name)))

    # commands that are useful at any time; several objectives have no single best to sample from
    if len(study.seen.directions) == 1:
        which = "best" if study.winner is None else "winner"
        commands += additions.own(application, own.study, which=which, **words)
    commands.append(_going_on(study))
    all_trials = place.verb("dashboard", study.seen.name)
    commands.append(("Contours, parallel coordinates, every trial:", all_trials))
    return commands


def _once_finished(study: Study, label: str) -> str:
    """Put off what can be done only once while the search has a reason to go on."""
    if not at_edge(study.answer.params, searched(study.question)):
        return label
    return f"When you have finished searching: {label[0].lower()}{label[1:]}"


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
    unnamed = digest(study.question) in study.seen.name
    more = command_for_more(command, study.seen.name, 2 * total, unnamed)
    return (
        f"{plural(total, 'trial is', 'trials are')} done; for more, n_trials is the new total:",
        more,
    )
