"""W&B mirrors a run; whatever happens to it, the run's own result is the same."""

from __future__ import annotations

import json
import os
import re
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
from nplm.app.beginning import UNTOLD
from nplm.config import from_hydra
from nplm.result import Result
from sweepmore.command.pages import meant
from sweepmore.process.invocation import sweepmore
from sweepmore.runs import files, provenance
from sweepmore.runs import record as records
from sweepmore.runs.files import read_json
from sweepmore.runs.offline import id_of, is_synced, offline_runs, superseded_ids, sync_command
from sweepmore.runs.places import Place
from sweepmore.runs.record import read_config
from sweepmore.runs.tracking import UNFINISHED, About, Tracking, of_trial, track
from sweepmore.trial import SweepTrial
from sweepmore.typed import dotted
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
    wandb_summary,
    weights_of,
)
from tests.support.sweep_apps import PATIENCE, until
from tests.support.wandb_stub import serve

ABSENT = (  # train.py as if the package were not installed
    "import runpy, sys; sys.modules['wandb'] = None; "
    "sys.argv[0] = sys.argv.pop(1); runpy.run_path(sys.argv[0], run_name='__main__')"
)

AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@b")


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
    logged = {row["step"]: row for row in wandb_history(folder) if "lr" in row}
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 301
    for row in rows:
        assert {key: logged[row["step"]].get(key) for key in row} == row


def test_offline_run_holds_config_summary_figure_and_samples(offline: tuple[Path, str]) -> None:
    folder, _ = offline
    content = list(wandb_records(folder))
    run = next(record.run for record in content if record.WhichOneof("record_type") == "run")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    told = {key: value for key, value in read_config(folder).items() if key not in UNTOLD}
    assert {key: value for key, value in config.items() if key != "_wandb"} == told
    assert config["model"]["hidden"] == 16
    assert (run.project, run.job_type) == ("sweepmore", "train")
    media = {key for row in wandb_history(folder) for key in row}
    for name in ("loss", "embeddings", "samples"):
        assert any(key.split(".")[0] == name for key in media)


def test_offline_run_has_its_result_and_its_least_losses_as_its_summary(
    offline: tuple[Path, str],
) -> None:
    folder, _ = offline
    summary = wandb_summary(wandb_records(folder))
    result = dotted({"result": result_of(folder)})
    assert {key: summary[key] for key in result} == result
    for key in ("dev_loss", "train_loss"):
        assert summary[f"{key}.min"] == min(row[key] for row in rows_of(folder) if key in row)
        assert key not in summary
    steps = {m.name or m.glob_name: m.step_metric for m in records_of(folder, "metric")}
    assert steps == {"*": "step", "dev_loss": "step", "train_loss": "step"}


def tags_of(folder: Path) -> list[list[str]]:
    """The tags of a run whenever they were told."""
    return [list(run.tags) for run in records_of(folder, "run")]


def test_offline_run_ends_with_its_status_as_a_tag(offline: tuple[Path, str]) -> None:
    assert tags_of(offline[0]) == [["a", "b", UNFINISHED], ["a", "b", "ok"]]


def test_a_single_run_keeps_its_console(offline: tuple[Path, str]) -> None:
    folder, out = offline
    kept = [
        r.output_raw.line
        for r in wandb_records(folder)
        if r.WhichOneof("record_type") == "output_raw"
    ]
    (log,) = folder.glob("wandb/offline-run-*/files/output.log")
    for text in ("".join(kept), log.read_text()):
        assert "start    dev loss" in text
        assert "step 300/300" in text
    assert "step 300/300" in out


def test_the_weights_are_an_artifact_with_what_they_reach(offline: tuple[Path, str]) -> None:
    folder, _ = offline
    (model,) = [each for each in records_of(folder, "artifact") if each.type == "model"]
    (entry,) = model.manifest.contents
    result = result_of(folder)
    assert (entry.path, Path(entry.local_path)) == (
        "model.safetensors",
        folder / "model.safetensors",
    )
    assert json.loads(model.metadata) == {
        "dev_loss": result["dev_loss"], "data": result["data"]["name"],
        "fingerprint": result["data"]["fingerprint"],
    }  # fmt: skip


