"""Command lines that people can type: to continue a study, or to run its best trial once more."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from sweepmore.compose.overrides import override_text
from sweepmore.process.invocation import python
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import StudyAttributes
from sweepmore.wording import shown_path

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep


# How those overrides of Hydra's own keys begin that a single run has no use for.
OF_A_SEARCH = tuple(f"hydra{mark}{key}" for key in ("sweep", "launcher") for mark in "./")


def command_line(
    command: Mapping[str, Any], n_trials: int | None = None, *, here: bool = False
) -> str:
    """Write the command that last started or continued a study (``Sweep.command``).

    ``n_trials`` replaces the number of trials in the command. With ``here`` the line runs on this
    machine, in this folder; without, it is a record that holds no absolute path.
    """
    typed = list(command["words"])
    if n_trials is not None:
        key = "hydra.sweeper.n_trials="
        at = next((k for k, word in enumerate(typed) if word.startswith(key)), len(typed))
        typed[at : at + 1] = [f"{key}{n_trials}"]
    if here:
        return _from_here(command, ["-m", *typed])
    return shlex.join(["python", *_started(command), "-m", *typed])


def command_for_more(command: Mapping[str, Any], study: str, total: int, unnamed: bool) -> str:
    """Write the command that gives a finished study more trials, ``total`` in all.

    An ``unnamed`` study is named in it: without a name the command would begin another study.
    """
    key = "hydra.sweeper.study_name="
    words = [word for word in command["words"] if not (unnamed and word.startswith(key))]
    name = [f"{key}{override_text(study)}"] if unnamed else []
    return command_line({**command, "words": [*words, *name]}, total, here=True)


def _from_here(command: Mapping[str, Any], words: Sequence[str]) -> str:
    """Write a command line for the application that runs where its own was typed."""
    line, folder = shlex.join([python(), *_started(command, here=True), *words]), _other(command)
    return line if folder is None else f"cd {shlex.quote(shown_path(folder))} && {line}"


def _other(command: Mapping[str, Any]) -> Path | None:
    """Return the folder where the command was typed; None when that is this one or is gone."""
    folder = command.get("folder")  # absent from studies of older versions
    try:
        return Path(folder) if folder and not os.path.samefile(folder, os.curdir) else None
    except OSError:
        return None


def _started(command: Mapping[str, Any], here: bool = False) -> list[str]:
    """Return the words that start the application, and Hydra's flags, as typed.

    A record that is not for ``here`` has the names of files instead of absolute paths, which mean
    nothing on another machine.
    """
    words = command["script"] if here else [_name_of_path(word) for word in command["script"]]
    return [*words, *command.get("flags", ())]


def _name_of_path(word: str) -> str:
    return Path(word).name if Path(word).is_absolute() else word


def of_verb(verb: str, asked: Sweep, study: str, *options: str) -> str | None:
    """Write ``sweepmore VERB STUDY …``; None when no words can name the study's database."""
    return None if asked.place is None else asked.place.verb(verb, study, *options)


def of_application(asked: Sweep, study: optuna.Study) -> str | None:
    """Write the application's own command that shows what the best trial can do.

    None when the application has registered no such command.
    """
    application = StudyAttributes.of(study).application
    if application is None or asked.place is None or application.commands.study is None:
        return None
    where = asked.place.settings(asked.root)
    words = {"study": shlex.quote(study.study_name), "which": "best", "where": where}
    typed = application.commands.study.typed(*application.folders(asked.root), **words)
    return None if typed is None else typed[1]


def rerun(asked: Sweep, attempt: Attempt) -> str:
    """Write a command line that runs a trial's configuration once more, as a single run."""
    # The values of the searched keys, as the command would have them.
    params, parameters = attempt.params, asked.space.parameters
    searched = [
        parameter.override(params[parameter.name])
        for parameter in parameters
        if parameter.name in params
    ]
    # Other values come from a custom_search_space, or from an earlier version of the question.
    added = {name: params[name] for name in params if name not in asked.space.searched}
    others = [f"{name}={override_text(value)}" for name, value in added.items()]
    return single_run(asked.command, [*searched, *others])


def single_run(command: Mapping[str, Any], searched: Sequence[str]) -> str:
    """Write a study's command as a single run, with ``searched`` for what the study searches."""
    words = [*_of_one_run(command), *command.get("fixed", ()), *searched]
    return _from_here(command, words)


def _of_one_run(command: Mapping[str, Any]) -> list[str]:
    """Return the overrides of Hydra's own keys that a single run shares with the trials."""
    hydra = command.get("hydra", ())
    searchpath = [w for w in command["words"] if w.lstrip("+").startswith("hydra.searchpath=")]
    modes = [word for word in hydra if word.lstrip("+").startswith("hydra.mode=")]
    kept = [
        word
        for word in dict.fromkeys((*hydra, *searchpath))
        if word not in modes and not word.lstrip("+~").startswith(OF_A_SEARCH)
    ]
    # A search without hydra.mode on its command line may have it in the config: override that.
    return kept if modes else [*kept, "hydra.mode=RUN"]
