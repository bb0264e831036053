"""Workers on a machine whose GPUs a simulated nvidia-smi lists: nobody gets more than there is.

What the kernel holds for a process stands for a GPU's memory: the lock of a file.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import optuna
import psutil
import pytest
from optuna.trial import TrialState, create_trial

from sweepmore.process.machine import this_machine
from sweepmore.process.placement import Placement, share_of
from sweepmore.study.view import view
from sweepmore.sweep.context import StudyContext
from sweepmore.sweep.crew import Crew
from sweepmore.sweep.processes import Processes
from tests.support.composed import swept
from tests.support.helpers import call_command
from tests.support.sweep_apps import PATIENCE, App, refusal, slots_of, until
from tests.support.tools import SMI, simulated

NAMED = ":study_name=s"
QUARTER = ":placement={gpu: 0.25}"


@pytest.fixture
def two_gpus(tmp_path: Path) -> dict[str, str]:
    return simulated(tmp_path, **{"nvidia-smi": SMI})


class TestSettings:
    def test_a_machine_is_filled_and_the_preview_says_how(
        self, app: App, two_gpus: dict[str, str]
    ) -> None:
        dry = ("x=interval(0,4)", NAMED, ":dry=true", ":n_jobs=auto")
        lines = {
            (): "workers  2 local processes, 1 on GPU 0, 1 on GPU 1, ",
            (QUARTER,): "workers  8 local processes, 4 on GPU 0, 4 on GPU 1, 1 thread each",
            (":placement={gpu: 2}",): "workers  1 local process, 1 on GPU 0+1, ",
            (":placement={gpu: 0.5, cpu: 1}",): "1 on GPU 0",
        }
        ended = app.each(*((*dry, *words) for words in lines), env=two_gpus)
        for done, line in zip(ended.values(), lines.values(), strict=True):
            assert line in done.stdout, done.stdout + done.stderr

    def test_what_does_not_fit_is_refused_before_anything_begins(
        self, app: App, two_gpus: dict[str, str]
    ) -> None:
        lines = {
            (QUARTER, ":n_jobs=9"): "n_jobs=9 asks for more.\n  Give n_jobs=auto, a number up to 8",
            (":placement={gpu: 3}", ":n_jobs=auto"): "{gpu: 3} leaves room for 0 workers here (2",
            (":placement={gpu: 1.5}",): "placement.gpu=1.5 is neither a share nor a number of GPUs",
            (":placement=0.25",): "Give hydra.sweeper.placement={gpu: 0.25}, {cpu: 4}, or both.",
            (":placement={gpu: 0}",): "placement.gpu=0.0 is out of range",
            (":placement={gpus: 1}",): "Unknown key hydra.sweeper.placement.gpus=1",
            (":placement={cpu: 999}",): "{cpu: 999} leaves room for 0 workers here",
            (QUARTER, "hydra/launcher=joblib"): "JoblibLauncher starts the workers",
            (":n_jobs=auto", "hydra/launcher=joblib"): "n_jobs=auto is for processes of this mach",
            (":n_jobs=all",): "n_jobs=all is not a whole number",
        }
        ended = app.each(*(("x=1,2", *words) for words in lines), env=two_gpus)
        for done, said in zip(ended.values(), lines.values(), strict=True):
            message = refusal(done)
            assert said in message
            assert message.count("error:") == 1
        assert not (app.folder / "outputs").exists()

    def test_a_gpu_that_the_parent_may_not_use_is_none(
        self, app: App, two_gpus: dict[str, str]
    ) -> None:
        words = ("x=1,2", QUARTER, ":n_jobs=auto", ":dry=true")
        hidden = {**two_gpus, "CUDA_VISIBLE_DEVICES": ""}
        assert "(no GPU, " in app.refused(*words, env=hidden)
        parts = {**two_gpus, "CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"}
        assert "CUDA uses one MIG instance" in app.refused(
            "x=1,2", ":placement={gpu: 2}", env=parts
        )
        only = {**two_gpus, "CUDA_VISIBLE_DEVICES": "1"}
        assert "workers  4 local processes, 4 on GPU 1, " in app.ok(*words, env=only)


def test_what_a_worker_was_given_is_kept_with_its_trials(
    app: App, two_gpus: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a single worker, if it is placed."""
    app.ok("x=1,2", NAMED, ":placement={gpu: 0.5, cpu: 1}", ":n_jobs=1", env=two_gpus)
    placed = {"gpus": ["0"], "workers": 1, "threads": 1}
    assert [t.user_attrs["placed"] for t in app.trials()] == [placed] * 2
    monkeypatch.chdir(app.folder)
    assert "place    GPU 0; 1 thread\n" in call_command("show", "s", "--trial=1").stdout


