"""A study with every kind of trial that Optuna stores, and a check that all of it is read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

INF = math.inf
# A value and its distribution, by the parameter's name.
PARAMETERS: Mapping[str, tuple[Any, BaseDistribution]] = {
    "z": (0.25, FloatDistribution(-1, 1)),
    "log": (1e-7, FloatDistribution(1e-8, 1, log=True)),
    "step": (0.3, FloatDistribution(0, 1, step=0.1)),
    "int": (7, IntDistribution(0, 10)),
    "int log": (64, IntDistribution(1, 512, log=True)),
    "a": ("ü", CategoricalDistribution((None, True, 3, 2.5, "ü"))),
    "none": (None, CategoricalDistribution((None, "None"))),
    "only": (1, CategoricalDistribution((1,))),
}
ATTRIBUTES = {"z": [1, {"b": None}], "a": "x" * 300, "nan": INF, "": False}
REPORTS = {0: 1.5, 7: INF, 3: -INF, 2: math.nan, 100: 0.0}
VALUES = [(1.0, 2.0), (INF, -INF), (-0.0, 1e-300)]


def studies_of_two_objectives(storage: str | optuna.storages.BaseStorage) -> list[optuna.Study]:
    directions = [optuna.study.StudyDirection.MINIMIZE] * 2
    return [
        optuna.create_study(storage=storage, study_name=name, directions=directions)
        for name in ("a", "b")
    ]


def fill(study: optuna.Study, other: optuna.Study) -> None:
    """Give a study of two objectives such trials; those of ``other`` lie between them."""
    whole: dict[str, Any] = {
        "params": {name: value for name, (value, _) in PARAMETERS.items()},
        "distributions": {name: kind for name, (_, kind) in PARAMETERS.items()},
        "user_attrs": ATTRIBUTES,
        "system_attrs": {**ATTRIBUTES, "fixed_params": {"z": 1}},
        "intermediate_values": REPORTS,
    }
    for number, (told, trial) in enumerate(
        itertools.product((dict[str, Any](), whole), every_state())
    ):
        made = create_trial(**trial, **told)
        started = datetime(2026, 3, 28, 23, 30, 1, 500) + timedelta(hours=7 * number)
        if made.state is not TrialState.WAITING:
            made.datetime_start = started
        if made.state.is_finished():
            made.datetime_complete = started + timedelta(seconds=number)
        study.add_trial(made)
        other.add_trial(made)


def every_state() -> Iterator[dict[str, Any]]:
    yield from ({"state": TrialState.COMPLETE, "values": list(values)} for values in VALUES)
    for state in (TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING):
        yield {"state": state}


def told(trial: FrozenTrial) -> list[Any]:
    """All that a trial holds, comparable: a NaN equals a NaN, 1 is not 1.0, params are in order."""
    plain = dict(vars(trial))
    for name in ("intermediate_values", "_user_attrs", "_system_attrs"):
        plain[name] = sorted(plain[name].items())
    return [repr(sorted(plain.items()))]


def assert_read_as_optuna_reads(
    ours: optuna.storages.RDBStorage, optunas: optuna.storages.RDBStorage, study_id: int
) -> None:
    """Compare whole studies, single trials, and what a cache asks for."""
    expected = optunas.get_all_trials(study_id)
    assert [*map(told, ours.get_all_trials(study_id))] == [*map(told, expected)]
    ids = [trial._trial_id for trial in expected]
    assert [told(ours.get_trial(trial_id)) for trial_id in ids] == [*map(told, expected)]
    for named, last in ((set[int](), ids[5]), ({*ids[2:4]}, ids[5]), ({*ids}, ids[-1])):
        read = ours._get_trials(study_id, (TrialState.WAITING, TrialState.FAIL), named, last)
        wanted = optunas._get_trials(study_id, (TrialState.WAITING, TrialState.FAIL), named, last)
        assert [*map(told, read)] == [*map(told, wanted)], (named, last)
