"""W&B mirrors a run; whatever happens to it, the run's own result is the same."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from nplm import console, training
from nplm.config import from_hydra
from nplm.result import Result
from sweepmore.command.pages import meant
from sweepmore.process.invocation import sweepmore
from sweepmore.runs import files
from sweepmore.runs import record as records
from sweepmore.runs.places import Place
from sweepmore.runs.tracking import Tracking, sync_command, track
from tests.support import held_train
from tests.support.helpers import (
    CLOSED,
    ROOT,
    TrainHere,
    environment,
    result_of,
    rows_of,
    run_script,
    start,
    wandb_history,
    wandb_records,
    weights_of,
)
from tests.support.sweep_apps import PATIENCE, until

ABSENT = (  # train.py as if the package were not installed
    "import runpy, sys; sys.modules['wandb'] = None; "
    "sys.argv[0] = sys.argv.pop(1); runpy.run_path(sys.argv[0], run_name='__main__')"
)


def words_of(few_names: Path, folder: Path) -> list[str]:
    """The run that the fixture ``finished`` is, for ``train.py`` as a command."""
    return ["data=text", f"data.path={few_names}", "experiment=smoke", "seed=7",
            "optim.steps=300", f"hydra.run.dir={folder}"]  # fmt: skip


def assert_unharmed(folder: Path, reference: Path) -> None:
    """The same bits, and a record as complete as that of the run without W&B."""
    assert weights_of(folder) == weights_of(reference)
    assert rows_of(folder) == rows_of(reference)
    ours, theirs = result_of(folder), result_of(reference)
    for clock in ("seconds", "steps_per_second"):
        assert ours.pop(clock) > 0
        theirs.pop(clock)
    assert ours == theirs
    assert (folder / "samples.txt").read_text() == (reference / "samples.txt").read_text()


def one_warning(err: str, says: str) -> None:
    assert err.count("warning:") == 1, err
    assert len(err.splitlines()) == 1, err
    assert says in err


@pytest.fixture(scope="module")
def offline(few_names: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and output of a run mirrored offline, as by default, started within another run."""
    folder = tmp_path_factory.mktemp("offline") / "run"
    theirs = {"WANDB_RUN_ID": "theirs", "WANDB_NAME": "theirs", "WANDB_MODE": "disabled"}
    words = (*words_of(few_names, folder), "wandb.tags=[a,b]")
    done = run_script("train.py", *words, env=theirs)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder, done.stdout


# what is mirrored


@pytest.mark.system
def test_offline_run_is_the_run_without_wandb(offline: tuple[Path, str], finished: Path) -> None:
    assert_unharmed(offline[0], finished)


@pytest.mark.system
def test_offline_run_holds_every_row_of_the_record(offline: tuple[Path, str]) -> None:
    folder, _ = offline
    logged = {row["step"]: row for row in wandb_history(folder) if "step" in row}
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 301
    for row in rows:
        assert {key: logged[row["step"]].get(key) for key in row} == row


def test_offline_run_holds_config_summary_figure_and_samples(offline: tuple[Path, str]) -> None:
    folder, _ = offline
    content = list(wandb_records(folder))
    run = next(record.run for record in content if record.WhichOneof("record_type") == "run")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert (config["model.hidden"], config["optim.name"], config["seed"]) == (16, "sgd", 7)
    assert not any(isinstance(value, dict) for key, value in config.items() if key != "_wandb")
    assert (run.project, run.job_type, list(run.tags)) == ("sweepmore", "train", ["a", "b"])
    media = {key for row in wandb_history(folder) for key in row}
    for name in ("loss", "embeddings", "samples"):
        assert any(key.split(".")[0] == name for key in media)


