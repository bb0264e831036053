"""The rules by which trials are planned, claimed, reaped and counted, without an application."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy.engine import URL

from sweepmore.process.identity import is_alive, on_this_host, this_process
from sweepmore.storage.opening import open_storage
from sweepmore.study import crews, slots
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import TrialAttributes
from sweepmore.study.view import StudyView, view, without_void
from sweepmore.sweep.watch import Watch
from tests.support.attempts import attempt
from tests.support.composed import swept

ELSEWHERE = {"host": "elsewhere", "boot": "b", "pid": 1, "ticks": 1}
# It had the number of this process, and began at another time.
GONE = {**this_process(), "ticks": 1}


def seen(*attempts: Attempt) -> StudyView:
    return StudyView("s", ("minimize",), without_void(attempts))


def database(path: Path) -> optuna.Study:
    url = URL.create("sqlite", database=str(path / "studies.db"))
    return optuna.create_study(study_name="s", storage=open_storage(url), load_if_exists=True)


class TestWithoutVoid:
    """Which of two trials for the same slot and attempt counts: everybody sees the same."""

    TABLE: tuple[tuple[str, list[Attempt], list[int]], ...] = (
        ("one each", [attempt(0, 0), attempt(1, 1)], [0, 1]),
        ("planned twice", [attempt(0, 0, "WAITING"), attempt(1, 0, "WAITING")], [0]),
        ("the order of reading is none", [attempt(5, 0), attempt(3, 0, "RUNNING")], [3]),
        ("marked", [attempt(0, 0, "FAIL", reason="void"), attempt(1, 0)], [1]),
        (
            "retried twice",
            [
                attempt(0, 0, "FAIL", reason="died"),
                attempt(1, 0, "WAITING", 1),
                attempt(2, 0, "WAITING", 1),
            ],
            [0, 1],
        ),
        ("retry of a slot that was used up", [attempt(0, 0), attempt(1, 0, "WAITING", 1)], [0]),
        (
            "history stays",
            [attempt(0, 0, "FAIL", reason="died"), attempt(1, 0, "COMPLETE", 1)],
            [0, 1],
        ),
    )

    @pytest.mark.parametrize(
        ("attempts", "kept"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
    )
    def test_kept(self, attempts: list[Attempt], kept: list[int]) -> None:
        assert sorted(a.number for a in without_void(attempts)) == kept


class TestGivenUp:
    TABLE: tuple[tuple[str, list[Attempt], list[int]], ...] = (
        ("it died and nothing comes", [attempt(0, 0, "FAIL", reason="died")], [0]),
        (
            "a retry waits",
            [attempt(0, 0, "FAIL", reason="died"), attempt(1, 0, "WAITING", 1)],
            [],
        ),
        ("it raised, so it counts", [attempt(0, 0, "FAIL", reason="exception")], []),
        ("pruned counts", [attempt(0, 0, "PRUNED")], []),
        (
            "the last of three died",
            [attempt(k, 4, "FAIL", k, reason="died") for k in range(3)],
            [4],
        ),
    )

    @pytest.mark.parametrize(
        ("attempts", "slots"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
    )
    def test_slots(self, attempts: list[Attempt], slots: list[int]) -> None:
        assert seen(*attempts).given_up == slots


class TestPlan:
    def planned(self, path: Path, before: StudyView, n_trials: int, last: int = 99) -> list[int]:
        study = database(path)

        def fixed(slot: int, tried: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
            assert len(list(tried)) == len(before.attempts)
            return ({} for _ in range(slot, last + 1))

        added = slots.plan(study, before, n_trials, fixed)
        new = [trial.user_attrs["slot"] for trial in study.get_trials()]
        assert len(new) == added
        return new

    def test_no_more_than_the_budget(self, tmp_path: Path) -> None:
        assert self.planned(tmp_path, seen(attempt(0, 0), attempt(1, 1)), 5) == [2, 3, 4]

    def test_no_more_than_8_wait(self, tmp_path: Path) -> None:
        waiting = [attempt(k, k, "WAITING") for k in range(6)]
        assert self.planned(tmp_path, seen(*waiting), 50) == [6, 7]

    def test_a_full_study_stays(self, tmp_path: Path) -> None:
        assert self.planned(tmp_path, seen(attempt(0, 0), attempt(1, 1)), 2) == []

    def test_a_slot_that_was_given_up_is_made_up_for(self, tmp_path: Path) -> None:
        lost = attempt(0, 0, "FAIL", reason="died")
        assert self.planned(tmp_path, seen(lost, attempt(1, 1)), 2) == [2]

    def test_a_grid_ends_with_its_points(self, tmp_path: Path) -> None:
        lost = attempt(0, 0, "FAIL", reason="died")
        assert self.planned(tmp_path, seen(lost, attempt(1, 1)), 2, last=1) == []


def take(path: Path) -> list[int]:
    """All that one process can claim."""
    study, taken = database(path), []
    while (claimed := slots.claim(study)) is not None:
        taken.append(claimed.number)
    return taken


def claim_race(folder: Path, rounds: int, trials: int) -> None:
    """Optuna's own claim let two processes take one trial."""
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        for turn in range(rounds):
            study = database(folder / str(turn))
            for slot in range(trials):
                waiting = create_trial(state=TrialState.WAITING, user_attrs={"slot": slot})
                study.add_trial(waiting)
            taken = list(pool.map(take, [folder / str(turn)] * 4))
            assert sorted(chain.from_iterable(taken)) == list(range(trials))
            assert all(t.state is TrialState.RUNNING for t in study.get_trials())


