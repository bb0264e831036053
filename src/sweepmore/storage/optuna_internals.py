"""Everything that is private in Optuna: the one module to check against a new version.

The tested version is in requirements.lock. pyproject bounds what may be installed, because a
private name can move in any release. Optuna's public interface is a study in one process; a trial
that several processes claim, renew, reap and finish needs the study's storage and ids. The file is
longer than 250 lines because no other may hold such names.
"""

from __future__ import annotations

import gc
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import optuna
import sqlalchemy
from optuna.artifacts import ArtifactMeta
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.samplers import BruteForceSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb.models import (
    StudyModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.storages._rdb.storage import _create_scoped_session
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

    def set_user_attrs(self, attributes: Mapping[str, Any]) -> None:
        """Store them all in one transaction; ``set_user_attr`` takes one for each."""
        storage: Any = self.storage  # a ``CachedStorage`` with patience
        storage.set_trial_user_attrs(self._trial_id, attributes)
        self._cached_frozen_trial.user_attrs.update(attributes)


def as_running(study: Study, number: int, fixed: Mapping[str, str]) -> RunningTrial:
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
    now = datetime.now(UTC).replace(tzinfo=None)  # as Optuna 5 stores times
    claim = (
        sqlalchemy.update(TrialModel)
        .where(TrialModel.trial_id == trial_id, TrialModel.state == TrialState.WAITING)
        .values(state=TrialState.RUNNING, datetime_start=now)
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


# What is read of a trial, by table: all columns that Optuna 5.0 has, the row's own id first.
COLUMNS: Mapping[Any, tuple[str, ...]] = {
    TrialModel: ("trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"),
    TrialParamModel: ("param_id", "trial_id", "param_name", "param_value", "distribution_json"),
    TrialValueModel: ("trial_value_id", "trial_id", "objective", "value", "value_type"),
    TrialUserAttributeModel: ("trial_user_attribute_id", "trial_id", "key", "value_json"),
    TrialSystemAttributeModel: ("trial_system_attribute_id", "trial_id", "key", "value_json"),
    TrialIntermediateValueModel: (
        "trial_intermediate_value_id", "trial_id", "step", "intermediate_value",
        "intermediate_value_type",
    ),
}  # fmt: skip
# How many trials a query names (SQLite admits 32,766 values); of more it takes all from the first.
MOST_NAMED = 500
# Reads what ``json.dumps`` has written, in a third of the time of ``json.loads``.
_decoded = json.JSONDecoder().raw_decode
# Which trials are read: {"ids": these}, or {"study": of this one, "last": those with greater ids}.
Chosen = Mapping[str, Any]


def tables_are_known() -> bool:
    """Whether the installed Optuna has the tables that ``BulkStorage`` reads.

    Optuna opens no database whose tables are of another version than its own.
    """
    return all(tuple(model.__table__.columns.keys()) == COLUMNS[model] for model in COLUMNS)


class BulkStorage(RDBStorage):
    """Optuna's storage of a database, which reads trials by one plain query for each table.

    Optuna's own makes an object of each row before it makes the trials: for 10,000 of them that
    takes 3.3 s, and this 0.3 s (benchmarks/scale.py). The trials are equal.
    """

    def get_trial(self, trial_id: int) -> FrozenTrial:
        if not tables_are_known():
            return super().get_trial(trial_id)
        with _create_scoped_session(self.scoped_session) as session:
            found = _frozen_trials(session.connection(), [{"ids": [trial_id]}])
        if not found:
            raise KeyError(f"There is no trial with the id {trial_id}.")
        return found[0]

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        last = trial_id_greater_than
        if not tables_are_known():
            return super()._get_trials(study_id, states, included_trial_ids, last)
        named = sorted(trial_id for trial_id in included_trial_ids if trial_id <= last)
        if len(named) > MOST_NAMED:
            named, last = [], named[0] - 1
        chosen: list[Chosen] = [{"ids": named}] if named else []
        with _create_scoped_session(self.scoped_session) as session:
            chosen.append({"study": study_id, "last": last})
            trials = _frozen_trials(session.connection(), chosen)
            if not trials:
                StudyModel.find_or_raise_by_id(study_id, session)
        return [trial for trial in trials if states is None or trial.state in states]

    def set_trial_user_attrs(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        """Set attributes of a trial in one transaction: all or none."""
        with _create_scoped_session(self.scoped_session, True) as session:
            for key, value in attributes.items():
                self._set_trial_attr_without_commit(
                    session, TrialUserAttributeModel, trial_id, key, value
                )


class CachedStorage(_CachedStorage):
    """What ``optuna.storages.get_storage`` makes of a database, with what is ours."""

    _backend: BulkStorage

    def set_trial_user_attrs(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        self._backend.set_trial_user_attrs(trial_id, attributes)


def _frozen_trials(
    connection: sqlalchemy.Connection, chosen: Sequence[Chosen]
) -> list[FrozenTrial]:
    """The chosen trials, in that order and then in the order of their ids.

    Their own table is read first: a trial that has ended by then does not change any more, so what
    is read of it afterwards is whole.
    """
    rows = _rows(connection, TrialModel, chosen)
    if len(rows) <= MOST_NAMED:
        chosen = [{"ids": [row.trial_id for row in rows]}]
    with _garbage_uncollected():
        parts = [_by_trial(_rows(connection, part, chosen)) for part in [*COLUMNS][1:] if rows]
        return [_frozen_trial(row, *(part.get(row.trial_id, ()) for part in parts)) for row in rows]


@contextmanager
def _garbage_uncollected() -> Iterator[None]:
    """Inside the block, look for no garbage: all that is read stays, and to look takes as long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _rows(connection: sqlalchemy.Connection, model: Any, chosen: Iterable[Chosen]) -> list[Any]:
    """What a table has of the chosen trials, in the order of their ids."""
    named, later = _queries(model)
    asked = ((named if "ids" in which else later, which) for which in chosen)
    return [row for query, which in asked for row in connection.execute(query, which).all()]


@cache
def _queries(model: Any) -> tuple[sqlalchemy.Select[Any], sqlalchemy.Select[Any]]:
    """The query for trials by their ids, and that for a study's trials after the last."""
    columns, trials = model.__table__.columns, TrialModel.__table__.columns
    own_id, names = COLUMNS[model][0], COLUMNS[model][COLUMNS[model].index("trial_id") :]
    # parameters as they were suggested, all else as the tables' indices have it
    order = [own_id] if model in (TrialModel, TrialParamModel) else names[:2]
    query = sqlalchemy.select(*(columns[name] for name in names))
    query = query.order_by(*(columns[name] for name in order))
    later = sqlalchemy.select(trials.trial_id).where(
        trials.study_id == sqlalchemy.bindparam("study"),
        trials.trial_id > sqlalchemy.bindparam("last"),
    )
    ids: Any = sqlalchemy.bindparam("ids", expanding=True)
    return query.where(columns.trial_id.in_(ids)), query.where(columns.trial_id.in_(later))


def _by_trial(rows: Iterable[Any]) -> Mapping[int, Sequence[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row)
    return found


def _frozen_trial(
    row: Any,
    params: Iterable[Any],
    values: Iterable[Any],
    user_attrs: Iterable[Any],
    system_attrs: Iterable[Any],
    reports: Iterable[Any],
) -> FrozenTrial:
    distributions, known = {}, {}
    for _, name, value, text in params:
        distributions[name] = _distribution(text)
        known[name] = distributions[name].to_external_repr(value)
    value_of = TrialValueModel.stored_repr_to_value
    report_of = TrialIntermediateValueModel.stored_repr_to_intermediate_value
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        values=[value_of(value, kind) for _, _, value, kind in values] or None,
        datetime_start=_local(row.datetime_start),
        datetime_complete=_local(row.datetime_complete),
        params=known,
        distributions=distributions,
        user_attrs={key: _decoded(text)[0] for _, key, text in user_attrs},
        system_attrs={key: _decoded(text)[0] for _, key, text in system_attrs},
        intermediate_values={step: report_of(value, kind) for _, step, value, kind in reports},
        trial_id=row.trial_id,
    )


@lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    """The distribution that is stored so. The trials of a study share it: nobody changes one."""
    return json_to_distribution(text)


def _local(utc: datetime | None) -> datetime | None:
    """A stored time in the zone of this machine, without its name."""
    return None if utc is None else utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


class IllustratedStorage(_CachedStorage):
    """An open database for the dashboard, where trials have pictures that are stored nowhere.

    ``picture`` says which: the name of a file, or None. Its id is ``picture_id``. Trials that store
    files of their own show those alone.
    """

    def __init__(
        self, opened: BaseStorage, picture: Callable[[int, FrozenTrial], str | None]
    ) -> None:
        super().__init__(opened._backend)  # type: ignore[attr-defined]  # RDB only
        self._picture = picture

    def _add_trials_to_cache(self, study_id: int, trials: list[FrozenTrial]) -> None:
        for trial in trials:
            self._illustrate(study_id, trial)
        super()._add_trials_to_cache(study_id, trials)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        trial = super().get_trial(trial_id)
        if trial_id in self._trial_id_to_study_id_and_number:
            self._illustrate(self._trial_id_to_study_id_and_number[trial_id][0], trial)
        return trial

    def _illustrate(self, study_id: int, trial: FrozenTrial) -> None:
        if any(key.startswith(ARTIFACTS_ATTR_PREFIX) for key in trial.system_attrs):
            return
        if (name := self._picture(study_id, trial)) is not None:
            own = picture_id(study_id, trial)
            about = ArtifactMeta(own, name, mimetype="image/png", encoding=None)
            trial.system_attrs[f"{ARTIFACTS_ATTR_PREFIX}{own}"] = json.dumps(asdict(about))


def picture_id(study_id: int, trial: FrozenTrial) -> str:
    """The id of the file that ``IllustratedStorage`` adds to a trial: two numbers in hexadecimal.

    Optuna's own ids have five parts.
    """
    return f"{study_id:x}-{trial._trial_id:x}"
