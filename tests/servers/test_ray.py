"""Sweeps whose workers are tasks of a real Ray cluster: a head, and nodes that join and leave.

The parent runs on the head's host, and each node calls itself another one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from sweepmore.process.identity import this_process
from tests.support import sweep_apps
from tests.support.ray_nodes import ALONE, Nodes, missing, started
from tests.support.sweep_apps import App, runs, slots_of

# seconds that no test needs on a machine that does nothing else: 30 is the longest
PATIENCE = 240.0
until = partial(sweep_apps.until, seconds=PATIENCE)
pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

RAY = "hydra.launcher.ray."
LAUNCHER, LOCAL = "hydra/launcher=ray", f"{RAY}init.address=local"


@pytest.fixture(scope="module", autouse=True)
def _able() -> None:
    if absent := missing():
        pytest.fail(f"{', '.join(absent)} not found: make test-ray has an environment with Ray")
    if os.geteuid():
        pytest.fail("root is needed: the cluster gets a network of its own")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with started() as nodes:
        yield nodes


@dataclass
class OnRay(App):
    """The test application, as its users start it on a machine of the cluster."""

    address: str = ""

    def command(self, *words: str) -> list[str]:
        return super().command(LAUNCHER, f"{RAY}init.address={self.address}", *words)

    def finished(self, process: subprocess.Popen[str], code: int = 0) -> str:
        """What it said; it must end, and with this exit code."""
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, out + err
        return out + err

    def roots(self) -> list[int]:
        """The trials that run, each by the number of its first attempt."""
        return sorted(t.user_attrs.get("root", t.number) for t in self.running())

    def hosts(self) -> Counter[str]:
        """Where its trials run."""
        return Counter(host_of(trial) for trial in self.running())


@pytest.fixture
def app(tmp_path: Path, nodes: Nodes) -> OnRay:
    return OnRay(App.copied(tmp_path).folder, inside=nodes.inside, address=nodes.address())


@pytest.fixture
def two(nodes: Nodes) -> Iterator[tuple[str, str]]:
    """Two nodes with room for two workers each, which are gone afterwards."""
    names = tuple(f"node-{time.monotonic_ns()}-{letter}" for letter in "ab")
    for name in names:
        nodes.add(name, 2)
    yield names[0], names[1]
    for name in names:
        nodes.kill(name)


def host_of(trial: FrozenTrial) -> str:
    """Its node, which is not the parent's."""
    host = str(trial.user_attrs["owner"]["host"])
    assert host != this_process()["host"]
    return host


def why(app: App) -> Counter[str]:
    """How many attempts ended without counting, by reason."""
    return Counter(t.user_attrs["reason"] for t in app.trials() if "reason" in t.user_attrs)


def each_once(app: App, number: int) -> None:
    """Each trial has completed once, and no attempt has begun twice."""
    trials = app.trials()
    assert slots_of(trials) == list(range(number))
    assert all(t.state is TrialState.COMPLETE or "reason" in t.user_attrs for t in trials)
    begun = Counter((row["root"], row["attempt"]) for row in app.seen())
    assert set(begun.values()) == {1}


def test_a_node_killed_one_added_and_the_parent_killed(
    app: OnRay, nodes: Nodes, two: tuple[str, str]
) -> None:
    """60 trials by four workers."""
    words = ("x=range(0,60)", "does=gated", ":n_jobs=4", ":study_name=s")
    with app.started(*words) as process:
        until(lambda: app.hosts() == dict.fromkeys(two, 2))
        app.open_gate(*range(20))
        until(lambda: app.roots() == [20, 21, 22, 23])
        # A node fails: two trials are lost, and two workers wait for room until another one joins.
        nodes.kill(two[0])
        began = time.monotonic()
        until(lambda: why(app)["died"] == 2)
        print(f"reaped after {time.monotonic() - began:.1f} s")
        third = f"{two[0]}-again"
        nodes.add(third, 2)
        until(lambda: app.hosts() == {two[1]: 2, third: 2})
        app.open_gate(*range(20, 40))
        until(lambda: len(app.roots()) == 4 and app.roots()[0] >= 40)
        # The parent is killed: Ray ends its workers.
        process.kill()
        process.wait()
        until(lambda: not app.running())
    lost = sum(t.state is TrialState.RUNNING for t in app.trials())
    assert lost == 4
    app.open_gate()
    with app.started(*words) as process:
        app.finished(process)
    nodes.kill(third)
    each_once(app, 60)
    assert why(app) == {"died": 2 + lost}


