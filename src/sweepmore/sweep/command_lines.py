"""Command lines that people can type: how a study goes on, what runs its best once more."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from sweepmore.compose.cli import script_beside
from sweepmore.compose.overrides import override_text
from sweepmore.process.invocation import python
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import StudyAttributes
from sweepmore.wording import shown_path

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep


# The overrides of Hydra's own keys that a single run has no use for, by how they begin.
OF_A_SEARCH = tuple(f"hydra{mark}{key}" for key in ("sweep", "launcher") for mark in "./")


def command_line(
    command: Mapping[str, Any], n_trials: int | None = None, *, here: bool = False
) -> str:
    """The command that a study last went on by (``Sweep.command``), with ``n_trials`` as many in
    all: a record for people, or one that runs ``here``."""
    typed = list(command["words"])
    if n_trials is not None:
        key = "hydra.sweeper.n_trials="
        at = next((k for k, word in enumerate(typed) if word.startswith(key)), len(typed))
        typed[at : at + 1] = [f"{key}{n_trials}"]
    if here:
        return _from_here(command, ["-m", *typed])
    return shlex.join(["python", *_started(command), "-m", *typed])


def _from_here(command: Mapping[str, Any], words: Sequence[str]) -> str:
    """The application with these words, from the folder where its own were typed."""
    line, folder = shlex.join([python(), *_started(command, here=True), *words]), _other(command)
    return line if folder is None else f"cd {shlex.quote(shown_path(folder))} && {line}"


def _other(command: Mapping[str, Any]) -> Path | None:
    """The folder where the command was typed, unless it is this one or is not to be found."""
    folder = command.get("folder")  # studies of older versions keep none
    try:
        return Path(folder) if folder and not os.path.samefile(folder, os.curdir) else None
    except OSError:
        return None


def _started(command: Mapping[str, Any], here: bool = False) -> list[str]:
    """What starts the application, and Hydra's flags, as typed; but a whole path is of this
    machine, and no part of a record."""
    words = command["script"] if here else [_name_of_path(word) for word in command["script"]]
    return [*words, *command.get("flags", ())]


def _name_of_path(word: str) -> str:
    return Path(word).name if Path(word).is_absolute() else word


def of_script(script: str, asked: Sweep, study: str) -> str | None:
    """What a script beside the application has to say of the study, where there is one."""
    start = script_beside(asked.root, script)
    if start is None or asked.where is None:
        return None
    return f"{start} study={shlex.quote(study)}{asked.where}"


def of_application(asked: Sweep, study: optuna.Study) -> str | None:
    """The application's own command that shows what the best can do, where it has one."""
    application = StudyAttributes.of(study).application
    if application is None or asked.where is None or application.commands.study is None:
        return None
    words = {"study": shlex.quote(study.study_name), "which": "best", "where": asked.where}
    typed = application.commands.study.typed(*application.folders(asked.root), **words)
    return None if typed is None else typed[1]


def rerun(asked: Sweep, attempt: Attempt) -> str:
    """A command line that runs the best once more."""
    params, parameters = attempt.params, asked.space.parameters
    searched = [one.override(params[one.name]) for one in parameters if one.name in params]
    # what a custom_search_space added, or an earlier version of the question searched
    added = {name: params[name] for name in params if name not in asked.space.searched}
    others = [f"{name}={override_text(value)}" for name, value in added.items()]
    return _from_here(asked.command, [*_of_one_run(asked), *asked.space.fixed, *searched, *others])


def _of_one_run(asked: Sweep) -> list[str]:
    """The overrides of Hydra's own keys that a single run shares with the trials."""
    modes = [word for word in asked.hydra_overrides if word.lstrip("+").startswith("hydra.mode=")]
    kept = [
        word
        for word in (*asked.hydra_overrides, *asked.searchpath)
        if word not in modes and not word.lstrip("+~").startswith(OF_A_SEARCH)
    ]
    # a search that nobody typed is one by the config itself
    return kept if modes else [*kept, "hydra.mode=RUN"]
