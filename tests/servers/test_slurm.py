"""The same sweeps on a real Slurm of one node, whose parent calls itself another host.

``unshare --uts`` gives the parent a host name of its own: so it sees its workers as it would from a
login node, by Slurm and by the storage alone. There is no accounting: ``sacct`` knows nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from nplm.checkpoint import load_last
from sweepmore.study.attributes import store, stored
from tests.support import sweep_apps
from tests.support.helpers import ROOT, rows_of, weights_of
from tests.support.slurm_cluster import INSTALL, Cluster, missing, started
from tests.support.sweep_apps import App, slots_of

# seconds that no test needs on a machine that does nothing else: 60 is the longest
PATIENCE = 300.0
until = partial(sweep_apps.until, seconds=PATIENCE)
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

ELSEWHERE = ("unshare", "--uts", "sh", "-c", 'hostname login && exec "$0" "$@"')
LAUNCHER = "hydra/launcher=submitit_slurm"
# of a trial: some twenty seconds, longer than a worker's replacement takes to start, so that two
# more run at the same time
STEPS = 150_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if absent := missing():
        pytest.fail(f"{', '.join(absent)} not found: as root, {INSTALL}")
    if os.geteuid():
        pytest.fail(
            "root is needed: slurmd starts jobs, and the parent gets a host name of its own"
        )
    with started() as cluster:
        yield cluster


@dataclass
class OnSlurm(App):
    """The test application, or ``train.py`` with its outputs in ``folder``."""

    inside: tuple[str, ...] = ELSEWHERE
    always: tuple[str, ...] = ()

    def command(self, *words: str) -> list[str]:
        return super().command(LAUNCHER, *self.always, *words)

    def finished(self, process: subprocess.Popen[str], code: int = 0) -> str:
        """What it said; it must end, and with this exit code."""
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, out + err
        return out + err


@pytest.fixture
def app(tmp_path: Path) -> OnSlurm:
    return OnSlurm(App.copied(tmp_path).folder)


@pytest.fixture
def train(tmp_path: Path, few_names: Path) -> OnSlurm:
    always = ("data=text", f"data.path={few_names}", "experiment=smoke", "wandb.mode=disabled",
              f"hydra.sweeper.outputs={tmp_path}/outputs", f"hydra.sweep.dir={tmp_path}/jobs",
              "eval_every=0.02")  # fmt: skip
    return OnSlurm(tmp_path, str(ROOT / "train.py"), always=always)


def job_of(trial: FrozenTrial) -> str:
    """The number of the Slurm job that runs it."""
    owner = trial.user_attrs["owner"]
    assert owner["host"] != "login"
    return str(owner["slurm"].rpartition("/")[2])


def under_way(app: OnSlurm, other_than: tuple[int, ...] = ()) -> list[FrozenTrial]:
    """Running trials of which a few evaluations stand in the record."""
    if not app.database.exists() or "s" not in app.names():
        return []
    return [
        trial
        for trial in app.trials()
        if trial.state is TrialState.RUNNING
        and "folder" in trial.user_attrs
        and trial.user_attrs.get("root", trial.number) not in other_than
        and len(steps_of(Path(trial.user_attrs["folder"]))) > 2
    ]


def steps_of(folder: Path) -> list[int]:
    return [row["step"] for row in rows_of(folder)] if (folder / "metrics.jsonl").exists() else []


def interrupted(app: OnSlurm, folder: Path) -> dict[str, Any]:
    """Where a trial was stopped, and what its checkpoint holds, before its retry goes on."""

    def written() -> dict[str, Any] | None:
        path = folder / "result.json"
        result = json.loads(path.read_text()) if path.exists() else {}
        return result if result.get("status") == "interrupted" else None

    result: dict[str, Any] = until(written)
    return {"stopped": result["steps"], "kept": load_last(folder).about["step"]}


def until_empty(cluster: Cluster) -> None:
    """No job is left over; the last one's process may still be ending."""
    until(lambda: not cluster.queue())


def attempts(trials: list[FrozenTrial], reason: str) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.user_attrs.get("reason") == reason]