def test_offline_run_has_the_result_as_its_summary(offline: tuple[Path, str]) -> None:
    summary: dict[str, Any] = {}
    for record in wandb_records(offline[0]):
        for item in record.summary.update:
            summary[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    result = result_of(offline[0])
    assert summary["status"] == "ok"
    assert summary["train_loss"] == result["train_loss"]
    assert summary["data.fingerprint"] == result["data"]["fingerprint"]


def test_offline_run_ends_with_exit_code_0_and_a_line_to_upload_it(
    offline: tuple[Path, str],
) -> None:
    folder, out = offline
    assert exit_codes(folder) == [0]
    (line,) = (line for line in out.splitlines() if line.startswith("W&B      offline; "))
    *command, name = shlex.split(line.partition(": ")[2])
    assert command[: len(sweepmore())] == [*sweepmore()]
    assert "wandb" in command
    (run,) = meant([name], Place(folder.parent))
    assert Path(run).resolve() == folder


def test_a_resumed_run_can_be_uploaded_until_all_its_parts_are(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for parts that have nothing to upload."""
    folder, config = tmp_path / "my run", from_hydra(records.read_config(finished))
    parts = [folder / "wandb" / f"offline-run-{k}-a" for k in range(4)]
    for part in parts:
        part.mkdir(parents=True)
    for part in parts[:3]:
        (part / "run-a.wandb").touch()
    result = Result("interrupted", "SIGINT", cast(Any, None), 1, 1.0, None, None)
    for part in parts[:3]:
        console.ways_on(folder, config, result)
        first, line = capsys.readouterr().out.splitlines()
        assert shlex.split(first)[-1].startswith("resume=")
        assert line.startswith("W&B      offline; ")
        (part / "run-a.wandb.synced").touch()
    console.ways_on(folder, config, result)
    assert "W&B" not in capsys.readouterr().out


@pytest.mark.parametrize("status", ["ok", "interrupted"])
def test_the_end_of_a_run_says_its_name_once(
    finished: Path, status: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, config = tmp_path / "runs" / "a_name", from_hydra(records.read_config(finished))
    (folder / "wandb" / "offline-run-1-a_name").mkdir(parents=True)
    (folder / "wandb" / "offline-run-1-a_name" / "run-1-a_name.wandb").touch()
    console.ways_on(folder, config, Result(status, "", cast(Any, None), 1, 1.0, None, None))
    assert capsys.readouterr().out.count("a_name") == 1


def exit_codes(folder: Path) -> list[int]:
    return [
        r.exit.exit_code for r in wandb_records(folder) if r.WhichOneof("record_type") == "exit"
    ]


@pytest.mark.system
def test_an_exception_in_the_run_ends_its_wandb_run_with_exit_code_1(
    here: TrainHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(training, "_remember_best", broken)
    with pytest.raises(ZeroDivisionError):
        here(tmp_path / "run", "wandb.mode=offline")
    until(lambda: exit_codes(tmp_path / "run"))  # it is written after finish() has returned
    assert exit_codes(tmp_path / "run") == [1]
    assert result_of(tmp_path / "run")["status"] == "error"


@pytest.mark.system
def test_two_runs_of_one_process_are_two_wandb_runs(here: TrainHere, tmp_path: Path) -> None:
    for name in ("one", "two"):
        here(tmp_path / name, "wandb.mode=offline")
    for name in ("one", "two"):
        until(partial(exit_codes, tmp_path / name))
    for name in ("one", "two"):
        logged = [row["step"] for row in wandb_history(tmp_path / name) if "step" in row]
        assert logged == list(range(101))


def test_variables_of_an_enclosing_run_are_not_inherited(offline: tuple[Path, str]) -> None:
    folder, _ = offline
    run = next(r.run for r in wandb_records(folder) if r.WhichOneof("record_type") == "run")
    assert run.run_id == files.read_json(folder / "provenance.json")["run_id"]
    assert run.display_name == "run"


# what may happen to it


@pytest.mark.system
def test_package_absent(few_names: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", ABSENT, str(ROOT / "train.py"), *words_of(few_names, folder)],
        capture_output=True, text=True, env=environment({}), timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one_warning(done.stderr, "W&B failed, the run continues without it")
    assert_unharmed(folder, finished)


@pytest.mark.system
def test_a_file_in_place_of_its_folder(few_names: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "wandb").write_text("mine")
    done = run_script("train.py", *words_of(few_names, folder))
    assert done.returncode == 0, done.stderr
    one_warning(done.stderr, "W&B failed, the run continues without it")
    assert_unharmed(folder, finished)
    assert (folder / "wandb").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights(few_names: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "wandb").mkdir(parents=True)
    (folder / "wandb").chmod(0o500)
    done = run_script("train.py", *words_of(few_names, folder))
    assert done.returncode == 0, done.stderr
    one_warning(done.stderr, "W&B failed, the run continues without it")
    assert_unharmed(folder, finished)


def children(parent: int) -> list[int]:
    """Processes that ``parent`` started (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the service in /proc")
@pytest.mark.faults
@pytest.mark.slow
def test_its_service_killed_on_the_way(few_names: Path, tmp_path: Path) -> None:
    folder, reference = tmp_path / "run", tmp_path / "reference"
    more = ("optim.steps=20000", "model.hidden=4")
    gate = tmp_path / "gate"
    env = held_train.environment(0, gate)
    process = start("tests/support/held_train.py", *words_of(few_names, folder), *more, env=env)
    until(lambda: held_train.waiting(gate))
    services = children(process.pid)
    assert services
    for service in services:
        os.kill(service, signal.SIGKILL)
    gate.touch()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    one_warning(err, "W&B failed, the run continues without it")
    words = (*words_of(few_names, reference), *more, "wandb.mode=disabled")
    assert run_script("train.py", *words).returncode == 0
    assert_unharmed(folder, reference)


@pytest.mark.system
def test_online_without_a_key_records_offline_and_asks_nothing(
    few_names: Path, finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    words = (*words_of(few_names, folder), "wandb.mode=online")
    env = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "no")}
    done = run_script("train.py", *words, env=env)
    assert done.returncode == 0, done.stderr
    one_warning(done.stderr, "no API key is known: recording offline")
    assert_unharmed(folder, finished)
    assert len(wandb_history(folder)) >= 301


@pytest.mark.faults
@pytest.mark.slow  # W&B tries for ten seconds
def test_online_without_network(few_names: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = (*words_of(few_names, folder), "wandb.mode=online")
    env = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": CLOSED, "HOME": str(tmp_path)}
    done = run_script("train.py", *words, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning:") == 1
    assert_unharmed(folder, finished)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"0" * 40 not in kept


@pytest.mark.faults
def test_online_with_a_key_that_is_none(few_names: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = (*words_of(few_names, folder), "wandb.mode=online")
    env = {"WANDB_API_KEY": "wrong", "WANDB_BASE_URL": CLOSED, "HOME": str(tmp_path)}
    done = run_script("train.py", *words, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning:") == 1
    assert_unharmed(folder, finished)


@pytest.mark.parametrize("runs", ["wandb/offline-run-*", "*/wandb/offline-run-*"])
def test_one_command_uploads_a_trial_and_all_its_repeats(tmp_path: Path, runs: str) -> None:
    trial = tmp_path / "my trials" / "0001"
    assert sync_command(trial) is None
    made = [trial / runs.replace("*", name) for name in ("0", "1")]
    for run in made:
        (run / "media").mkdir(parents=True)
    assert sync_command(trial) is None  # nothing was logged
    for run in made:
        (run / "run.wandb").touch()
    command = sync_command(trial)
    assert command is not None
    listed = subprocess.run(
        command.replace("wandb sync", "ls -d", 1), shell=True, capture_output=True, text=True
    )
    assert listed.stdout.splitlines() == list(map(str, made))


def test_a_tracker_warns_once_and_then_is_silent(tmp_path: Path) -> None:
    record = records.create(tmp_path / "run", config={}, overrides=[], facts={}, packages=[])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with track(Tracking(), record, {}) as tracker:
            for _ in range(3):
                tracker.log({"step": "not a number"})
                tracker.log({"no step": 1})
    assert len(caught) == 1
    assert "W&B failed, the run continues without it" in str(caught[0].message)