def test_an_artifact_can_be_declined(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.touch()
    for artifact, number in (("auto", 1), ("never", 0)):
        record = records.create(tmp_path / artifact, config={}, overrides=[], facts={}, packages=[])
        with track(Tracking(artifact=cast(Any, artifact)), record, About()) as tracker:
            tracker.model(path, {})
        until(partial(exit_codes, record.folder))
        assert len(records_of(record.folder, "artifact")) == number


# Names that 300 steps of a model with three tokens of context do not write by chance.
LINES = [f"xqzv{a}{b}{c}jkwxqzv" for a in "abcdefgh" for b in "ijklmnop" for c in "qrstuv"]


@pytest.mark.system
def test_no_data_line_is_uploaded(tmp_path: Path) -> None:
    """Neither of test nor of the others: not in the log, its files, or an artifact's."""
    data, folder = tmp_path / "lines.txt", tmp_path / "run"
    data.write_text("\n".join(LINES) + "\n")
    words = ("data=text", f"data.path={data}", "experiment=smoke", f"hydra.run.dir={folder}")
    done = run_script("train.py", *words)
    assert done.returncode == 0, done.stderr
    content = list(wandb_records(folder))
    artifacts = [each.manifest for each in records_of(folder, "artifact")]
    sent = [Path(entry.local_path) for manifest in artifacts for entry in manifest.contents]
    kept = [path for path in (folder / "wandb").rglob("*") if path.is_file()]
    assert folder / "model.safetensors" in sent
    assert any(path.suffix == ".wandb" for path in kept)
    texts = [str(record) for record in content]
    texts += [path.read_bytes().decode(errors="replace") for path in {*sent, *kept}]
    assert not [line for line in LINES for text in texts if line in text]
    assert any(line in done.stdout for line in LINES)  # the terminal shows one as an example


def test_changed_code_is_kept_and_changed_data_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("app.py", "conf.yaml", "lines.txt", "lines.yaml")
    for name in names:
        (tmp_path / name).write_text("before\n")
    origin = ["remote", "add", "origin", "https://me:secret@example.org/me/app.git"]
    for words in (["init", "-q"], ["add", "."], [*AUTHOR, "commit", "-qm", "begin"], origin):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    for name in names:
        (tmp_path / name).write_text(f"changed {name}\n")
    monkeypatch.setenv("SWEEPMORE_ROOT", str(tmp_path))
    provenance.code.cache_clear()
    provenance.remote.cache_clear()
    config = {"data": {"path": str(tmp_path / "lines.yaml")}}
    record = records.create(tmp_path / "run", config={}, overrides=[], facts={}, packages=[])
    with track(Tracking(), record, About(config)) as tracker:
        assert tracker.run_id
    provenance.code.cache_clear()
    provenance.remote.cache_clear()
    until(partial(exit_codes, record.folder))
    (patch,) = record.folder.glob("wandb/offline-run-*/files/diff.patch")
    assert set(re.findall(r"\+changed (.*)", patch.read_text())) == {"app.py", "conf.yaml"}
    run, _ = records_of(record.folder, "run")
    assert run.git.commit == read_json(record.folder / "provenance.json")["commit"]
    assert run.git.remote_url == "https://example.org/me/app.git"
    saved = [
        r.files.files
        for r in wandb_records(record.folder)
        if r.WhichOneof("record_type") == "files"
    ]
    assert "diff.patch" in [file.path for files in saved for file in files]


@pytest.mark.system
def test_a_resumed_run_is_one_run_on_the_server(few_names: Path, tmp_path: Path) -> None:
    folder, gate = tmp_path / "run", tmp_path / "gate"
    more = ("optim.steps=5000", "model.hidden=4", "eval_every=0.05")
    env = held_train.environment(1_230, gate)
    process = start("tests/support/held_train.py", *words_of(few_names, folder), *more, env=env)
    until(lambda: held_train.waiting(gate))
    process.send_signal(signal.SIGINT)
    gate.touch()
    process.communicate(timeout=PATIENCE)
    assert run_script("train.py", f"resume={folder}").returncode == 0
    parts = offline_runs(folder)
    assert len(parts) == 2
    assert {id_of(part) for part in parts} == {read_json(folder / "provenance.json")["run_id"]}
    with serve() as stub:
        said = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", *map(str, parts)], cwd=tmp_path,
            env=environment({**stub.env(), "HOME": str(tmp_path)}), capture_output=True, text=True,
        )  # fmt: skip
        assert all(map(is_synced, parts)), said.stderr
        (run,) = {v["name"] for v in stub.variables_of("UpsertBucket")}
        rows = stub.streamed(run, "wandb-history.jsonl")
        steps = [row["step"] for row in rows if "dev_loss" in row]
        assert steps == sorted({row["step"] for row in rows_of(folder) if "dev_loss" in row})
        tags = [v["tags"] for v in stub.variables_of("UpsertBucket")]
        assert list(dict.fromkeys(tag for each in tags for tag in each)) == [
            UNFINISHED,
            "interrupted",
            "ok",
        ]


