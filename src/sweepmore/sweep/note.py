"""A study in optuna-dashboard: its verdict, and a note with its answer, question and command."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping
from typing import Any

import optuna

from sweepmore.storage.optuna_internals import storage_of, study_id
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.championship import champion_of, settings_of
from sweepmore.study.edges import searched
from sweepmore.study.verdict import Found, found_in, verdict
from sweepmore.study.view import directions_of
from sweepmore.study.winners import reported
from sweepmore.sweep.command_lines import command_line
from sweepmore.sweep.preview import described
from sweepmore.wording import short

# The key and the length of a part, as in optuna_dashboard.save_note. Importing that takes over a
# second; instead, a test reads the note back with the dashboard's own function.
KEY, LONGEST = "dashboard:note_", 2045
# The user attribute with the verdict: the dashboard shows it on a study's first page, in a table of
# at least 650 pixels. In a window of 1,280, 81 of them are cut off unless lines end before.
VERDICT, VERDICT_WIDTH = "verdict", 60
# Characters of a line of the command, which the dashboard does not wrap: with 100, the note is
# narrower than a window of 1,280 pixels.
COMMAND_WIDTH = 100


def write_note(study: optuna.Study) -> None:
    """Write what is known of a study for the dashboard: its verdict first, once it has trials."""
    found, attrs = found_in(study), StudyAttributes.of(study)
    lines = []
    if found.seen.attempts:
        sentence = verdict(found)
        study.set_user_attr(VERDICT, _unbroken(sentence))
        lines += [f"**{sentence}**", ""]
    if answer := _answer(found):
        lines += [answer, ""]
    directions, space = ", ".join(directions_of(study)), described(searched(attrs.question))
    command = _continued(command_line(attrs.command))
    lines += [f"**{directions}** over {space}", "", "```", command, "```"]
    save_note(study, "\n".join(lines))


def _unbroken(sentence: str) -> str:
    """Return the sentence with spaces only where a line may end, and no-break ones elsewhere."""
    lines = textwrap.wrap(sentence, VERDICT_WIDTH, break_on_hyphens=False)
    return " ".join(line.replace(" ", "\u00a0") for line in lines)


def _continued(command: str) -> str:
    """Write a long command in several lines, as a shell reads them."""
    lines = [""]
    for word in map(shlex.quote, shlex.split(command)):
        if lines[-1] and len(f"{lines[-1]} {word} \\") > COMMAND_WIDTH:
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def _answer(found: Found) -> str:
    """Write the settings of the champion, winner or best trial; empty where there is none."""
    if (champion := champion_of(found.challenges)) is not None:
        return f"**Champion**: `{settings_of(champion)}`"
    if found.winner is not None:
        return f"**Winner**: {_code(found.winner.params)}, {reported(found.winner)}"
    if not found.seen.ranked or len(found.seen.directions) > 1:
        return ""
    return f"**Best**: {_code(found.answer.params)}"


def _code(params: Mapping[str, Any]) -> str:
    return " ".join(f"`{name}={short(value)}`" for name, value in params.items())


def save_note(study: optuna.Study, text: str) -> None:
    """Replace what was saved before by ``text`` (Markdown), and leave the rest of the note.

    People may write into the note by the dashboard. What they added below stays; where they changed
    the text itself, all of the note does.
    """
    storage, of = storage_of(study), study_id(study)
    attributes = storage.get_study_system_attrs(of)
    present, before = _present(attributes), StudyAttributes.of(study).note
    if before is not None and not present.startswith(before):
        return
    whole = text if before is None else text + present[len(before) :]
    if whole == present:
        return
    # A long note is kept in parts, by number. Those of a longer one are emptied: the dashboard
    # reads as many as there are.
    parts = [whole[at : at + LONGEST] for at in range(0, len(whole), LONGEST)]
    parts += [""] * (_count(attributes) - len(parts))
    for number, part in enumerate(parts):
        storage.set_study_system_attr(of, f"{KEY}str:{number}", part)
    storage.set_study_system_attr(of, f"{KEY}ver", attributes.get(f"{KEY}ver", 0) + 1)
    StudyAttributes(note=text).write(study)


def _count(attributes: Mapping[str, Any]) -> int:
    return sum(key.startswith(f"{KEY}str:") for key in attributes)


def _present(attributes: Mapping[str, Any]) -> str:
    parts = (attributes.get(f"{KEY}str:{number}", "") for number in range(_count(attributes)))
    return "".join(parts)