def waiting_at(app: App, name: str) -> int:
    """How many of its processes have the file of this lock open."""
    found = 0
    for process in app.processes():
        opened = Path(f"/proc/{process.pid}/fd")
        try:
            targets = [os.readlink(link) for link in opened.iterdir()]
        except OSError:  # it has just ended
            continue
        found += any(name in Path(target).name for target in targets)
    return found


class TestSeats:
    def test_a_second_start_waits_for_the_seats_of_the_first(self, app: App) -> None:
        """Also for that of a killed worker, which its replacement or the other start takes."""
        words = ("x=range(0,8)", "does=gated", NAMED, ":placement={cpu: 1}", ":n_jobs=2")
        with app.started(*words) as first:
            until(lambda: len(app.running()) == 2)
            second = psutil.Popen(app.command(*words), cwd=app.folder, stdout=-3, stderr=-3)
            until(lambda: waiting_at(app, "seat-0") == waiting_at(app, "seat-1") == 2)
            assert len(app.seen()) == 2
            killed = app.running()[0].user_attrs["owner"]["pid"]
            psutil.Process(killed).kill()
            until(lambda: len(app.seen()) == 3)
            until(lambda: waiting_at(app, "seat-0") == waiting_at(app, "seat-1") == 2)
            assert len(app.running()) == 2
            app.open_gate()
            out, err = first.communicate(timeout=PATIENCE)
            assert first.returncode == 0, out + err
            assert second.wait(PATIENCE) == 0
        assert slots_of(app.trials()) == list(range(8))


