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
    """The study that confirm.py begins with, which keeps the winner of all rounds; None where it
    has not begun."""
    name = study.study_name + CONFIRM
    if name not in optuna.get_all_study_names(storage_of(study)):
        return None
    return optuna.load_study(study_name=name, storage=storage_of(study))


def parts_of(study: optuna.Study) -> list[optuna.Study]:
    """All studies of its confirmation: the rounds, and the final seeds of each winner."""
    storage, name = storage_of(study), study.study_name
    ends = {one: ending(one) for one in optuna.get_all_study_names(storage)}
    found = [one for one, end in ends.items() if end not in ("", NOISE) and one == name + end]
    return [optuna.load_study(study_name=one, storage=storage) for one in sorted(found)]


def best_run(study: optuna.Study) -> Path:
    """The run of the confirmed winner, else of the best trial."""
    confirmed = confirmation_of(study)
    winner = None if confirmed is None else StudyAttributes.of(confirmed).winner
    return run_of(best_of(view(study))) if winner is None else winner.run


def application_of(study: optuna.Study) -> Application | None:
    """What the study keeps of its application; where an older version ran it, what a confirmation
    keeps that began since."""
    if (own := StudyAttributes.of(study).application) is not None:
        return own
    confirmed = confirmation_of(study)
    return None if confirmed is None else StudyAttributes.of(confirmed).application
