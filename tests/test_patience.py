"""A database that does not answer: which errors are waited for, for how long, and what is said."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import make_url

from sweepmore.errors import Interrupted, StudyError
from sweepmore.patience import DatabaseAway, Patience, is_away
from sweepmore.signals import stop_signals, unbroken
from sweepmore.storage import open_storage

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


def test_sqlite_has_no_server(tmp_path: Path) -> None:
    assert not is_away(error_of(locked, tmp_path))


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
