"""What several test files do: run the root scripts, and read what they leave behind."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
from hydra.experimental.callback import Callback
from torch import Tensor

import train
from nplm import checkpoint
from nplm.app import for_hydra
from nplm.data import Split
from nplm.vocabulary import Vocabulary
from sweepmore.command.main import app as command
from sweepmore.compose import cli
from sweepmore.typed import dotted

ROOT = Path(__file__).resolve().parents[2]
# A port on which nothing listens: whoever goes to the network is refused at once.
CLOSED = "http://127.0.0.1:9"
NO_NETWORK = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), CLOSED)
# Ten lines whose counts can be done by hand.
TEN = ("abba", "ab", "abc", "cab", "ba", "bab", "cc", "acb", "ab", "ba")
TIMINGS = {"seconds", "steps_per_second"}


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours without W&B's variables, and ``more``."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    return {**inherited, **more}


def start(script: str, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A root script in a process group of its own, as a terminal would start it."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *words],
        env=environment(env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def run_script(
    script: str, *words: str, timeout: float = 240, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    process = start(script, *words, env=env)
    out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def call_script(script: ModuleType, *words: str) -> subprocess.CompletedProcess[str]:
    """What ``run_script`` returns, of a script that ``cli.command`` starts, from this process:
    for refusals and readings, where a start of its own would be 2 s of imports."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.command(script.Arguments, script.main, list(words))
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def run_command(
    *words: str, timeout: float = 240, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """``sweepmore WORDS``, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sweepmore", *words],
        env=environment(env or {}),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def call_command(*words: str) -> subprocess.CompletedProcess[str]:
    """What ``run_command`` returns, from this process: for refusals and readings."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            command(list(words), prog_name="sweepmore")
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def script_of(path: Path) -> ModuleType:
    """A script that no package holds, such as those in tools/, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Objective(Callback):
    """Keeps what a job returned to Hydra."""

    returned: Any = None

    def on_job_end(self, config: Any, job_return: Any, **kwargs: Any) -> None:
        Objective.returned = job_return.return_value


KEEP_OBJECTIVE = "+hydra.callbacks.objective._target_=tests.support.helpers.Objective"

TrainHere = Callable[..., Path]


def train_here(folder: Path, *words: str) -> Path:
    """train.py's own path through Hydra, in this process; argv is the caller's to restore."""
    sys.argv[:] = [str(ROOT / "train.py"), f"hydra.run.dir={folder}", *words]
    for_hydra.register()
    cli.hydra_app(train.main)
    return folder


def sweep_here(*words: str) -> None:
    """``train.py -m`` in this process, which should be a fork: it says who it is."""
    sys.argv[:] = [str(ROOT / "train.py"), "-m", *words]
    sys.orig_argv[1:] = sys.argv
    for_hydra.register()
    cli.hydra_app(train.main)


def result_of(folder: Path) -> dict[str, Any]:
    """``result.json``, read as strictly as JSON is defined."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads((folder / "result.json").read_text(), parse_constant=refuse)
    assert isinstance(content, dict)
    return content


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl`` without what a clock measured."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in row.keys() - TIMINGS} for row in rows]


def weights_of(folder: Path) -> dict[str, bytes]:
    """The bits of each tensor of ``model.safetensors``."""
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    return {name: bits(tensor) for name, tensor in tensors.items()}


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().reshape(-1).numpy().tobytes()


def shown(split: Split, vocabulary: Vocabulary) -> list[str]:
    """Examples as people read them: ``..e → m``."""
    return [
        f"{vocabulary.text(context)} → {vocabulary.tokens[target]}"
        for context, target in zip(split.contexts.tolist(), split.targets.tolist(), strict=True)
    ]


def wandb_records(folder: Path, named: str = "*") -> Iterator[Any]:
    """The protobuf records of a run's offline W&B file, in order; ``named`` tells several apart."""
    (path,) = folder.glob(f"wandb/offline-run-*/run-{named}.wandb")
    yield from wandb_log(path)


def wandb_log(path: Path) -> Iterator[Any]:
    """The records of one ``.wandb`` file.

    The file is a LevelDB log: 7 bytes of header, then blocks of 32 KiB of (crc, length, kind)
    chunks; kinds 1 and 4 end a record.
    """
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made at import

    content, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if (left := 32_768 - at % 32_768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        whole, at = whole + content[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""


def wandb_summary(records: Iterable[Any]) -> dict[str, Any]:
    """The last values of a W&B summary, by dotted keys."""
    summary: dict[str, Any] = {}
    for record in records:
        if record.WhichOneof("record_type") == "summary":
            for item in record.summary.update:
                name = item.key or ".".join(item.nested_key)
                summary |= dotted({name: json.loads(item.value_json)})
    return summary


def wandb_history(folder: Path) -> list[dict[str, Any]]:
    """What was logged to W&B, row by row."""
    return [
        {
            item.key or ".".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        for record in wandb_records(folder)
        if record.WhichOneof("record_type") == "history"
    ]


def refused(
    folder: Path, words: list[str], capsys: pytest.CaptureFixture[str], run: Callable[..., Path]
) -> str:
    """The one message of a run that is refused with exit code 2 and leaves no folder."""
    before = set(folder.parent.iterdir())
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        run(folder, *words)
    printed = capsys.readouterr()
    assert stopped.value.code == 2
    assert printed.err.startswith("error: ")
    assert printed.err.count("error:") == 1
    assert len(printed.err.splitlines()) <= 3
    assert set(folder.parent.iterdir()) == before
    return printed.err


def assert_same_run(folder: Path, reference: Path) -> None:
    """The same weights, metrics, result and best checkpoint, whatever the clock measured."""
    assert weights_of(folder) == weights_of(reference)
    assert rows_of(folder) == rows_of(reference)
    clock = {"seconds", "steps_per_second"}
    ours, theirs = result_of(folder), result_of(reference)
    assert {k: ours[k] for k in ours.keys() - clock} == {k: theirs[k] for k in ours.keys() - clock}
    assert checkpoint.load(folder / checkpoint.BEST).tensors.keys()
    for name, tensor in checkpoint.load(reference / checkpoint.BEST).tensors.items():
        assert bits(tensor) == bits(checkpoint.load(folder / checkpoint.BEST).tensors[name])
