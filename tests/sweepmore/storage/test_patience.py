"""A database that does not answer: which errors are waited for, for how long, and what is said."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.engine import make_url

from sweepmore.errors import Interrupted, StudyError
from sweepmore.process.signals import stop_signals, unbroken
from sweepmore.storage import patience as patience_module
from sweepmore.storage.opening import open_storage
from sweepmore.storage.optuna_internals import storage_of
from sweepmore.storage.patience import DatabaseAway, Outage, Patience, StudyGone, is_away, is_locked
from sweepmore.study.attributes import StudyAttributes

NOBODY_THERE = "postgresql+psycopg://me@127.0.0.1:1/d"  # a port on which nothing listens


def refused() -> None:
    with sqlalchemy.create_engine(NOBODY_THERE).connect():
        pass


def locked(folder: Path) -> None:
    url = f"sqlite:///{folder / 'd.db'}"
    holder = sqlite3.connect(folder / "d.db")
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with sqlalchemy.create_engine(url, connect_args={"timeout": 0}).begin() as connection:
            connection.execute(sqlalchemy.text("INSERT INTO t VALUES (1)"))
    finally:
        holder.close()


def error_of(action: object, *arguments: object) -> Exception:
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError) as caught:
        action(*arguments)  # type: ignore[operator]
    return caught.value


def test_a_server_that_refuses_is_away_whoever_says_so() -> None:
    error = error_of(refused)
    assert is_away(error)
    told = StorageInternalError("An exception is raised during the commit.")
    told.__cause__ = error
    assert is_away(told)


def test_of_sqlites_errors_a_lock_alone_is_waited_for(tmp_path: Path) -> None:
    error = error_of(locked, tmp_path)
    assert is_away(error)
    assert is_locked(error)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    for final in (full, sqlite3.OperationalError("no such table: x")):
        assert not is_away(sqlalchemy.exc.OperationalError("INSERT", {}, final))


class TestLocked:
    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patience_module, "BUSY_SECONDS", 0.0)

    def test_it_is_said_once_by_all_who_wait(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        left, outage = [partial(locked, tmp_path / name) for name in "ab"], Outage()
        for name in "ab":
            (tmp_path / name).mkdir()

        def asked() -> int:
            if left:
                left.pop()()
            return 7

        def in_thread() -> None:
            with contextlib.suppress(sqlalchemy.exc.OperationalError):
                Patience("sqlite:///s.db", outage=outage).call(asked)

        thread = threading.Thread(target=in_thread)  # a parent's own, which does not wait
        thread.start()
        thread.join()
        assert Patience("sqlite:///s.db", outage=outage).call(asked) == 7
        away, back = capfd.readouterr().err.splitlines()
        assert away.startswith(
            "warning: the database sqlite:///s.db is locked by another program; waiting up to 5 min"
        )
        assert back.startswith("the database answers again after ")

    def test_an_answer_from_memory_is_no_sign_of_the_database(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        patience, left = Patience("sqlite:///s.db"), [partial(locked, tmp_path)]

        def asked() -> int:
            if left:
                left.pop()()
            return 7

        def from_memory() -> int:
            return 8

        def in_thread() -> None:
            with contextlib.suppress(sqlalchemy.exc.OperationalError):
                patience.call(asked)

        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        assert patience.call(from_memory) == 8
        assert "answers again" not in capfd.readouterr().err
        assert patience.call(asked) == 7
        assert "answers again" in capfd.readouterr().err

    def test_it_gives_up_with_a_cure_of_its_own(self, tmp_path: Path) -> None:
        error = error_of(locked, tmp_path)

        def asked() -> None:
            raise error

        with pytest.raises(DatabaseAway, match=r"s\.db has been locked by another program") as away:
            Patience("sqlite:///s.db", limit=0.3).call(asked)
        assert "End that program or its transaction" in away.value.cure


def test_a_refusal_at_once_is_worth_no_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two that write at the same time: SQLite refuses one where they would wait for each other."""
    left = [partial(locked, tmp_path)]

    def asked() -> int:
        if left:
            left.pop()()
        return 7

    assert Patience("sqlite:///t.db").call(asked) == 7
    assert capfd.readouterr().err == ""


