"""Loading a study by its name, or the last one."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from sweepmore.errors import StudyError, did_you_mean
from sweepmore.runs.finding import last_begun, listed
from sweepmore.study.attributes import StudyAttributes


def load(database: optuna.storages.BaseStorage, name: str, cure: str | None = None) -> optuna.Study:
    """The study of this name; ``last`` is the one whose last trial began last, confirmations aside.

    Raises StudyError where there is none of that name, with ``cure`` if it is given, and where
    another program made it.
    """
    names = optuna.get_all_study_names(database)
    if name == "last":
        name = last(database, names) or name
    if name not in names:
        choices = f"{listed('Known', sorted(names))}{did_you_mean(name, names)}"
        raise StudyError(f"There is no study {name}.", value=name, cure=cure or choices)
    study = optuna.load_study(study_name=name, storage=database)
    if not StudyAttributes.of(study).command:
        cure = "Only studies that sweepmore ran can be confirmed."
        raise StudyError(f"{name} was not made by sweepmore.", value=name, cure=cure)
    return study


def last(database: optuna.storages.BaseStorage, names: Sequence[str]) -> str | None:
    """The name of the study that ``last`` means in a database; None where there is none.

    Other programs' studies do not count.
    """
    return last_begun(began_by_name(database, names))


def began_by_name(database: optuna.storages.BaseStorage, names: Sequence[str]) -> dict[str, float]:
    """When each of our studies began its newest trial, in Unix time, by the study's name."""
    studies = [optuna.load_study(study_name=name, storage=database) for name in names]
    own = [study for study in studies if StudyAttributes.of(study).command]
    return {study.study_name: began(study) for study in own}


def began(study: optuna.Study) -> float:
    """When the newest of a study's trials began, in Unix time; 0 before the first."""
    starts = [t.datetime_start for t in study.get_trials(deepcopy=False) if t.datetime_start]
    return max(start.timestamp() for start in starts) if starts else 0.0
