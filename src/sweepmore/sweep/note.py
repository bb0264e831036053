"""A study's note in optuna-dashboard: its question, its command, and its winner."""

from __future__ import annotations

import optuna

from sweepmore.storage.optuna_internals import storage_of, study_id
from sweepmore.study.attributes import StudyAttributes, Winner
from sweepmore.study.edges import searched
from sweepmore.study.view import directions_of
from sweepmore.study.winners import reported
from sweepmore.sweep.command_lines import command_line
from sweepmore.sweep.preview import described

# The key and the length of a part, as in optuna_dashboard.save_note. Importing that takes over a
# second; instead, a test reads the note back with the dashboard's own function.
KEY, LONGEST = "dashboard:note_", 2045


def write_note(study: optuna.Study, winner: Winner | None = None) -> None:
    """Write the study's question and command into its note, and its ``winner`` if there is one."""
    attrs = StudyAttributes.of(study)
    directions = ", ".join(directions_of(study))
    command = command_line(attrs.command)
    space = described(searched(attrs.question))
    lines = [f"**{directions}** over {space}", "", "```", command, "```"]
    if winner is not None:
        params = " ".join(f"`{name}={value}`" for name, value in winner.params.items())
        lines += [
            "",
            f"**Winner**: {params}, {reported(winner)}",
        ]
    save_note(study, "\n".join(lines))


def save_note(study: optuna.Study, text: str) -> None:
    """Replace the study's note by ``text`` (Markdown).

    A long text is stored in parts; those of a longer earlier note are emptied.
    """
    storage, of = storage_of(study), study_id(study)
    attributes = storage.get_study_system_attrs(of)
    parts = [text[k : k + LONGEST] for k in range(0, len(text), LONGEST)]
    written = {f"{KEY}str:{k}": part for k, part in enumerate(parts)}
    left = {key: "" for key in attributes if key.startswith(f"{KEY}str:") and key not in written}
    for key, value in {**written, **left}.items():
        storage.set_study_system_attr(of, key, value)
    storage.set_study_system_attr(of, f"{KEY}ver", attributes.get(f"{KEY}ver", 0) + 1)
