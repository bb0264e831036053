"""Which studies belong together: a search, the rounds of its confirmation, its final seeds."""

from __future__ import annotations

from pathlib import Path

import optuna

from sweepmore.runs.names import CONFIRM, NOISE, ending
from sweepmore.storage.optuna_internals import storage_of
from sweepmore.study.application import Application
from sweepmore.study.attempts import run_of
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.view import best_of, view


def confirmation_of(study: optuna.Study) -> optuna.Study | None:
    """The first round of the confirmation, which keeps the winner of all rounds.

    None where the study's confirmation has not begun.
    """
    return confirmation_named(study.study_name, storage_of(study))


def confirmation_named(name: str, storage: optuna.storages.BaseStorage) -> optuna.Study | None:
    """The same for the study of this name."""
    if name + CONFIRM not in optuna.get_all_study_names(storage):
        return None
    return optuna.load_study(study_name=name + CONFIRM, storage=storage)


def is_confirmed(name: str, storage: optuna.storages.BaseStorage) -> bool:
    """Whether a confirmation of the study of this name has named its winner."""
    confirmed = confirmation_named(name, storage)
    return confirmed is not None and StudyAttributes.of(confirmed).winner is not None


def parts_of(study: optuna.Study) -> list[optuna.Study]:
    """All studies of a study's confirmation: the rounds, and the final seeds of each winner."""
    storage, searched = storage_of(study), study.study_name
    ends = {name: ending(name) for name in optuna.get_all_study_names(storage)}
    parts = [n for n, end in ends.items() if end not in ("", NOISE) and n == searched + end]
    return [optuna.load_study(study_name=name, storage=storage) for name in sorted(parts)]


def best_run(study: optuna.Study) -> Path:
    """The run folder of the confirmed winner, else of the best trial.

    Raises StudyError where no trial is complete.
    """
    confirmed = confirmation_of(study)
    winner = None if confirmed is None else StudyAttributes.of(confirmed).winner
    return run_of(best_of(view(study))) if winner is None else winner.run


def application_of(study: optuna.Study) -> Application | None:
    """What the study keeps about its application.

    Where an older version ran it, a confirmation that began since may know; else None.
    """
    if (own := StudyAttributes.of(study).application) is not None:
        return own
    confirmed = confirmation_of(study)
    return None if confirmed is None else StudyAttributes.of(confirmed).application
