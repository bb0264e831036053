"""A run that is stopped at any instant goes on to the bits of one that never was."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import pickle
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors.torch
import torch

from nplm import checkpoint
from nplm.app.identity import identity
from nplm.checkpoint import LAST, PREVIOUS, Checkpoint
from nplm.config import Config, Model, Sgd
from nplm.data import Splits
from nplm.lineage import of_another_split, start_record
from nplm.result import Progress
from nplm.state import resume
from nplm.training import fit
from sweepmore.errors import RunError
from sweepmore.runs.files import read_json
from sweepmore.runs.record import read_config
from tests.support import held_train
from tests.support.helpers import (
    TrainHere,
    assert_same_run,
    bits,
    result_of,
    rows_of,
    run_script,
    start,
    train_here,
    weights_of,
)
from tests.support.sweep_apps import PATIENCE, until

OPTIMISERS = {
    "sgd": ("optim=sgd", "optim.momentum=0.9", "optim.weight_decay=0.0001", "optim.lr=0.02"),
    "adamw": ("optim=adamw", "optim.ema=0.99", "optim.clip=1", "model.dropout=0.1",
              "model.layers=2"),
}  # fmt: skip
# Each report is of ten steps; every 25th evaluates.
STEPS = 5_000


def words_of(optim: str, few_names: Path, folder: Path) -> list[str]:
    return [
        "data=text", f"data.path={few_names}", "model.hidden=16", *OPTIMISERS[optim],
        f"optim.steps={STEPS}", "eval_every=0.05", "wandb.mode=disabled",
        f"hydra.run.dir={folder}",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(
    few_names: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of the run that nothing stopped, by optimiser; each is trained when asked for."""
    base = tmp_path_factory.mktemp("uninterrupted")

    @functools.cache
    def trained(optim: str) -> Path:
        done = run_script("train.py", *words_of(optim, few_names, base / optim))
        assert done.returncode == 0, done.stderr
        return base / optim

    return trained


@contextmanager
def held(words: list[str], gate: Path, step: int) -> Iterator[subprocess.Popen[str]]:
    """A run that waits at the report of ``step`` until ``gate`` is there."""
    process = start("tests/support/held_train.py", *words, env=held_train.environment(step, gate))

    def waits() -> bool:
        assert process.poll() is None, process.communicate()
        return bool(held_train.waiting(gate))

    try:
        until(waits)
        yield process
    finally:
        process.kill()
        process.communicate()


def stopped_by(
    signum: signal.Signals, words: list[str], folder: Path, step: int = 1_230
) -> tuple[int, str]:
    """Exit code and output of a run whose whole process group gets a signal on its way, as from
    a terminal."""
    gate = folder.parent / f"gate-{step}"
    with held(words, gate, step) as process:
        os.killpg(process.pid, signum)
        gate.touch()
        out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err
    return process.returncode, out


