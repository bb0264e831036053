"""A study's note in optuna-dashboard: what was asked, how, and what won."""

from __future__ import annotations

import json

import optuna
from optuna.distributions import json_to_distribution

from sweepmore.storage.optuna_internals import storage_of, study_id
from sweepmore.study.attributes import StudyAttributes, Winner
from sweepmore.study.view import directions_of
from sweepmore.study.winners import reported
from sweepmore.sweep.command_lines import command_line
from sweepmore.sweep.preview import described

# Both as optuna_dashboard.save_note has them, which takes over a second to import; a test reads
# the note back with the dashboard's own function.
KEY, LONGEST = "dashboard:note_", 2045


def write_note(study: optuna.Study, winner: Winner | None = None) -> None:
    """Question and command; with a ``winner`` of confirm.py, that too."""
    attrs = StudyAttributes.of(study)
    space = {
        name: json_to_distribution(json.dumps(one)) for name, one in attrs.question["space"].items()
    }
    directions = ", ".join(directions_of(study))
    command = command_line(attrs.command)
    lines = [f"**{directions}** over {described(space)}", "", "```", command, "```"]
    if winner is not None:
        params = " ".join(f"`{name}={value}`" for name, value in winner.params.items())
        lines += [
            "",
            f"**Winner**: {params}, {reported(winner)}",
        ]
    save_note(study, "\n".join(lines))


def save_note(study: optuna.Study, text: str) -> None:
    """Replace the note by ``text`` (Markdown)."""
    storage, of = storage_of(study), study_id(study)
    known = storage.get_study_system_attrs(of)
    parts = [text[k : k + LONGEST] for k in range(0, len(text), LONGEST)]
    written = {f"{KEY}str:{k}": part for k, part in enumerate(parts)}
    left = {key: "" for key in known if key.startswith(f"{KEY}str:") and key not in written}
    for key, value in {**written, **left}.items():
        storage.set_study_system_attr(of, key, value)
    storage.set_study_system_attr(of, f"{KEY}ver", known.get(f"{KEY}ver", 0) + 1)