def test_one_worker_cancelled_and_one_preempted(train: OnSlurm, cluster: Cluster) -> None:
    words = ("model.hidden=8,16,24,32", f"optim.steps={STEPS}", ":n_jobs=2")
    with train.started(*words, ":study_name=s", env=cluster.env) as process:
        until(lambda: len(under_way(train)) == 2)
        first = under_way(train)[0]
        folder = Path(first.user_attrs["folder"])
        cluster.ask("scancel", job_of(first))
        cancelled = interrupted(train, folder)
        until(lambda: len(under_way(train, other_than=(first.number,))) == 2)
        cluster.ask("sbatch", "--partition=urgent", "--ntasks=3", "--output=/dev/null", "--wrap",
                    "sleep 2")  # fmt: skip
        until(lambda: len(attempts(train.trials(), "handed_back")) == 2)
        second = attempts(train.trials(), "handed_back")[1]
        preempted = interrupted(train, Path(second.user_attrs["folder"]))
        said = train.finished(process)
        until_empty(cluster)
    print(said, cancelled, preempted)
    trials = train.trials()
    assert slots_of(trials) == list(range(4))
    assert all(t.state.is_finished() for t in trials)
    assert len(attempts(trials, "handed_back")) == 2
    assert attempts(trials, "died") == []
    for stop in (cancelled, preempted):
        assert stop["stopped"] == stop["kept"] < STEPS  # no step is lost
    assert train.gone()
    whole = App(train.folder, train.script)
    whole.ok(*train.always, *words, ":study_name=whole", timeout=PATIENCE)
    same = {t.params["model.hidden"]: Path(t.user_attrs["folder"]) for t in whole.trials("whole")}
    for trial in trials:
        if trial.state is TrialState.COMPLETE:
            mine, other = Path(trial.user_attrs["folder"]), same[trial.params["model.hidden"]]
            assert weights_of(mine) == weights_of(other)
            assert rows_of(mine) == rows_of(other)


def test_a_worker_that_is_told_of_its_time_limit_is_replaced(
    app: OnSlurm, cluster: Cluster
) -> None:
    """By the signal that Slurm sends ``signal_delay_s`` before the limit, or up to a minute sooner:
    waiting for it would make the test depend on how fast Python starts."""
    words = ("x=range(0,3)", "does=gated", ":study_name=s")
    with app.started(*words, env=cluster.env) as process:
        first = until(app.running)[0]
        cluster.ask("scancel", "--signal=USR2", job_of(first))
        until(lambda: attempts(app.trials(), "handed_back"))
        app.open_gate()
        said = app.finished(process)
        until_empty(cluster)
    trials = app.trials()
    assert slots_of(trials) == list(range(3))
    assert [t.number for t in attempts(trials, "handed_back")] == [first.number]
    assert len({job_of(trial) for trial in trials}) == 2
    assert "a worker died" not in said


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_parents_signal_cancels_its_jobs(
    app: OnSlurm, cluster: Cluster, signum: signal.Signals
) -> None:
    """One of five finds no room: a job that waits is cancelled, too."""
    words = ("x=range(0,6)", "does=gated", ":study_name=s")
    with app.started(*words, ":n_jobs=5", env=cluster.env) as process:
        until(lambda: len(app.running()) == 4)
        until(lambda: sorted(job.state for job in cluster.queue()) == ["PD", *4 * ["R"]])
        process.send_signal(signum)  # unshare and sh have become Python by exec
        said = app.finished(process, 128 + signum)
        until_empty(cluster)
    assert "4 of them begun; to continue" in said
    trials = app.trials()
    assert len(attempts(trials, "handed_back")) == 4
    assert TrialState.RUNNING not in {t.state for t in trials}
    app.open_gate()
    with app.started(*words, ":n_jobs=2", env=cluster.env) as process:
        app.finished(process)
        until_empty(cluster)
    assert slots_of(app.trials()) == list(range(6))


def in_place_of(command: str, folder: Path, script: str) -> dict[str, str]:
    """The PATH with a ``command`` that does something before, or instead of, the real one."""
    real = shutil.which(command)
    assert real is not None
    folder.mkdir()
    (folder / command).write_text(f'#!/bin/sh\n{script}\nexec {real} "$@"\n')
    (folder / command).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_ctrl_c_cancels_jobs_that_squeue_does_not_tell_of(
    app: OnSlurm, cluster: Cluster, tmp_path: Path
) -> None:
    """Those that run are heard of by their results; for the one that waits Slurm is asked until
    it answers. A user's own defaults of squeue and scancel hide none of them."""
    deaf = tmp_path / "deaf"
    silent = in_place_of("squeue", tmp_path / "bin", f"[ ! -e {deaf} ] || exit 1")
    hidden = {"SQUEUE_STATES": "CD", "SQUEUE_PARTITION": "urgent", "SCANCEL_PARTITION": "urgent"}
    words = ("x=range(0,6)", "does=gated", ":n_jobs=5", ":study_name=s")
    with app.started(*words, env={**cluster.env, **silent, **hidden}) as process:
        until(lambda: len(app.running()) == 4)
        deaf.touch()
        process.send_signal(signal.SIGINT)
        until_empty(cluster)
        assert process.poll() is None
        deaf.unlink()
        said = app.finished(process, 130)
    assert "4 of them begun; to continue" in said
    assert "a worker died" not in said


