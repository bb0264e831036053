"""All that is private in Optuna: the one module to read when it has a new version.

Tested version: requirements.lock. pyproject bounds what may be installed, because a private name
can move in any release. Optuna's public surface is a study in one process; a trial that is claimed,
renewed, reaped and told by several processes needs the study's storage and its ids in there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
import sqlalchemy
from optuna.samplers import BruteForceSampler
from optuna.storages import BaseStorage
from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState


def quiet() -> None:
    """Optuna's warnings alone, without the one by which a storage says that it asks its database
    again in another way: with the whole statement, whenever the database is away."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna.storages._rdb.storage").setLevel(logging.ERROR)


def storage_of(study: Study) -> BaseStorage:
    """The storage that the study was opened with."""
    return study._storage


def study_id(study: Study) -> int:
    """The study's id in its storage."""
    return study._study_id


def trial_id(study: Study, number: int) -> int:
    """The id in the storage of the study's trial of this number."""
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)


def id_of(trial: FrozenTrial) -> int:
    """A read trial's id in its storage."""
    return trial._trial_id


class RunningTrial(Trial):
    """Shows what the command fixes among its attributes, where functions that were written for the
    stock Optuna plugin look for it; stored it would be among ours."""

    def __init__(self, study: Study, trial_id: int, fixed: Mapping[str, str]) -> None:
        super().__init__(study, trial_id)
        self._of_command = dict(fixed)

    @property
    def user_attrs(self) -> dict[str, Any]:
        return {**super().user_attrs, **self._of_command}


def as_running(study: Study, number: int, fixed: Mapping[str, str]) -> Trial:
    """A trial that is RUNNING already, to suggest and report in; ``Study.ask`` takes one itself.
    ``fixed`` are the overrides of every trial, key → text."""
    return RunningTrial(study, trial_id(study, number), fixed)


def fix(trial: Trial, params: Mapping[str, Any]) -> None:
    """Have ``trial`` suggest these values from now on. The public ``enqueue_trial`` can before it
    begins; once it runs nothing public does, and a second ``Trial`` of it would not be read again.
    """
    trial._fixed_params.update(params)


def exhaustive_sampler(searched: frozenset[str]) -> type[BruteForceSampler]:
    """A sampler of every point once that leaves the end of the study to its budget, and survives a
    worker's death.

    Optuna's calls ``Study.stop`` after the last point, which raises outside ``Study.optimize``;
    and it takes a trial that ended before all was suggested for another search space.
    """

    class ExhaustiveSampler(BruteForceSampler):
        @staticmethod
        def _populate_tree(tree: Any, trials: list[FrozenTrial], params: dict[str, Any]) -> None:
            whole = [t for t in trials if not t.state.is_finished() or searched <= t.params.keys()]
            BruteForceSampler._populate_tree(tree, whole, params)

        def after_trial(
            self,
            study: Study,
            trial: FrozenTrial,
            state: TrialState,
            values: Sequence[float] | None,
        ) -> None:
            pass

    return ExhaustiveSampler


def claim_of(
    storage: BaseStorage, trial_id: int, attributes: Mapping[str, Any]
) -> Callable[[], bool]:
    """A function that moves a trial from WAITING to RUNNING with these attributes, in one
    transaction, and returns whether the trial is this caller's.

    One conditional UPDATE: Optuna's own reads and then writes, which on SQLite lets two processes
    take the same trial (its SELECT … FOR UPDATE is no lock there). It may be called again where the
    answer was lost: then the attributes, which must tell this claim from any other, tell whose the
    trial is.
    """
    engine: sqlalchemy.Engine = storage._backend.engine  # type: ignore[attr-defined]
    rows = [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attributes.items()
    ]
    claim = (
        sqlalchemy.update(TrialModel)
        .where(TrialModel.trial_id == trial_id, TrialModel.state == TrialState.WAITING)
        .values(state=TrialState.RUNNING, datetime_start=datetime.now())
    )
    table = TrialUserAttributeModel
    known = sqlalchemy.select(table.key, table.value_json).where(table.trial_id == trial_id)
    tries = 0

    def once() -> bool:
        nonlocal tries
        tries += 1
        with engine.begin() as connection:
            if connection.execute(claim).rowcount == 1:
                connection.execute(sqlalchemy.insert(table), rows)
                return True
            if tries == 1:
                return False
            found = {row.key: row.value_json for row in connection.execute(known)}
            return all(found.get(row["key"]) == row["value_json"] for row in rows)

    return once