class TestOutOfMemory:
    @pytest.mark.parametrize(
        ("words", "large"),
        [
            (("x=range(0,14)", ":placement={gpu: 0.5}", ":n_jobs=2", "fails_from=1"), 1),
            pytest.param(
                ("x=range(0,24)", QUARTER, ":n_jobs=8", "fails_from=6"),
                6,
                marks=[pytest.mark.slow, pytest.mark.faults],
            ),
        ],
    )
    def test_a_trial_that_needs_its_gpu_alone_gets_it(
        self, app: App, two_gpus: dict[str, str], words: Sequence[str], large: int
    ) -> None:
        env = two_gpus if large > 1 else {**two_gpus, "CUDA_VISIBLE_DEVICES": "1"}
        with app.started(*words, "does=memory", NAMED, env=env) as process:
            until(lambda: app.database.exists() and "s" in app.names())
            until(lambda: any(crowded(t) for t in app.trials()))
            app.open_gate()
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, out + err
        trials = app.trials()
        assert slots_of(trials) == list(range(24 if large > 1 else 14))
        first = [t for t in trials if crowded(t)]
        again = [t for t in trials if t.user_attrs.get("alone")]
        assert all(t.state is TrialState.FAIL for t in first)
        assert {t.user_attrs["retry_of"] for t in again} >= {t.number for t in first}
        assert "0 failed" in out  # whoever needed all has got it
        counted = [t.params["x"] for t in again if t.state is TrialState.COMPLETE]
        assert sorted(counted) == sorted(t.params["x"] for t in first)
        assert f"memory:  {len(first)} trial" in out
        assert "shares were too small" in out

    def test_who_had_its_gpu_alone_has_failed(self, app: App, two_gpus: dict[str, str]) -> None:
        """Beside another one it is tried twice, and once where it has its GPU from the start."""
        words = ("x=1,2", "does=exhausted", ":max_failure_rate=1", ":n_jobs=2")
        one = {**two_gpus, "CUDA_VISIBLE_DEVICES": "1"}
        ways = {1: (":placement={gpu: 1}", two_gpus), 2: (":placement={gpu: 0.5}", one)}
        for attempts, (way, env) in ways.items():
            out = app.ok(*words, f":study_name=s{attempts}", way, env=env)
            trials = app.trials(f"s{attempts}")
            assert slots_of(trials) == []
            assert [t.user_attrs["reason"] for t in trials] == ["out_of_memory"] * 2 * attempts
            assert "2 failed" in out
            assert "failed:  2 × OutOfMemoryError: CUDA out of memory (outputs/" in out
            assert ("shares were too small" in out) is (attempts == 2)

    def test_the_kernels_kill_is_told_from_another_death(self, app: App) -> None:
        """A file stands for the kernel's counter; two are killed, and it has counted one."""
        counter = app.folder / "memory" / "memory.oom_control"
        counter.parent.mkdir()
        places = (counter, app.folder / "memory.events")  # of both versions
        for place in places:
            place.write_text("oom_kill 0\n")
        root = repr(str(app.folder))
        own = app.with_constants(process_memory__CGROUPS=root)
        words = ("x=range(0,4)", "does=gated", NAMED, ":n_jobs=2")
        with own.started(*words) as process:
            starved = until(lambda: two_running(own))[0]
            for place in places:
                place.write_text("oom_kill 1\n")
            kill(starved)
            until(lambda: own.trials()[starved.number].state is TrialState.FAIL)
            died = until(lambda: running_but(own, starved))[0]
            kill(died)
            until(lambda: own.trials()[died.number].state is TrialState.FAIL)
            own.open_gate()
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, out + err
        trials = own.trials()
        assert slots_of(trials) == list(range(4))
        reasons = {t.number: t.user_attrs.get("reason") for t in trials}
        assert reasons[starved.number] == "out_of_memory"
        assert reasons[died.number] == "died"
        again = {t.user_attrs.get("retry_of"): t.user_attrs for t in trials}
        assert again[starved.number].get("alone") is True
        assert again[starved.number]["deaths"] == 0
        assert again[died.number].get("alone") is None
        assert "1 trial ran out of memory beside others" in out

    @pytest.mark.faults
    @pytest.mark.slow
    @pytest.mark.parametrize(("deaths", "failed"), [(1, 0), (2, 1)])
    def test_what_the_kernel_itself_kills(self, app: App, deaths: int, failed: int) -> None:
        """In a control group of 700 MB, of which the parent and two workers take about 450."""
        with control_group(700) as group:
            enter = f'echo $$ > {group}/cgroup.procs; exec "$@"'
            inside = replace(app, inside=("sh", "-c", enter, "sh"))
            words = ("x=range(0,4)", "does=devour", "fails_from=3", "value=2000", NAMED)
            out = inside.ok(*words, f"deaths={deaths}", ":n_jobs=2", ":max_failure_rate=1")
        trials = inside.trials()
        assert slots_of(trials) == [0, 1, 2, 3][: 4 - failed]
        reasons = [t.user_attrs.get("reason") for t in trials if t.state is TrialState.FAIL]
        assert reasons == ["out_of_memory"] * deaths
        assert f"{failed} failed" in out
        assert ("failed:  1 × killed by the kernel for lack of memory\n" in out) is (failed == 1)


def kill(trial: optuna.trial.FrozenTrial) -> None:
    psutil.Process(trial.user_attrs["owner"]["pid"]).kill()


def two_running(app: App) -> list[optuna.trial.FrozenTrial] | None:
    running = app.running()
    return running if len(running) == 2 else None