def test_a_job_that_slurm_takes_late_is_not_dead(
    app: OnSlurm, cluster: Cluster, tmp_path: Path
) -> None:
    """As of a queue that is full for a while: sbatch itself waits and tries again."""
    late = in_place_of("sbatch", tmp_path / "bin", "sleep 35")
    with app.started("x=range(0,2)", ":study_name=s", env={**cluster.env, **late}) as process:
        said = app.finished(process)
        until_empty(cluster)
    assert "a worker died" not in said
    assert len({job_of(trial) for trial in app.trials()}) == 1
    assert "sacct" not in said
    assert "accounting" not in said


def test_a_killed_worker_is_missed_by_slurm(app: OnSlurm, cluster: Cluster) -> None:
    """No accounting tells submitit, and the host of the dead is another."""
    words = ("x=range(0,20)", "does=gated", ":n_jobs=2", ":study_name=s")
    with app.started(*words, env=cluster.env) as process:
        until(lambda: len(app.running()) == 2)
        killed = app.running()[0]
        psutil.Process(killed.user_attrs["owner"]["pid"]).kill()  # as for want of memory
        began = time.monotonic()
        until(lambda: attempts(app.trials(), "died"))
        print(f"reaped after {time.monotonic() - began:.1f} s")
        until(lambda: len(app.running()) == 2)
        print(f"replaced after {time.monotonic() - began:.1f} s")
        app.open_gate()
        said = app.finished(process)
        until_empty(cluster)
    assert "a worker died" in said
    trials = app.trials()
    assert slots_of(trials) == list(range(20))
    assert [t.number for t in attempts(trials, "died")] == [killed.number]


def test_after_kill_9_of_the_parent_the_same_command_completes(
    app: OnSlurm, cluster: Cluster
) -> None:
    """Its workers do what it has planned, and end once its lease has: here by hand, and not
    after ten minutes."""
    words = ("x=range(0,24)", "does=gated", ":n_jobs=2", ":study_name=s")
    with app.started(*words, env=cluster.env) as process:
        until(lambda: len(app.running()) == 2)
        process.kill()
        process.wait()
        study = app.study()
        store(study, leader={**stored(study)["leader"], "time": 0.0})
        app.open_gate()
        until_empty(cluster)
        left = [t for t in app.trials() if not t.state.is_finished()]
        assert left == []
        assert 8 <= len(slots_of(app.trials())) < 24
    with app.started(*words, env=cluster.env) as process:
        app.finished(process)
        until_empty(cluster)
    assert slots_of(app.trials()) == list(range(24))
    assert all(t.state is TrialState.COMPLETE for t in app.trials())


def test_the_parent_may_be_a_job(app: OnSlurm, cluster: Cluster) -> None:
    command = App(app.folder).command(
        LAUNCHER, "x=range(0,6)", "does=gated", ":n_jobs=2", ":study_name=s"
    )
    said = app.folder / "said"
    cluster.ask("sbatch", "--array=3", "--ntasks=2", f"--output={said}", f"--chdir={app.folder}",
                f"--wrap={shlex.join(command)}; echo ended with $?")  # fmt: skip
    until(lambda: len(app.running()) == 2)
    app.open_gate()
    until_empty(cluster)
    assert "ended with 0" in said.read_text(), said.read_text()
    assert slots_of(app.trials()) == list(range(6))
    assert len(app.pids()) == 2
    until_empty(cluster)


def test_what_slurm_refuses_ends_the_sweep(app: OnSlurm, cluster: Cluster) -> None:
    words = ("x=range(0,6)", ":study_name=s", "hydra.launcher.partition=nowhere")
    with app.started(*words, env=cluster.env) as process:
        said = app.finished(process, 2)
    assert "invalid partition specified: nowhere" in said
    assert "3 times without a trial" in said
    assert cluster.queue() == []
