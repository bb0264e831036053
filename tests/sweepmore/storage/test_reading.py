"""What ``BulkStorage`` reads of trials equals what Optuna reads, to the field."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel
from optuna.trial import TrialState
from sqlalchemy.engine import make_url

from sweepmore.storage import optuna_internals
from sweepmore.storage.opening import open_storage, start
from sweepmore.storage.optuna_internals import BulkStorage, storage_of, tables_are_known, trial_id
from tests.support.every_trial import (
    assert_read_as_optuna_reads,
    fill,
    studies_of_two_objectives,
    told,
)


@pytest.fixture(params=["UTC", "America/St_Johns"])
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database of two studies whose trials alternate."""
    url = f"sqlite:///{tmp_path_factory.mktemp('studies') / 'studies.db'}"
    fill(*studies_of_two_objectives(url))
    return url


@pytest.mark.usefixtures("zone")
def test_all_is_read(url: str) -> None:
    for study_id in (1, 2):
        assert_read_as_optuna_reads(BulkStorage(url), RDBStorage(url), study_id)


def test_more_trials_than_a_query_names(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna_internals, "MOST_NAMED", 2)
    expected = RDBStorage(url).get_all_trials(1)
    ids = [trial._trial_id for trial in expected]
    read = BulkStorage(url)._get_trials(1, None, {*ids[3:]}, ids[-1])
    assert [*map(told, read)] == [*map(told, expected[3:])]


def test_the_installed_optuna_has_the_tables_that_are_read() -> None:
    assert tables_are_known()


def test_tables_of_another_version_are_read_by_optuna(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {**optuna_internals.COLUMNS, TrialModel: ("trial_id", "number")}
    monkeypatch.setattr(optuna_internals, "COLUMNS", known)
    monkeypatch.delattr(optuna_internals, "_frozen_trials")
    assert not tables_are_known()
    assert_read_as_optuna_reads(BulkStorage(url), RDBStorage(url), 1)


def test_what_is_missing_is_a_key_error(url: str) -> None:
    storage = BulkStorage(url)
    for ask in (storage.get_trial, storage.get_all_trials):
        with pytest.raises(KeyError):
            ask(1_000)


@pytest.mark.usefixtures("zone")
def test_a_trial_lasts_from_its_claim_to_its_end_in_any_zone(tmp_path: Path) -> None:
    storage = open_storage(make_url(f"sqlite:///{tmp_path / 's.db'}"))
    study = optuna.create_study(storage=storage)
    study.enqueue_trial({})
    assert start(storage_of(study), trial_id(study, 0), {"owner": "me"})
    study.tell(0, state=TrialState.FAIL)
    duration = study.trials[0].duration
    assert duration is not None
    assert 0 <= duration.total_seconds() < 600