def test_a_study_that_was_deleted_is_gone_and_a_name_unknown(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'd.db'}"
    study = optuna.create_study(study_name="s", storage=open_storage(make_url(url)))
    study.enqueue_trial({})
    optuna.delete_study(study_name="s", storage=url)
    asked: list[Callable[[], object]] = [
        study.get_trials,
        lambda: study.user_attrs,
        lambda: StudyAttributes.of(study),
        lambda: study.enqueue_trial({}),
        lambda: storage_of(study).set_trial_user_attr(1, "key", 0),
        lambda: storage_of(study).set_trial_state_values(1, TrialState.RUNNING),
    ]
    for action in asked:
        with pytest.raises(StudyGone, match=r"is no longer in .*it was deleted"):
            action()
    with pytest.raises(KeyError):
        optuna.load_study(study_name="s", storage=storage_of(study))


def test_neither_a_bug_nor_a_refusal_is_waited_for() -> None:
    assert not is_away(ValueError("x"))
    assert not is_away(StorageInternalError("too long"))
    assert not is_away(StudyError("x", cure="y"))


def test_it_goes_on_when_the_server_is_back(capfd: pytest.CaptureFixture[str]) -> None:
    left = [refused, refused]

    def asked() -> int:
        if left:
            left.pop()()
        return 7

    patience = Patience("postgresql://127.0.0.1:1/d")
    assert patience.call(asked) == 7
    assert patience.call(asked) == 7
    away, back = capfd.readouterr().err.splitlines()  # each said once
    assert "the database postgresql://127.0.0.1:1/d does not answer (" in away
    assert "Connection refused" in away
    assert "waiting up to 5 min" in away
    assert back.startswith("the database answers again after ")


def test_it_gives_up_after_its_limit() -> None:
    with pytest.raises(DatabaseAway, match=r"not answered for \d+ s \(.*Connection refused"):
        Patience("d", limit=0.3).call(refused)


def test_a_signal_ends_the_wait_and_every_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = Patience("d")
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(Interrupted):
            patience.call(refused)
    with pytest.raises(DatabaseAway) as away:
        patience.call(refused)
    assert away.value.exit_code == 128 + signal.SIGTERM


def test_a_signal_during_a_try_ends_the_wait_after_it() -> None:
    """Also where it would be remembered until somebody asks: who waits asks nobody for minutes."""
    left: list[Callable[[], object]] = [partial(signal.raise_signal, signal.SIGTERM), int]

    def struck() -> None:
        if left:
            left.pop()()
        refused()

    with stop_signals(), pytest.raises(Interrupted):
        Patience("d").call(struck)


def test_a_signal_that_is_held_for_a_transaction_is_not_waited_upon() -> None:
    tries = list[int]()

    def asked() -> None:
        tries.append(len(tries))
        refused()

    with stop_signals() as told, unbroken():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(DatabaseAway) as away:
            Patience("d").call(asked)
        assert away.value.exit_code == 128 + signal.SIGTERM
        assert len(tries) == 1
        assert told() is None


def test_nobody_waits_in_vain_twice() -> None:
    patience, tries = Patience("d", limit=0.2), list[int]()

    def asked() -> None:
        tries.append(len(tries))
        refused()

    for _ in range(2):
        before = len(tries)
        with pytest.raises(DatabaseAway) as away:
            patience.call(asked)
        assert away.value.exit_code == 2
    assert len(tries) == before + 1


def test_a_background_thread_does_not_wait() -> None:
    caught: list[Exception] = []

    def in_thread() -> None:
        try:
            Patience("d").call(refused)
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert is_away(caught[0])


def test_a_storage_that_is_away_at_the_start_is_an_error_at_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(StudyError, match=r"cannot be opened: .*Connection refused") as refused:
        open_storage(make_url(NOBODY_THERE))
    assert not isinstance(refused.value, DatabaseAway)
    assert capfd.readouterr().err == ""
