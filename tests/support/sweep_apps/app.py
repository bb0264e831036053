"""The application that the sweep tests run: a setting says what it does."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import logging
import os
import random
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
import numpy
import optuna
import sqlalchemy
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from optuna.exceptions import UpdateFinishedTrialError

from sweepmore.compose.hydra_internals import VERSION_BASE
from sweepmore.errors import UserError
from sweepmore.process.signals import STOPPING, answered
from sweepmore.runs.files import write_json
from sweepmore.trial import current_trial

logging.getLogger("app").setLevel(logging.INFO)
HERE = Path(__file__).resolve().parent
# A gate that a test has forgotten; no test needs it.
PATIENCE = 600.0


def is_open() -> bool:
    """Whether the test has opened the gate of this trial, or of all."""
    trial = current_trial()
    names = ("all", *(() if trial is None else (str(trial.root),)))
    return any((HERE / "gates" / name).exists() for name in names)


def wait_for_gate() -> None:
    end = time.monotonic() + PATIENCE
    while not is_open():
        assert time.monotonic() < end, "nobody has opened the gate"
        time.sleep(0.01)


def add(cfg: DictConfig) -> float:
    return float((cfg.x - 2) ** 2 + cfg.y)


def gated(cfg: DictConfig) -> float:
    """Ends when the test wants it to; knows nothing of signals and studies."""
    wait_for_gate()
    return float(cfg.x)


def result(cfg: DictConfig) -> float:
    """Leaves something in its folder, as a trial that was finished does."""
    if cfg.get("gated"):
        wait_for_gate()
    write_json(Path(cfg.folder) / "result.json", {"x": cfg.x})
    return float(cfg.x)


def report(cfg: DictConfig) -> Any:
    """A curve that falls to x, and what it returns if it's told to stop."""
    trial = current_trial()
    for step in range(cfg.steps):
        if trial is not None and trial.report(step, cfg.x + 1 / (1 + step)):
            return -1000.0 if not cfg.two else [-1000.0, 0.0]
    return float(cfg.x) if not cfg.two else [float(cfg.x), -float(cfg.x)]


def reporting(cfg: DictConfig) -> float:
    """Reports, at least so many steps, until the test wants it to end or a report says stop."""
    trial = current_trial()
    assert trial is not None
    for step in itertools.count():
        if trial.report(step, cfg.x) or (step >= cfg.steps and is_open()):
            break
        time.sleep(0.03)
    return float(cfg.x)


def stuck(cfg: DictConfig) -> float:
    """Asks its report once and then is in a step until the test wants it to end."""
    trial = current_trial()
    assert trial is not None
    trial.report(0, cfg.x)
    for signum in answered():
        note_when_heard(signum)
    write_line("stuck.jsonl", trial.root)
    wait_for_gate()
    return float(cfg.x)


def note_when_heard(signum: int) -> None:
    """Leave a line in ``heard.jsonl`` once the worker's handler has ended: whether it raised."""
    handler = signal.getsignal(signum)
    assert callable(handler)

    def noted(signum: int, frame: FrameType | None) -> None:
        raised = True
        try:
            handler(signum, frame)
            raised = False
        finally:
            write_line("heard.jsonl", raised)

    signal.signal(signum, noted)


def write_line(name: str, what: object) -> None:
    with (HERE / name).open("a") as file:
        file.write(json.dumps(what) + "\n")


def fail(cfg: DictConfig) -> float:
    if cfg.x >= cfg.fails_from:
        raise ValueError(f"a mistake of the width {cfg.model.width}")
    return float(cfg.x)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit("no words")


RAISED: list[Callable[[], BaseException]] = [
    lambda: ValueError("bad \udcff byte"),
    Unspeakable,
    lambda: UserError("bad \udcff byte", cure="none"),
    lambda: KeyboardInterrupt("by itself"),
    GeneratorExit,
    asyncio.CancelledError,
    lambda: SystemExit(0),
    StopIteration,
    lambda: UpdateFinishedTrialError("of another study"),
    lambda: BaseExceptionGroup("two", [KeyboardInterrupt(), ValueError()]),
]


def raises(cfg: DictConfig) -> float:
    """Of the first trials each raises another thing."""
    if cfg.x < len(RAISED):
        raise RAISED[cfg.x]()
    return float(cfg.x)


def leave(cfg: DictConfig) -> float:
    """Leaves its own process without a word in the first attempts of some trials: x → code."""
    trial = current_trial()
    if trial is not None and trial.attempt < cfg.deaths and cfg.x in cfg.value:
        os._exit(cfg.value[cfg.x])
    return float(cfg.x)


def state() -> dict[str, Any]:
    """Of this process, as a task finds it."""
    return {
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "handlers": {int(one): str(signal.getsignal(one)) for one in STOPPING},
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0],
        "logging": [logging.root.manager.disable, logging.getLogger("app").level],
        "handlers of logging": len(logging.root.handlers),
        "filters": [str(one) for one in warnings.filters],
    }


def messy(cfg: DictConfig) -> float:
    """Leaves nothing in this process as it was; what it found is a line in ``found.jsonl``."""
    torch: Any = sys.modules.get("torch")
    found = state()
    found["threads"] = torch and torch.get_num_threads()
    found["words"] = sys.argv[1:]
    write_line("found.jsonl", found)
    draws = [random.random(), float(numpy.random.random())]
    draws += [] if torch is None else [float(torch.rand(()))]
    write_line("draws.jsonl", draws)
    gone = HERE / "gone"
    gone.mkdir()
    os.chdir(gone)
    if cfg.value == "home":
        shutil.rmtree(found["folder"])
    gone.rmdir()
    os.environ["MESS"] = "1"
    sys.argv[1:] = ["mess"]
    del os.environ["KEPT"]
    for signum in STOPPING:
        signal.signal(signum, signal.SIG_IGN)
    signal.alarm(600)
    logging.disable(logging.CRITICAL)
    logging.getLogger("app").setLevel(logging.ERROR)
    logging.root.handlers.clear()
    warnings.resetwarnings()
    random.seed(0)
    numpy.random.seed(0)
    if torch is not None:
        torch.manual_seed(0)
        torch.set_num_threads(2)
    return float(cfg.x)