def test_a_killed_worker_is_replaced_and_its_trial_retried_once(
    app: OnRay, two: tuple[str, str]
) -> None:
    words = ("x=range(0,8)", "does=gated", ":n_jobs=3", ":study_name=s")
    with app.started(*words) as process:
        killed = until(lambda: len(app.running()) == 3 and app.running())[0]
        psutil.Process(killed.user_attrs["owner"]["pid"]).kill()
        until(lambda: why(app)["died"] and len(app.running()) == 3)
        app.open_gate()
        said = app.finished(process)
    assert "a worker died" in said
    each_once(app, 8)
    assert why(app) == {"died": 1}


def test_ctrl_c_hands_back_what_runs_and_drops_what_waits(app: OnRay, two: tuple[str, str]) -> None:
    """One of five finds no room."""
    words = ("x=range(0,8)", "does=gated", ":study_name=s")
    with app.started(*words, ":n_jobs=5", f"+{RAY}remote.num_cpus=1") as process:
        until(lambda: len(app.running()) == 4)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        said = app.finished(process, 130)
        print(f"ended after {time.monotonic() - began:.1f} s")
    assert "5 by RayLauncher, each with num_cpus 1" in said
    assert "4 of them begun; to continue" in said
    assert why(app) == {"handed_back": 4}
    assert TrialState.RUNNING not in {t.state for t in app.trials()}
    app.open_gate()
    with app.started(*words, ":n_jobs=2", f"+{RAY}remote.num_cpus=2") as process:
        app.finished(process)
    each_once(app, 8)


def test_a_node_that_is_stopped_hands_back(app: OnRay, nodes: Nodes, two: tuple[str, str]) -> None:
    """No worker of it has the time to do so itself: Ray kills them."""
    words = ("x=range(0,8)", "does=gated", ":n_jobs=4", ":study_name=s", ":max_retries=0")
    with app.started(*words) as process:
        until(lambda: app.hosts() == dict.fromkeys(two, 2))
        nodes.stop(two[0])
        until(lambda: why(app) == {"handed_back": 2})
        app.open_gate()
        said = app.finished(process)
    assert "its node has left" in said
    each_once(app, 8)


def test_a_cluster_of_its_own(tmp_path: Path) -> None:
    """Two workers on this machine, of one cluster that ends with the sweep.

    Without an address Ray would find the other cluster, whose processes it sees.
    """
    app = App.copied(tmp_path, inside=ALONE)
    words = (LAUNCHER, LOCAL, f"+{RAY}init.num_cpus=2", f"+{RAY}init.include_dashboard=false")
    with app.started(*words, "x=range(0,8)", "does=gated", ":n_jobs=2", ":study_name=s") as process:
        until(lambda: len(app.running()) == 2)
        app.open_gate()
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
    each_once(app, 8)
    assert len(app.pids()) == 2
    until(lambda: not any(map(runs, app.pids())))


REFUSED = {
    (f"{RAY}init.address=127.0.0.1:1",): "Ray cannot be used with",
    (f"{RAY}init.address=ray://127.0.0.1:10001",): "Run the command on a machine of the cluster",
    (LOCAL, f"+{RAY}remote.num_gpus=3"): "asks for: CPU 1, GPU 3",
    (LOCAL, f"+{RAY}remote.num_gpus=abc"): "asks for 'abc' of GPU",
    (LOCAL, f"+{RAY}remote.num_cpus=-1"): "asks for -1 of CPU",
    (":placement={cpu: 1}",): "such as hydra.launcher.ray.remote.num_gpus and num_cpus",
}


@pytest.mark.parametrize("words", REFUSED, ids="_".join)
def test_what_cannot_work_is_refused_before_a_study_begins(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    app = App.copied(tmp_path, inside=ALONE)
    assert REFUSED[words] in app.refused(LAUNCHER, "x=range(0,8)", ":n_jobs=2", *words)
    assert not app.database.exists()


def test_a_cluster_that_ends_ends_the_sweep(app: OnRay, nodes: Nodes, two: tuple[str, str]) -> None:
    """It is the last test of this file: nobody can start the cluster again."""
    words = ("x=range(0,8)", "does=gated", ":n_jobs=2", ":study_name=s", ":max_retries=0")
    with app.started(*words) as process:
        until(lambda: len(app.running()) == 2)
        nodes.end()
        said = app.finished(process, 2)
    assert "The Ray cluster has ended" in said
    assert why(app) == {"handed_back": 2}
    assert not app.running()
    app.open_gate()
    App(app.folder).ok(*words)
    each_once(app, 8)
