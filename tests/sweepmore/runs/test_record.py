"""The folder of a run: complete, strict, atomic, and enough to know what was computed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from nplm import training
from nplm.config import OBJECTIVES, Model, from_hydra
from nplm.data import Splits
from nplm.result import DataFacts, MixFacts, Summary, result_json
from sweepmore.errors import ConfigError, RunError
from sweepmore.process.identity import this_process
from sweepmore.runs import files, finding
from sweepmore.runs import record as records
from tests.support.helpers import ROOT, TrainHere, result_of, rows_of

SCHEMA = json.loads((ROOT / "docs" / "result.schema.json").read_text())
VALID = jsonschema.Draft202012Validator(SCHEMA)


# what lies in the folder


def test_folder_is_complete_without_wandb(finished: Path) -> None:
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert files == {
        "config.yaml", "overrides.yaml", "provenance.json", "metrics.jsonl", "result.json",
        "model.safetensors", "samples.txt", "figures/loss.png", "figures/embeddings.png",
        "checkpoints/last.safetensors", "checkpoints/best.safetensors",
    }  # fmt: skip


def test_config_yaml_is_the_whole_config(finished: Path, few_names: Path) -> None:
    config = from_hydra(records.read_config(finished))
    assert (config.seed, config.optim.steps) == (7, 300)
    assert isinstance(config.model, Model)
    assert config.model.hidden == 16
    assert config.data.path == str(few_names)
    assert yaml.safe_load((finished / "overrides.yaml").read_text())[:2] == [
        "data=text",
        f"data.path={few_names}",
    ]


def test_metrics_hold_dev_loss_at_evaluations_and_minibatch_loss_at_reports(
    finished: Path,
) -> None:
    rows = rows_of(finished)
    assert [row["step"] for row in rows if "dev_loss" in row] == [0, 75, 150, 225, 300]
    assert [row["step"] for row in rows if "minibatch_loss" in row] == list(range(1, 301))
    assert set(rows[0]) == {"step", "lr", "dev_loss", "train_loss"}
    assert set(rows[1]) == {"step", "lr", "minibatch_loss", "smoothed_loss", "log10_loss"}


def test_model_holds_the_tensors_of_the_lecture(finished: Path) -> None:
    import safetensors.torch

    tensors = safetensors.torch.load_file(finished / "model.safetensors")
    V = len(tensors["C"])
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes == {"C": (V, 2), "W1": (6, 16), "b1": (16,), "W2": (16, V), "b2": (V,)}


# result.json


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_good_result_fits_the_schema(finished: Path, few: Splits) -> None:
    result = result_of(finished)
    VALID.validate(result)
    assert (result["status"], result["steps"], result["seed"]) == ("ok", 300, 7)
    assert result["dev_loss"] == rows_of(finished)[-1]["dev_loss"]
    assert result["steps_per_second"] == pytest.approx(300 / result["seconds"])
    assert result["data"] == {
        "name": "few_names.txt",
        "fingerprint": few.fingerprint,
        "train_examples": len(few.train),
        "dev_examples": len(few.dev),
        "dev_in_train": 0,
    }


def test_diverged_result_fits_the_schema(here: TrainHere, tmp_path: Path) -> None:
    result = result_of(here(tmp_path / "run", "optim.lr=1e20"))
    VALID.validate(result)
    assert result["status"] == "diverged"


def test_the_typed_record_has_the_fields_of_the_schema_in_its_order() -> None:
    """But for ``test``, which a run must not know; objectives are among them."""
    fields = [field.name for field in dataclasses.fields(Summary)]
    assert fields == [name for name in SCHEMA["properties"] if name != "test"]
    for name, record in (("data", DataFacts), ("mix", MixFacts)):
        properties = SCHEMA["properties"][name]["properties"]
        assert [field.name for field in dataclasses.fields(record)] == list(properties)
    assert set(OBJECTIVES) <= set(fields)


def test_interrupted_and_pruned_results_fit_the_schema(few: Splits) -> None:
    config = from_hydra({"optim": {"name": "sgd", "steps": 20}, "eval_every": 0.5})
    interrupted = training.fit(config, few, stop=lambda: 15)
    pruned = training.fit(config, few, lambda at: at.step > 2)
    for result, status in ((interrupted, "interrupted"), (pruned, "pruned")):
        content = result_json(config, few, result)
        VALID.validate(content)
        assert content["status"] == status


def broken(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("a bug")


def test_a_bug_raises_and_its_result_fits_the_schema(
    here: TrainHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_remember_best", broken)
    with pytest.raises(ZeroDivisionError):
        here(tmp_path / "run")
    result = result_of(tmp_path / "run")
    VALID.validate(result)
    assert (result["status"], result["reason"]) == ("error", "ZeroDivisionError: a bug")


@pytest.mark.parametrize(
    "change",
    [{"status": "failed"}, {"dev_loss": None}, {"train_loss": "2.1"}, {"steps": 1.5},
     {"extra": 1}, {"reason": "why"}, {"status": "diverged", "reason": "nan"}],
)  # fmt: skip
def test_schema_refuses(finished: Path, change: dict[str, Any]) -> None:
    assert not VALID.is_valid({**result_of(finished), **change})


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


# provenance


def test_provenance_says_who_what_and_where(finished: Path) -> None:
    provenance = files.read_json(finished / "provenance.json")
    assert provenance["seed"] == 7
    assert provenance["data"] == result_of(finished)["data"]
    assert provenance["python"] == platform.python_version()
    assert {"torch", "numpy", "hydra-core", "wandb", "sweepmore"} <= set(provenance["versions"])
    assert all(provenance["versions"].values())
    (start,) = provenance["starts"]
    assert (start["host"], start["pid"]) == (platform.node(), os.getpid())


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def checkout(few_names: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of its own with our script, a change of it, and a run in its outputs/."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copy(ROOT / "train.py", folder / "train.py")
    (folder / ".gitignore").write_text("outputs/\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "all")
    with (folder / "train.py").open("a") as file:
        file.write("# a change of mine\n")
    train_in(folder, few_names)
    return folder


def train_in(folder: Path, few_names: Path, *more: str) -> None:
    words = ["data=text", f"data.path={few_names}", "experiment=smoke", "wandb.mode=disabled"]
    done = subprocess.run(
        [sys.executable, str(folder / "train.py"), *words, *more],
        cwd=few_names.parent, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def runs_of(folder: Path) -> list[Path]:
    return sorted((folder / "outputs" / "runs").iterdir())


@pytest.mark.system
def test_provenance_holds_commit_and_uncommitted_changes(checkout: Path) -> None:
    provenance = files.read_json(runs_of(checkout)[0] / "provenance.json")
    assert provenance["commit"] == git(checkout, "rev-parse", "HEAD").strip()
    assert "+# a change of mine" in provenance["dirty_diff"]
    assert provenance["diff_cut"] is False


@pytest.mark.system
def test_start_from_last_finds_the_last_run_from_any_folder(
    checkout: Path, few_names: Path
) -> None:
    train_in(checkout, few_names, "start_from=last")
    first, second = runs_of(checkout)
    assert files.read_json(second / "provenance.json")["start_from"]["folder"] == str(first)


# atomic files


def test_write_atomic_leaves_the_old_content_when_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.json"
    files.write_atomic(path, "old")
    for call in ("fsync", "chmod", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, broken)
            with pytest.raises(ZeroDivisionError):
                files.write_atomic(path, "new")
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]
    files.write_atomic(path, "new")
    assert path.read_text() == "new"


def test_a_full_disk_leaves_the_old_content(tmp_path: Path) -> None:
    """The file-size limit of a process stands for a full disk: writes fail half way."""
    code = (
        "import resource, signal, sys, pathlib\n"
        "from sweepmore.runs.record import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "write_atomic(pathlib.Path(sys.argv[1]), b'x' * 100_000)\n"
    )
    path = tmp_path / "file"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert "File too large" in done.stderr
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# metrics


def new_record(folder: Path) -> records.Record:
    return records.create(folder, config={"seed": 1}, overrides=[], facts={}, packages=["torch"])


def test_a_torn_last_row_is_dropped(tmp_path: Path) -> None:
    record = new_record(tmp_path / "run")
    with record.metrics() as log:
        log({"step": 1, "loss": 2.5}, sync=True)
        log({"step": 2, "loss": 2.25})
    with record.metrics_path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert record.rows() == [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.25}]


def test_a_synced_row_is_on_disk_before_the_next_step(tmp_path: Path) -> None:
    record = new_record(tmp_path / "run")
    with record.metrics() as log:
        log({"step": 1})
        log({"step": 2}, sync=True)
        assert record.rows() == [{"step": 1}, {"step": 2}]


def test_reopening_cuts_the_rows_after_the_checkpoint(tmp_path: Path) -> None:
    record = new_record(tmp_path / "run")
    with record.metrics() as log:
        for step in range(5):
            log({"step": step})
    with record.metrics_path.open("a") as file:
        file.write('{"step": 5')
    record.finish({"status": "interrupted"})
    again = records.reopen(record.folder, last_step=2)
    assert again.rows() == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert (again.run_id, again.attempt) == (record.run_id, 1)
    assert not (record.folder / "result.json").exists()


def test_damaged_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"status": ')
    with pytest.raises(RunError, match=r"result\.json is not JSON"):
        files.read_json(path)


# finding runs


@pytest.fixture
def three_runs(tmp_path: Path) -> Path:
    """Runs a, b, c in this order; c holds no weights."""
    for i, name in enumerate("abc"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").touch()
        os.utime(folder / "config.yaml", (1000 + i, 1000 + i))
        if name != "c":
            (folder / "weights").touch()
    return tmp_path


def test_last_is_the_run_that_began_last_among_those_that_hold_the_file(three_runs: Path) -> None:
    assert finding.find_run("last", three_runs, "weights").name == "b"
    assert finding.find_run("last", three_runs, "config.yaml").name == "c"


def test_a_run_is_found_by_path_and_by_name(three_runs: Path) -> None:
    assert finding.find_run(str(three_runs / "runs" / "a"), three_runs, "weights").name == "a"
    assert finding.find_run("a", three_runs, "weights") == three_runs / "runs" / "a"


def test_no_run_and_a_misspelt_one_are_named(three_runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Train one first"):
        finding.find_run("last", tmp_path / "nothing", "weights")
    (three_runs / "runs" / "first-run").mkdir()
    (three_runs / "runs" / "first-run" / "config.yaml").touch()
    with pytest.raises(RunError, match=r"Did you mean first-run\? Runs: b, a\."):
        finding.find_run("frist-run", three_runs, "weights")


def stopped(folder: Path, status: str | None, **start: Any) -> None:
    """A run with this status (None: it did not end) that began by ``start``."""
    if status is not None:
        (folder / "result.json").write_text(json.dumps({"status": status}))
    begun = {"time": "2026-01-01T00:00:00+00:00", **start}
    (folder / "provenance.json").write_text(json.dumps({"starts": [begun]}))


@pytest.mark.skipif(sys.platform != "linux", reason="the start of a process is read from /proc")
def test_last_to_resume_is_the_last_that_did_not_come_to_its_end(three_runs: Path) -> None:
    a, b, c = (three_runs / "runs" / name for name in "abc")
    (c / "weights").touch()
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            ticks = Path(f"/proc/{other.pid}/stat").read_text().split()[21]
            started = {"ticks": int(ticks), "pid": other.pid}
            stopped(c, None, **{**this_process(), **started})  # still on its way
            stopped(b, "ok")
            for status in ("interrupted", "error", None):
                stopped(a, status)
                found = finding.find_run("last", three_runs, "weights", stopped=True)
                assert found == a.resolve()
                (a / "result.json").unlink(missing_ok=True)
        finally:
            other.kill()
    with pytest.raises(RunError, match=r"is not a run.*\n.*Interrupted: c, a\.$"):
        finding.find_run("d", three_runs, "weights", stopped=True)
    for folder in (a, c):
        stopped(folder, "diverged")
    with pytest.raises(RunError, match=r"No run in .* is interrupted.\n.*start_from=last"):
        finding.find_run("last", three_runs, "weights", stopped=True)


def test_of_many_runs_the_first_ten_are_listed() -> None:
    assert finding.listed("Runs", []) == "Runs: none."
    assert finding.listed("Runs", list("abcdefghij")) == "Runs: a, b, c, d, e, f, g, h, i, j."
    assert finding.listed("Runs", list("abcdefghijk")).endswith("i, j, ….")


# finding the run of a trial


@pytest.fixture
def studies(three_runs: Path) -> Path:
    """Studies old and new with trials 0 and 17, of which 17 of new has repeats; a confirmation
    that began last; the weights of 0 of new are missing."""
    runs = ("old/0000", "old/0017", "new/0000", "new/0017/0", "new/0017/1", "new.confirm/0000/0")
    for k, name in enumerate(runs):
        folder = three_runs / "studies" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").touch()
        os.utime(folder / "config.yaml", (1000 + k, 1000 + k))
        (folder / "result.json").write_text('{"status": "diverged"}')
        if name != "new/0000":
            (folder / "weights").touch()
    return three_runs


@pytest.mark.parametrize(
    ("study", "trial", "found"),
    [("old", 17, "old/0017"), ("new", 17, "new/0017/0"), (None, 17, "new/0017/0"),
     ("last", 17, "new/0017/0"), ("new.confirm", 0, "new.confirm/0000/0")],
)  # fmt: skip
def test_a_trial_is_a_run(studies: Path, study: str | None, trial: int, found: str) -> None:
    folder = finding.find_named(None, study, trial, studies, "weights")
    assert folder == (studies / "studies" / found).resolve()


def test_without_a_trial_a_run_is_meant(studies: Path) -> None:
    assert finding.find_named(None, None, None, studies, "weights").name == "b"
    assert finding.find_named("a", None, None, studies, "weights").name == "a"


def test_the_last_study_is_the_one_whose_last_run_began_last(studies: Path) -> None:
    """Whatever was written into another one later."""
    (studies / "studies" / "old" / "trials.csv").touch()
    assert finding.last_study(studies) == "new"
    os.utime(studies / "studies" / "old" / "0017" / "config.yaml", (2000, 2000))
    assert finding.last_study(studies) == "old"


@pytest.mark.parametrize(
    ("study", "trial", "told", "cure"),
    [("new", 1, "new has no run of a trial 1.", "It has 2, from 0 to 17; a retried trial keeps"),
     ("neww", 0, "There is no study neww in ", "Known: new, new.confirm, old. Did you mean new?"),
     ("new", 0, "Trial 0 of new holds no weights: its status is diverged.", "whose status is ok")],
)  # fmt: skip
def test_a_trial_that_is_not_there(
    studies: Path, study: str, trial: int, told: str, cure: str
) -> None:
    with pytest.raises(RunError) as caught:
        finding.find_named(None, study, trial, studies, "weights")
    assert caught.value.problem.startswith(told)
    assert cure in caught.value.cure


@pytest.mark.parametrize(
    ("asked", "told"),
    [(("a", None, 17), "run=a and trial=17 are two runs."), ((None, "new", None), "Which trial")],
)
def test_one_run_is_named_and_no_more(
    studies: Path, asked: tuple[str | None, str | None, int | None], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        finding.find_named(*asked, studies, "weights")


def test_a_trial_of_another_application_is_no_run_and_is_there_all_the_same(
    studies: Path,
) -> None:
    (studies / "studies" / "own" / "0003").mkdir(parents=True)
    with pytest.raises(
        RunError, match=r"own/0003 holds no config.yaml\.\n  Its application writes none"
    ):
        finding.find_named(None, "own", 3, studies, "weights")


@pytest.mark.parametrize(
    ("kept", "told"),
    [(("config.yaml", "weights"), None), (("config.yaml",), "holds no weights"),
     ((), "Its application writes none"), (None, "The run .*/0003 is gone.")],
)  # fmt: skip
def test_the_run_that_a_study_names_has_its_file_or_one_message(
    tmp_path: Path, kept: tuple[str, ...] | None, told: str | None
) -> None:
    folder = tmp_path / "studies" / "own" / "0003"
    if kept is not None:
        folder.mkdir(parents=True)
        for name in kept:
            (folder / name).touch()
    if told is None:
        assert finding.require(folder, "weights") == folder
    else:
        with pytest.raises(RunError, match=told):
            finding.require(folder, "weights")


def test_no_study_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no study in"):
        finding.find_named(None, "last", 0, tmp_path, "weights")


def test_when_a_run_began_its_provenance_says(studies: Path) -> None:
    """Not the age of its files, which a copy of the folder does not keep."""
    for name, day in (("old/0017", 2), ("new/0017/1", 1)):
        starts = [{"time": f"2026-01-0{day}T00:00:00+00:00"}]
        path = studies / "studies" / name / "provenance.json"
        path.write_text(json.dumps({"starts": starts}))
    assert finding.last_study(studies) == "old"


@pytest.mark.parametrize("filled", [True, False])
def test_a_folder_is_made_whole_or_not_at_all(tmp_path: Path, filled: bool) -> None:
    def fill(fresh: Path) -> None:
        (fresh / "a").write_text("1")
        assert not (tmp_path / "made").exists()
        if not filled:
            raise OSError("full")

    with contextlib.nullcontext() if filled else pytest.raises(OSError, match="full"):
        files.make_whole(tmp_path / "made", fill)
    assert [path.name for path in tmp_path.iterdir()] == (["made"] if filled else [])
    if filled:
        assert (tmp_path / "made").stat().st_mode & 0o777 == 0o755
        with pytest.raises(OSError, match="made"):
            files.make_whole(tmp_path / "made", fill=lambda fresh: (fresh / "a").touch())
        assert [path.name for path in tmp_path.iterdir()] == ["made"]
        assert (tmp_path / "made" / "a").read_text() == "1"