@pytest.mark.system
def test_a_stopped_run_resumes_to_the_same_bits(
    few_names: Path, uninterrupted: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    code, out = stopped_by(signal.SIGINT, words_of("sgd", few_names, folder), folder)
    assert code == 130
    result = result_of(folder)
    assert (result["status"], result["train_loss"]) == ("interrupted", None)
    assert result["steps"] == 1_231
    assert f"python train.py resume={os.path.relpath(folder)}" in out or str(folder) in out
    assert run_script("train.py", f"resume={folder}").returncode == 0
    assert_same_run(folder, uninterrupted("sgd"))
    assert len(read_json(folder / "provenance.json")["starts"]) == 2


@pytest.mark.system
@pytest.mark.usefixtures("hangups")
def test_a_killed_run_resumes_to_the_same_bits(
    few_names: Path, uninterrupted: Callable[[str], Path], tmp_path: Path
) -> None:
    """kill -9 after a checkpoint, further on than the checkpoint was; before that its terminal was
    closed."""
    folder = tmp_path / "run"
    words = words_of("sgd", few_names, folder)
    assert stopped_by(signal.SIGHUP, words, folder)[0] == 129
    assert result_of(folder)["status"] == "interrupted"
    with held([f"resume={folder}"], tmp_path / "gate", 2_500) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    assert checkpoint.load_last(folder).about["step"] == 2_250
    assert rows_of(folder)[-1]["step"] == 2_500
    assert run_script("train.py", f"resume={folder}").returncode == 0
    assert_same_run(folder, uninterrupted("sgd"))
    assert len(read_json(folder / "provenance.json")["starts"]) == 3


@pytest.mark.faults
@pytest.mark.slow
def test_a_run_resumed_twice_with_a_damaged_checkpoint_ends_with_the_same_bits(
    few_names: Path, uninterrupted: Callable[[str], Path], tmp_path: Path
) -> None:
    """SIGTERM, then Ctrl-C, then a flipped bit in the last checkpoint: the one before is used."""
    folder = tmp_path / "run"
    code, _ = stopped_by(signal.SIGTERM, words_of("adamw", few_names, folder), folder)
    assert (code, result_of(folder)["status"]) == (143, "interrupted")
    assert stopped_by(signal.SIGINT, [f"resume={folder}"], folder, 2_340)[0] == 130
    assert (folder / PREVIOUS).exists()
    (folder / LAST).write_bytes(DAMAGES["bit flip"]((folder / LAST).read_bytes()))
    assert run_script("train.py", f"resume={folder}").returncode == 0
    assert_same_run(folder, uninterrupted("adamw"))


@pytest.mark.system
def test_a_second_ctrl_c_ends_the_run_at_once(few_names: Path, tmp_path: Path) -> None:
    """The first one waits for its step, which takes an hour here."""
    folder, notes = tmp_path / "run", tmp_path / "notes"
    process = start(
        "train.py", "data=text", f"data.path={few_names}", "wandb.mode=disabled",
        "model=own", "model.target=tests.support.slow_model.Slow", f"hydra.run.dir={folder}",
        env={"SLOW_NOTES": str(notes)},
    )  # fmt: skip

    def noted() -> list[str]:
        return notes.read_text().splitlines() if notes.exists() else []

    try:
        until(lambda: noted() == ["in a step"])
        process.send_signal(signal.SIGINT)
        until(lambda: noted() == ["in a step", "remembered"])
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 130
    assert noted()[2:] == ["raised"]
    assert "Traceback" not in err


# every step, in this process

SMALL = Config(model=Model(emb=2, hidden=4), optim=Sgd(steps=12, momentum=0.5), eval_every=0.5)


@pytest.mark.parametrize("stop_at", range(1, 12))
def test_stopping_after_any_step_changes_no_bit(few: Splits, tmp_path: Path, stop_at: int) -> None:
    asked: list[int] = []

    def stop() -> int | None:
        asked.append(1)
        return signal.SIGTERM if len(asked) == stop_at else None

    rows: list[Progress] = []
    parts: list[Progress] = []
    whole = fit(SMALL, few, rows.append)
    ended = fit(SMALL, few, parts.append, folder=tmp_path, stop=stop)
    assert (ended.status, ended.signum, ended.steps) == ("interrupted", 15, stop_at)
    state = resume(SMALL, few, checkpoint.load_last(tmp_path))
    result = fit(SMALL, few, parts.append, state=state, folder=tmp_path)
    assert [bits(p) for p in result.model.parameters()] == [
        bits(p) for p in whole.model.parameters()
    ]
    told = [(p.step, p.minibatch_loss, p.smoothed_loss, p.dev_loss) for p in parts]
    assert told == [(p.step, p.minibatch_loss, p.smoothed_loss, p.dev_loss) for p in rows]


# damage

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "bit flip": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "bit flip in the header": lambda content: content.replace(b'"step', b'"stfp', 1).replace(
        b'\\"step', b'\\"stfp', 1
    ),
    "empty": lambda content: b"",
    "pickle": lambda content: pickle.dumps({"weights": [1.0]}),
    **{
        f"cut at {i}/16": (lambda content, i=i: content[: len(content) * i // 16])  # type: ignore[misc]  # binds i
        for i in range(1, 16)
    },
}


def saved(folder: Path, step: int) -> Checkpoint:
    state = Checkpoint({"model.C": torch.full((3, 2), float(step))}, {"step": step})
    checkpoint.save_last(folder, state)
    return state


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_falls_back_to_the_previous_or_is_named(
    damage: str, tmp_path: Path
) -> None:
    saved(tmp_path, 1)
    saved(tmp_path, 2)
    assert checkpoint.load_last(tmp_path).about["step"] == 2
    content = (tmp_path / LAST).read_bytes()
    damaged = DAMAGES[damage](content)
    assert damaged != content
    (tmp_path / LAST).write_bytes(damaged)
    assert checkpoint.load_last(tmp_path).about["step"] == 1
    (tmp_path / PREVIOUS).unlink()
    with pytest.raises(RunError, match=r"last\.safetensors"):
        checkpoint.load_last(tmp_path)


def test_a_future_version_is_named_and_not_guessed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "VERSION", 2)
    saved(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(RunError, match="has version 2, but this program reads version 1"):
        checkpoint.load_last(tmp_path)


def test_a_foreign_safetensors_file_is_named(tmp_path: Path) -> None:
    safetensors.torch.save_file({"C": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(RunError, match="was not written by this program"):
        checkpoint.load(tmp_path / "x.safetensors")


def test_a_training_state_of_other_settings_is_named(few: Splits, tmp_path: Path) -> None:
    """A checkpoint that was copied from another run: whole, and not this one's."""
    fit(SMALL, few, folder=tmp_path)
    other = dataclasses.replace(SMALL, model=Model(emb=2, hidden=5))
    with pytest.raises(RunError, match=r"model\.hidden=4 there, 5 here"):
        resume(other, few, checkpoint.load_last(tmp_path))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("nth", [1, 2])
def test_saving_leaves_a_checkpoint_at_every_instant(
    call: str, nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at each of its renames and syncs in turn, the old state is still the last."""
    saved(tmp_path, 1)
    saved(tmp_path, 2)
    real, calls = getattr(os, call), itertools.count(1)

    def stop_at_the_nth(*arguments: object) -> None:
        if next(calls) == nth:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, stop_at_the_nth)
        with pytest.raises(KeyboardInterrupt):
            saved(tmp_path, 3)
    assert checkpoint.load(tmp_path / LAST).about["step"] == 2
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["last.safetensors", "previous.safetensors"]


# start_from


def test_start_from_begins_a_new_run_with_the_weights_and_records_the_lineage(
    here: TrainHere, finished: Path, tmp_path: Path
) -> None:
    folder = here(tmp_path / "run", f"start_from={finished}", "optim.lr=0.01", "optim.steps=50")
    rows = rows_of(folder)
    assert rows[0]["dev_loss"] == result_of(finished)["dev_loss"]
    lineage = read_json(folder / "provenance.json")["start_from"]
    source = read_json(finished / "provenance.json")
    assert lineage == {
        "folder": str(finished),
        "run_id": source["run_id"],
        "fingerprint": source["data"]["fingerprint"],
    }
    assert weights_of(folder) != weights_of(finished)
    assert result_of(folder)["steps"] == 50


def test_weights_that_learned_from_another_split_are_told(
    here: TrainHere, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the next run and by the one after it, by a sweep's header, and not on the same split."""
    split = read_json(finished / "provenance.json")["data"]["fingerprint"]
    told = (
        f"the weights come from run, which learned from another split ({split[:8]}): "
        "its train and dev lines"
    )
    words = ("optim.steps=2", "data.seed=5")
    same = here(tmp_path / "same", f"start_from={finished}", "optim.steps=2")
    assert "another split" not in capsys.readouterr().err
    other = here(tmp_path / "other", f"start_from={same}", *words)
    assert told.replace("from run,", "from same,") in capsys.readouterr().err
    here(tmp_path / "after", f"start_from={other}", *words)
    assert told.replace("from run,", "from same,") in capsys.readouterr().err
    node = {**read_config(other), "start_from": str(finished)}
    with pytest.warns(UserWarning, match="which learned from another split"):
        identity(node)
    identity({**node, "data": {**node["data"], "seed": 42}})


def test_weights_of_a_run_that_is_gone_are_told(finished: Path, tmp_path: Path) -> None:
    """By what the record kept of it; one from before that was kept cannot tell."""
    start = start_record(finished)
    assert of_another_split(start, start["fingerprint"]) == ""
    gone = {**start, "folder": str(tmp_path / "gone")}
    assert of_another_split(gone, start["fingerprint"]) == ""
    assert "learned from another split" in of_another_split(gone, "0" * 32)
    del gone["fingerprint"]
    assert "which is gone" in of_another_split(gone, "0" * 32)
    assert of_another_split(None, "0" * 32) == ""


def test_a_kill_between_the_last_checkpoint_and_the_result_costs_nothing(
    few: Splits, tmp_path: Path
) -> None:
    config = Config(model=Model(emb=2, hidden=8), optim=Sgd(steps=40))
    ended = fit(config, few, folder=tmp_path)
    again = fit(config, few, state=resume(config, few, checkpoint.load(tmp_path / LAST)))
    assert (again.status, again.steps) == ("ok", 40)
    assert (again.dev_loss, again.train_loss) == (ended.dev_loss, ended.train_loss)


def test_data_that_changed_since_are_refused(
    here: TrainHere, few_names: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = Path(shutil.copy(few_names, tmp_path / "mine.txt"))
    folder = here(tmp_path / "run", f"data.path={mine}")
    (folder / "result.json").unlink()
    mine.write_text(mine.read_text() + "zoe\n")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        train_here(tmp_path / "unused", f"resume={folder}")
    assert stopped.value.code == 2
    assert "The data have changed since the run began" in capsys.readouterr().err