def running_but(app: App, trial: optuna.trial.FrozenTrial) -> list[optuna.trial.FrozenTrial]:
    return [other for other in app.running() if other.number != trial.number]


@contextmanager
def control_group(megabytes: int) -> Iterator[Path]:
    """A control group of version 1 within this process's own; skips where none can be made."""
    rows = [row.split(":", 2) for row in Path("/proc/self/cgroup").read_text().splitlines()]
    own = [path for _, controllers, path in rows if "memory" in controllers.split(",")]
    group = Path("/sys/fs/cgroup/memory", (own or ["/"])[0].lstrip("/"), f"test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(f"{megabytes}M")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield group
    finally:
        group.rmdir()


def crowded(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether it ran out of memory beside others."""
    return trial.user_attrs.get("reason") == "out_of_memory" and not trial.user_attrs.get("alone")


# A worker that takes one of the four shares of its GPU, if one is free, and ends as it is told,
# after a while. The first eight wait for each other, so that all shares are taken.
WORKER = """
cd "$1"
for share in 1 2 3 4; do
    exec 9>> "gpu-$CUDA_VISIBLE_DEVICES-$share"
    if flock -n 9; then touch "here-$$"; break; fi
    exec 9>&-
done
[ -e "here-$$" ] || echo "$CUDA_VISIBLE_DEVICES" >> exceeded
while [ "$(ls -d here-* | wc -l)" -lt 8 ]; do sleep 0.01 9>&-; done
sleep "$2" 9>&-
case "$3" in
    killed) kill -9 $$ ;;
    *) exit "$3" ;;
esac
"""
ENDS = ("killed", "1", "130", "killed")
STARTS = 24
STARTED = {"since": 0.0, "n_trials": STARTS, "max_failure_rate": 0.5}


@dataclass
class Racers(Processes):
    """The crew itself, with workers that do nothing else than to start and end."""

    rng: random.Random = field(default_factory=random.Random)

    def command(self, quiet: Sequence[str]) -> list[str]:
        """Finish a trial with each worker: deaths without one would end the sweep."""
        slot = len(self.study.trials)
        self.study.add_trial(create_trial(value=0.0, user_attrs={"slot": slot}))
        end = self.rng.choice(ENDS) if slot < STARTS - 8 else "0"
        while_working = f"{self.rng.uniform(0, 0.2):.3f}"  # so that they end in any order
        return ["sh", "-c", WORKER, "sh", str(self.shared.folder), while_working, end]


@pytest.mark.parametrize(
    "races", [5, pytest.param(200, marks=[pytest.mark.faults, pytest.mark.slow])]
)
def test_eight_workers_never_exceed_two_gpus(
    races: int, tmp_path: Path, two_gpus: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each race has 8 starts, and 16 replacements of workers that have died or were stopped."""
    monkeypatch.setenv("PATH", two_gpus["PATH"])
    machine, placement = this_machine(), Placement(gpu=0.25)
    shares = tuple(share_of(machine, placement, seat, 8) for seat in range(8))
    asked = replace(swept(["x=interval(0,1)"], n_trials=STARTS), n_jobs=8, shares=shares)
    for race in range(races):
        folder = tmp_path / str(race)
        folder.mkdir()
        study = optuna.create_study(study_name="s")
        shared = cast(StudyContext, SimpleNamespace(folder=folder, **STARTED))
        crew: Crew[Any] = Racers(
            asked, study, shared, lambda: None, lambda: None, partial(view, study),
            rng=random.Random(race),
        )  # fmt: skip
        assert crew.run() is None
        assert not (folder / "exceeded").exists(), race
        taken = {path.name for path in folder.glob("gpu-*")}
        assert taken == {f"gpu-{gpu}-{share}" for gpu in (0, 1) for share in (1, 2, 3, 4)}
        assert len([*folder.glob("here-*")]) == len(study.trials) == STARTS