@pytest.mark.system
def test_four_processes_never_claim_the_same_trial(tmp_path: Path) -> None:
    claim_race(tmp_path, rounds=2, trials=slots.AHEAD)  # more never wait


@pytest.mark.faults
@pytest.mark.slow
def test_twenty_rounds_of_claims(tmp_path: Path) -> None:
    claim_race(tmp_path, rounds=20, trials=60)


def opened(path: Path) -> str:
    return database(path).study_name


@pytest.mark.system
def test_four_processes_may_begin_on_an_empty_database(tmp_path: Path) -> None:
    """Optuna looks for its tables and then creates them: one of two was refused."""
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        assert list(pool.map(opened, [tmp_path] * 4)) == ["s"] * 4  # starts the four, too
        for turn in range(4):
            assert list(pool.map(opened, [tmp_path / str(turn)] * 4)) == ["s"] * 4


class TestReap:
    """Whose worker is dead, and what becomes of the trial."""

    def running(
        self, path: Path, owner: Mapping[str, Any] | None, age: float = 0.0, **attrs: Any
    ) -> optuna.Study:
        study = database(path)
        began = datetime.now() - timedelta(seconds=age)
        trial = create_trial(
            state=TrialState.RUNNING,
            params={"x": 0.25},
            distributions={"x": FloatDistribution(0, 1)},
            user_attrs={"slot": 0, **({"owner": dict(owner)} if owner else {}), **attrs},
        )
        trial.datetime_start = began
        study.add_trial(trial)
        return study

    def reaped(self, study: optuna.Study, max_retries: int = 3) -> bool:
        return bool(slots.reap(study, view(study), max_retries))

    def test_a_process_that_lives_keeps_its_trial(self, tmp_path: Path) -> None:
        assert not self.reaped(self.running(tmp_path, this_process(), age=10**6))

    def test_one_that_is_gone_loses_it_and_the_same_point_is_tried_again(
        self, tmp_path: Path
    ) -> None:
        study = self.running(tmp_path, GONE)
        assert self.reaped(study)
        old, new = study.get_trials()
        assert (old.state, old.user_attrs["reason"]) == (TrialState.FAIL, "died")
        assert new.state is TrialState.WAITING
        assert {k: new.user_attrs[k] for k in ("slot", "root", "attempt", "deaths")} == {
            "slot": 0,
            "root": 0,
            "attempt": 1,
            "deaths": 1,
        }
        claimed = slots.claim(study)
        assert claimed is not None
        assert optuna.Trial(study, new._trial_id).suggest_float("x", 0, 1) == 0.25
        assert not self.reaped(study)

    def test_a_death_before_the_first_suggestion_loses_no_point(self, tmp_path: Path) -> None:
        study = database(tmp_path)
        study.enqueue_trial({"x": 0.25, "y": 2}, user_attrs={"slot": 0})
        claimed = slots.claim(study)
        assert claimed is not None
        optuna.Trial(study, study.get_trials()[0]._trial_id).suggest_float("x", 0, 1)
        storage_id = study.get_trials()[0]._trial_id
        gone = GONE
        study._storage.set_trial_user_attr(storage_id, "owner", gone)
        assert self.reaped(study)
        again = study.get_trials()[1]
        assert again.system_attrs["fixed_params"] == {"x": 0.25, "y": 2}

    def test_no_more_often_than_allowed(self, tmp_path: Path) -> None:
        study = self.running(tmp_path, GONE, deaths=2)
        assert self.reaped(study, max_retries=2)
        (old,) = study.get_trials()
        assert old.state is TrialState.FAIL
        assert view(study).given_up == [0]

    @pytest.mark.parametrize(
        ("age", "lease_age", "dead"),
        [
            (slots.LEASE_SECONDS - 60, None, False),
            (slots.LEASE_SECONDS + 60, None, True),
            (slots.LEASE_SECONDS * 10, slots.LEASE_SECONDS - 60, False),
            (slots.LEASE_SECONDS * 10, slots.LEASE_SECONDS + 60, True),
        ],
    )
    def test_another_hosts_lease(
        self, tmp_path: Path, age: float, lease_age: float | None, dead: bool
    ) -> None:
        lease = {} if lease_age is None else {"lease": time.time() - lease_age}
        assert self.reaped(self.running(tmp_path, ELSEWHERE, age, **lease)) is dead

    def test_a_renewed_lease_saves_it(self, tmp_path: Path) -> None:
        study = self.running(tmp_path, ELSEWHERE, slots.LEASE_SECONDS * 10)
        slots.renew_lease(study, 0)
        assert not self.reaped(study)

    @pytest.mark.parametrize(
        ("age", "dead"),
        [(slots.OWNERLESS_SECONDS / 2, False), (slots.OWNERLESS_SECONDS * 2, True)],
    )
    def test_a_trial_without_an_owner(self, tmp_path: Path, age: float, dead: bool) -> None:
        assert self.reaped(self.running(tmp_path, None, age)) is dead

    def test_one_that_was_handed_back_since_is_not_tried_twice(self, tmp_path: Path) -> None:
        """A worker that was stopped between the look at its trial and the look at its process."""
        study = self.running(tmp_path, GONE)
        stale = view(study)
        slots.retry(study, stale.running[0], died=False)
        slots.fail(study, 0, "handed_back")
        assert slots.reap(study, stale, 3) == []
        old, new = study.get_trials()
        assert old.user_attrs["reason"] == "handed_back"
        assert new.user_attrs["deaths"] == 0

    def test_two_reapers_retry_once(self, tmp_path: Path) -> None:
        study = self.running(tmp_path, GONE)
        slots.retry(study, view(study).running[0], died=True)  # and a second reaper at this moment
        assert self.reaped(study)
        assert len(study.get_trials()) == 3
        assert [a.attempt for a in view(study).attempts] == [0, 1]
        assert slots.claim(study) is not None
        assert slots.claim(study) is None
        assert not view(study).waiting

    def test_a_foreign_programs_trial_is_left_alone(self, tmp_path: Path) -> None:
        study = database(tmp_path)
        study.enqueue_trial({"x": 0.5})
        assert slots.claim(study) is None
        assert view(study).attempts == ()