def give(cfg: DictConfig) -> Any:
    return {"none": None, "nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"),
            "two": [1.0, 2.0], "text": "1.0"}.get(str(cfg.value), cfg.x)  # fmt: skip


def die(cfg: DictConfig) -> float:
    """Kills its own process in the first attempts of trials from x on."""
    trial = current_trial()
    if trial is not None and cfg.x >= cfg.fails_from and trial.attempt < cfg.deaths:
        os.kill(os.getpid(), 9)
    return float(cfg.x)


class OutOfMemoryError(RuntimeError):
    """As torch names it, which this application does not import."""


# The open file of a GPU's memory; its lock is kept as CUDA keeps memory, until the process ends.
MEMORY: dict[str, Any] = {}


def memory(cfg: DictConfig) -> float:
    """Has a part of its GPU's memory until its process ends; trials below ``fails_from`` need all.

    A lock of a file is the memory, so that the kernel knows who else has some. The first attempt of
    a trial that needs all begins when another process has some.
    """
    trial = current_trial()
    assert trial is not None
    gpu, needs_all = os.environ["CUDA_VISIBLE_DEVICES"], cfg.x < cfg.fails_from
    file = MEMORY.setdefault(gpu, (HERE / f"memory-{gpu}").open("a"))
    others = HERE / f"some-{gpu}"
    end = time.monotonic() + PATIENCE
    while needs_all and trial.attempt == 0 and not others.exists():
        assert time.monotonic() < end, "nobody has used the GPU"
        time.sleep(0.01)
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if needs_all else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate all of it.") from None
    if not needs_all:
        others.touch()
        wait_for_gate()
    return float(cfg.x)


def exhausted(cfg: DictConfig) -> float:
    raise OutOfMemoryError("CUDA out of memory")


def devour(cfg: DictConfig) -> float:
    """Takes so many MB in the first attempts of trials from x on, and then no more than it has."""
    trial = current_trial()
    if trial is not None and cfg.x >= cfg.fails_from and trial.attempt < cfg.deaths:
        taken = bytearray(cfg.value * 1_000_000)
        return float(len(taken))
    return float(cfg.x)


def oversleep(cfg: DictConfig) -> float:
    """The first trial's first attempt looks like that of another host which says nothing more,
    and goes on once the parent has reaped it."""
    trial = current_trial()
    assert trial is not None
    if trial.root == trial.attempt == 0:
        study = optuna.load_study(
            study_name=trial.study, storage=f"sqlite:///{HERE}/outputs/studies.db"
        )
        mine = study.get_trials()[0]
        for key, value in {"owner": {"host": "elsewhere"}, "lease": 0.0}.items():
            study._storage.set_trial_user_attr(mine._trial_id, key, value)
        while not study.get_trials(deepcopy=False)[0].state.is_finished():
            time.sleep(0.05)
    trial.report(0, cfg.x)
    return float(cfg.x)


def struck(cfg: DictConfig) -> float:
    """Gets SIGTERM in the middle of each transaction that it begins by a report."""

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "after_cursor_execute")
    def strike(*of: Any) -> None:
        if of[2].startswith("INSERT INTO trial_intermediate_values"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)  # where Python runs the handler

    trial = current_trial()
    for step in range(40):
        if trial is not None and trial.report(step, cfg.x):
            return float("nan")
    return float(cfg.x)


def seeded(cfg: DictConfig) -> float:
    trial = current_trial()
    if trial is not None:
        cfg.asked = trial.report(0, 1e9)
    return float(cfg.x + cfg.seed)


def noisy(cfg: DictConfig) -> float:
    return float(cfg.x + 0.001 * cfg.seed)


DOES: dict[str, Callable[[DictConfig], Any]] = {
    f.__name__: f
    for f in (
        add,
        gated,
        result,
        report,
        reporting,
        stuck,
        fail,
        give,
        die,
        memory,
        exhausted,
        devour,
        seeded,
        noisy,
        oversleep,
        struck,
        raises,
        leave,
        messy,
    )
}


def note(cfg: DictConfig) -> None:
    """One line a run in ``seen.jsonl``: what reached the application."""
    trial = current_trial()
    row = {
        "root": None if trial is None else trial.root,
        "attempt": None if trial is None else trial.attempt,
        "run_id": None if trial is None else trial.run_id,
        "repeat": None if trial is None else dict(trial.repeat),
        "pid": os.getpid(),
        "folder": os.path.relpath(str(HydraConfig.get().runtime.output_dir), str(HERE)),
        "earlier": [os.path.relpath(folder, HERE) for folder in trial.earlier] if trial else [],
        "width": cfg.model.width,
        "x": repr(cfg.x),
        "y": repr(cfg.y),
        "seed": cfg.seed,
        "extra": repr(cfg.get("extra")),
    }
    write_line("seen.jsonl", row)


@hydra.main(config_path="conf", config_name="config", **VERSION_BASE)
def main(cfg: DictConfig) -> Any:
    note(cfg)
    return DOES[cfg.does](cfg)


if __name__ == "__main__":
    main()
