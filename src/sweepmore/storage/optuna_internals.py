"""Everything that is private in Optuna: the one module to check against a new version.

The tested version is in requirements.lock. pyproject bounds what may be installed, because a
private name can move in any release. Optuna's public interface is a study in one process; a trial
that several processes claim, renew, reap and finish needs the study's storage and ids.
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
    """Show Optuna's warnings only, and not its storage's.

    The storage warns, with the whole statement, that it asks again in another way, whenever the
    database is away.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna.storages._rdb.storage").setLevel(logging.ERROR)


def storage_of(study: Study) -> BaseStorage:
    """The storage that a study was opened with."""
    return study._storage


def study_id(study: Study) -> int:
    """A study's id in its storage."""
    return study._study_id


def trial_id(study: Study, number: int) -> int:
    """The id, in the storage, of the study's trial with this number."""
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)


def id_of(trial: FrozenTrial) -> int:
    """The id, in the storage, of a trial that was read."""
    return trial._trial_id


class RunningTrial(Trial):
    """A trial whose ``user_attrs`` include the values that the command fixes.

    Functions written for the stock Optuna plugin look for them there. They are not stored: they
    would be among our own attributes.
    """

    def __init__(self, study: Study, trial_id: int, fixed: Mapping[str, str]) -> None:
        super().__init__(study, trial_id)
        self._of_command = dict(fixed)

    @property
    def user_attrs(self) -> dict[str, Any]:
        return {**super().user_attrs, **self._of_command}


def as_running(study: Study, number: int, fixed: Mapping[str, str]) -> Trial:
    """A trial that is RUNNING already, to suggest and report with.

    ``Study.ask`` would claim one itself. ``fixed`` are the overrides of every trial, key → text.
    """
    return RunningTrial(study, trial_id(study, number), fixed)


def fix(trial: Trial, params: Mapping[str, Any]) -> None:
    """Make ``trial`` suggest these values from now on.

    The public ``enqueue_trial`` can do so before a trial begins. Once it runs nothing public can,
    and a second ``Trial`` object of it would not read them again.
    """
    trial._fixed_params.update(params)


def exhaustive_sampler(searched: frozenset[str]) -> type[BruteForceSampler]:
    """A sampler of every point once, which leaves the study's end to its budget.

    Optuna's own calls ``Study.stop`` after the last point, which raises outside ``Study.optimize``.
    And it mistakes a trial whose worker died before all ``searched`` values were suggested for one
    of another search space.
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
    """A function that claims a trial, and returns whether it is the caller's.

    It moves the trial from WAITING to RUNNING with these attributes, in one transaction by one
    conditional UPDATE. Optuna's own reads and then writes, which on SQLite lets two processes take
    the same trial (SELECT … FOR UPDATE does not lock there). The function may be called again where
    an answer was lost: the attributes, which must distinguish this claim from any other, then say
    whose the trial is.
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
    stored = sqlalchemy.select(table.key, table.value_json).where(table.trial_id == trial_id)
    tries = 0

    def attempt() -> bool:
        nonlocal tries
        tries += 1
        with engine.begin() as connection:
            if connection.execute(claim).rowcount == 1:
                connection.execute(sqlalchemy.insert(table), rows)
                return True
            if tries == 1:
                return False
            texts = {row.key: row.value_json for row in connection.execute(stored)}
            return all(texts.get(row["key"]) == row["value_json"] for row in rows)

    return attempt