def of_before(owner: Mapping[str, Any], began: float) -> dict[str, Any]:
    """As earlier versions wrote it, and as other systems tell it: with Unix time, which moves."""
    return {**{key: value for key, value in owner.items() if key != "ticks"}, "started": began}


class TestOwner:
    def test_this_process_lives(self) -> None:
        assert is_alive(this_process())
        assert on_this_host(this_process())
        assert not on_this_host(ELSEWHERE)

    @pytest.mark.parametrize("changed", [{"ticks": 1}, {"boot": "before"}, {"pid": 2**22 + 1}])
    def test_another_start_boot_or_number_is_another_process(self, changed: Any) -> None:
        assert not is_alive({**this_process(), **changed})

    @pytest.mark.skipif(not psutil.LINUX, reason="gives psutil another /proc")
    def test_a_clock_that_is_set_kills_nobody(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel then tells another time of boot, from which psutil counts."""
        me, began = this_process(), psutil.Process().create_time()
        stat = Path("/proc/stat").read_text()
        boot = re.search(r"^btime (\d+)$", stat, re.MULTILINE)
        assert boot is not None
        (tmp_path / "stat").write_text(stat.replace(boot[0], f"btime {int(boot[1]) + 3600}"))
        (tmp_path / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
        assert psutil.Process().create_time() == began + 3600
        assert is_alive(me)
        assert this_process() == me  # a parent knows that it leads

    @pytest.mark.parametrize(("set_by", "alive"), [(0, True), (1, True), (-1, True), (3600, False)])
    def test_a_record_in_unix_time(self, set_by: float, alive: bool) -> None:
        began = psutil.Process().create_time() + set_by
        assert is_alive(of_before(this_process(), began)) is alive

    def test_a_zombie_is_dead(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        began = psutil.Process(child.pid).create_time()
        owner = {**of_before(this_process(), began), "pid": child.pid}
        assert is_alive(owner)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet collected
        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
        assert not is_alive(owner)
        child.communicate()
        assert not is_alive(owner)


def test_a_worker_knows_whether_its_lease_was_renewed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a failure it tries sooner again; of a trial that it lost there is nothing to renew."""
    study = database(tmp_path)
    study.enqueue_trial({}, user_attrs={"slot": 0})
    watch = Watch(study, parent=this_process())
    assert watch.renew()  # no trial
    assert slots.claim(study) is not None
    watch.number = 0
    assert watch.renew()
    with contextlib.closing(sqlite3.connect(tmp_path / "studies.db")) as connection:
        connection.execute("ALTER TABLE trial_user_attributes RENAME TO away")
        assert not watch.renew()
        connection.execute("ALTER TABLE away RENAME TO trial_user_attributes")
    assert capsys.readouterr().out.count("the lease of trial 0 was not renewed") == 1
    slots.fail(study, 0, "died")
    assert watch.renew()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("zone", [-9, 9])
@pytest.mark.parametrize(("last_sign", "counted"), [(-60, (0, 0)), (60, (1, 1))])
def test_failures_of_a_host_of_another_zone(
    zone: int, last_sign: float, counted: tuple[int, int], tmp_path: Path
) -> None:
    """Optuna writes its start in its local time."""
    study, since = database(tmp_path), time.time()
    failed = create_trial(
        state=TrialState.FAIL,
        user_attrs={"slot": 0, "reason": "exception", "lease": since + last_sign},
    )
    failed.datetime_start = datetime.now() + timedelta(hours=zone)
    study.add_trial(failed)
    assert slots.failure_share(slots.active_since(study, since)) == counted


def test_a_crew_that_is_asked_to_stop_reads_so_among_others(tmp_path: Path) -> None:
    study = database(tmp_path)
    for number in range(crews.STOPPING_KEPT + 5):
        crews.ask_to_stop(study, f"s-{number}")
        crews.ask_to_stop(study, f"s-{number}")
    stopping = [crews.is_asked_to_stop(study, f"s-{number}") for number in range(30)]
    assert stopping == [*[False] * 5, *[True] * crews.STOPPING_KEPT, *[False] * 5]


def test_a_crew_gives_back_its_own_trials_alone(tmp_path: Path) -> None:
    study = database(tmp_path)
    slots.plan(study, view(study), 3, lambda first, tried: iter([{}] * 3))
    for crew in ("s-1", "s-2", "s-1"):
        begun = TrialAttributes(crew=crew)
        slots.claim(study, lambda root, begun=begun: begun)  # type: ignore[misc]
    crews.give_back(study, "s-1")
    attempts = view(study).attempts
    assert [a.attrs.crew for a in attempts if a.reason == "handed_back"] == ["s-1", "s-1"]
    assert [a.attrs.crew for a in view(study).running] == ["s-2"]
    assert [(a.slot, a.attempt, a.deaths) for a in view(study).waiting] == [(0, 1, 0), (2, 1, 0)]


def test_a_lease_speaks_for_another_host() -> None:
    """Slurm cannot be asked about a cluster that is not here."""
    now, lease = time.time(), slots.LEASE_SECONDS
    for owner in (ELSEWHERE, {**ELSEWHERE, "slurm": "elsewhere/0/7"}):
        assert slots.lives(owner, now - lease + 120)
        assert not slots.lives(owner, now - lease - 120)


@pytest.mark.parametrize(
    ("keys", "n_trials", "points"),
    [
        ({}, 6, [1, 2, 3, 4, 5, 6]),
        ({"n_trials": 6}, 6, [1, 2, 3, 4, 5, 6]),
        ({"n_trials": 50}, 6, [1, 2, 3, 4, 5, 6]),
        ({"n_trials": 50, "enqueue": [{"x": 5}, {"x": 2}, {"x": 5}]}, 6, [5, 2, 1, 3, 4, 6]),
        ({"enqueue": [{"x": 5}]}, 6, [5, 1, 2, 3, 4, 6]),
        ({"n_trials": 4, "sampler": "grid"}, 4, [1, 2, 3, 4]),
        ({"n_trials": 4, "sampler": "grid", "enqueue": [{"x": 6}]}, 4, [6, 1, 2, 3]),
        ({"n_trials": 5}, 5, None),  # fewer than the grid has: a search
        ({"n_trials": 50, "sampler": "tpe"}, 50, None),
    ],
)
def test_a_grid_is_enumerated_once_in_whatever_steps(
    tmp_path: Path, keys: dict[str, Any], n_trials: int, points: list[int] | None
) -> None:
    """Two parents plan in turn, each by what it saw a moment ago."""
    sweep = swept(["x=range(1,7)"], **keys)
    assert (sweep.n_trials, sweep.gridded) == (n_trials, points is not None)
    if points is None:
        return
    study = database(tmp_path)
    views = [view(study)] * 2
    for _ in range(7):
        slots.plan(study, views[0], sweep.n_trials, sweep.fixed_params)
        views = [views[1], view(study)]
        for waiting in views[1].waiting[:2]:
            slots.fail(study, waiting.number, "exception")
    planned = [attempt.fixed["x"] for attempt in view(study).attempts]
    assert planned == points
    assert slots.is_all_taken(view(study), n_trials, sweep.fixed_params)