RESUMING = """
import sys; from pathlib import Path
from sweepmore.runs import record
from sweepmore.runs.tracking import *
folder, mode, begin, end = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
empty = dict(config={}, overrides=[], facts={}, packages=[])
opened = record.reopen(folder, begin) if begin else record.create(folder, **empty)
with track(Tracking(mode=mode), opened, About(best={"loss": "min"})) as tracker:
    for step in range(begin, end, 2):
        tracker.log({"step": step, "loss": 30.0 - step})
"""


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_run_that_repeats_steps_after_a_kill_is_one_run(mode: str, tmp_path: Path) -> None:
    """In processes of their own, as a run and its continuation are."""
    folder = tmp_path / "run"
    with serve() as stub:
        env = environment({**stub.env(), "HOME": str(tmp_path)})
        for begin, end in ((0, 12), (6, 18)):
            words = [sys.executable, "-c", RESUMING, str(folder), mode, str(begin), str(end)]
            done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=PATIENCE)
            assert done.returncode == 0, done.stderr
            assert "recording offline" not in done.stderr
            assert "ignored" not in done.stderr
        if mode == "offline":
            until(lambda: len([*folder.glob("wandb/offline-run-*/*.wandb")]) == 2)
            sync = [sys.executable, "-m", "wandb", "sync", *map(str, offline_runs(folder))]
            subprocess.run(sync, env=env, cwd=tmp_path, capture_output=True, timeout=PATIENCE)
        (run,) = {v["name"] for v in stub.variables_of("UpsertBucket")}
        rows = stub.streamed(run, "wandb-history.jsonl")
        bodies = [body.get("files", {}).get("wandb-history.jsonl") for body in stub.streams[run]]
    repeated = [] if mode == "online" else [6, 8, 10]
    assert [row["step"] for row in rows] == [0, 2, 4, 6, 8, 10, *repeated, 12, 14, 16]
    assert {row["step"]: row["loss"] for row in rows} == {k: 30.0 - k for k in range(0, 18, 2)}
    before = 0
    for chunk in filter(None, bodies):  # each is written behind what is there
        assert chunk["offset"] == before
        before += len(chunk["content"])


def test_an_attempt_that_begins_again_is_another_run(tmp_path: Path) -> None:
    def begun(attempt: int) -> records.Record:
        return records.create(
            tmp_path, config={}, overrides=[], facts={}, packages=[], run_id="s-1", attempt=attempt
        )

    assert [begun(k).tracked_id for k in (0, 1, 2)] == ["s-1", "s-1-r1", "s-1-r2"]
    assert superseded_ids(tmp_path) == ["s-1", "s-1-r1"]
    again = records.reopen(tmp_path, -1)
    assert (again.tracked_id, again.attempt, again.resumed) == ("s-1-r2", 3, True)


def test_what_w_and_b_refuses_is_cut(tmp_path: Path) -> None:
    record = records.create(tmp_path / "run", config={}, overrides=[], facts={}, packages=[])
    trial = SweepTrial("s" * 100, 0, 0, "id", params={"a.b": "x" * 100})
    about, settings = of_trial(About(), Tracking(), trial)
    with track(settings, record, about) as tracker:
        assert tracker.run_id
    until(partial(exit_codes, record.folder))
    run, _ = records_of(record.folder, "run")
    assert len(run.display_name) == 128
    assert max(map(len, run.tags)) == 64


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
    return [record.exit_code for record in records_of(folder, "exit")]


def records_of(folder: Path, kind: str) -> list[Any]:
    """What W&B was told of one kind, in order."""
    content = list(wandb_records(folder))
    return [getattr(record, kind) for record in content if record.WhichOneof("record_type") == kind]


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
        logged = [row["step"] for row in wandb_history(tmp_path / name) if "lr" in row]
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
        with track(Tracking(), record, About()) as tracker:
            for _ in range(3):
                tracker.log({"step": "not a number"})
                tracker.log({"no step": 1})
    assert len(caught) == 1
    assert "W&B failed, the run continues without it" in str(caught[0].message)
