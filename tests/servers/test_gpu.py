"""On a real GPU: ``make test-gpu``. The rest of the suite needs none, and simulates several.

Losses are compared with those of the CPU, which draws the same minibatches: in float32 the sums of
both differ in the last bits, so they agree to 1e-5 and not to the bit.
"""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path

import optuna
import pytest
import torch
from sqlalchemy.engine import URL

from nplm import checkpoint
from nplm.config import AdamW, Config, Model, Sgd
from nplm.data import Splits
from nplm.result import Progress, Result
from nplm.state import resume
from nplm.training import fit
from sweepmore.process.machine import this_machine
from sweepmore.storage.opening import open_storage
from tests.support.helpers import run_script
from tests.support.sweep_apps import slots_of

CLOSE = 1e-5
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason="NOT TESTED: torch finds no GPU here, so nothing has run on one",
    ),
]
ON_CPU = {
    "sgd": Config(model=Model(emb=4, hidden=32), optim=Sgd(steps=100), device="cpu"),
    "adamw": Config(
        model=Model(emb=4, hidden=32), optim=AdamW(steps=100, ema=0.9, clip=1.0), device="cpu"
    ),
}


def trained(config: Config, few: Splits) -> tuple[Result, list[Progress]]:
    rows: list[Progress] = []
    return fit(config, few, rows.append), rows


@pytest.mark.parametrize("optim", ON_CPU)
def test_the_losses_are_the_cpus(few: Splits, optim: str) -> None:
    """At the initialisation, on the way, and at the end."""
    expected, on_cpu = trained(ON_CPU[optim], few)
    result, on_gpu = trained(dataclasses.replace(ON_CPU[optim], device="cuda"), few)
    assert next(result.model.parameters()).device.type == "cuda"
    evaluated = [row for row in on_cpu if row.dev_loss is not None]
    assert len(evaluated) > 2
    assert [row.step for row in on_gpu] == [row.step for row in on_cpu]
    for there, here in zip(on_gpu, on_cpu, strict=True):
        assert there.dev_loss == pytest.approx(here.dev_loss, abs=CLOSE)
        assert there.train_loss == pytest.approx(here.train_loss, abs=CLOSE)
        assert there.minibatch_loss == pytest.approx(here.minibatch_loss, abs=CLOSE)
    assert result.dev_loss == pytest.approx(expected.dev_loss, abs=CLOSE)
    assert result.train_loss == pytest.approx(expected.train_loss, abs=CLOSE)


@pytest.mark.parametrize("optim", ON_CPU)
@pytest.mark.parametrize("stop_at", [1, 43])  # within a block of minibatches
def test_a_stopped_run_resumes(few: Splits, optim: str, stop_at: int, tmp_path: Path) -> None:
    config = dataclasses.replace(ON_CPU[optim], device="cuda")
    asked: list[int] = []

    def stop() -> int | None:
        asked.append(1)
        return signal.SIGTERM if len(asked) == stop_at else None

    whole, _ = trained(config, few)
    ended = fit(config, few, folder=tmp_path, stop=stop)
    assert (ended.status, ended.steps) == ("interrupted", stop_at)
    state = resume(config, few, checkpoint.load_last(tmp_path))
    result = fit(config, few, state=state, folder=tmp_path)
    assert result.steps == 100
    assert result.dev_loss == pytest.approx(whole.dev_loss, abs=CLOSE)
    assert result.train_loss == pytest.approx(whole.train_loss, abs=CLOSE)


def test_four_workers_on_one_gpu(few_names: Path, tmp_path: Path) -> None:
    """Each trial has the loss of the CPU, and its worker shared the GPU with three others."""
    gpu = this_machine().gpus[0]
    words = (
        "data=text", f"data.path={few_names}", "experiment=smoke", "wandb.mode=disabled",
        "seed=1,2,3,4,5,6,7,8", "hydra.sweeper.study_name=gpu", "hydra.sweeper.n_jobs=auto",
    )  # fmt: skip
    values = {}
    for device, placement in {"cuda": "{gpu: 0.25}", "cpu": "{cpu: 1}"}.items():
        outputs = tmp_path / device
        done = run_script(
            "train.py", "-m", *words, f"device={device}", f"hydra.sweeper.outputs={outputs}",
            f"hydra.sweeper.placement={placement}", env={"CUDA_VISIBLE_DEVICES": gpu},
            timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        url = URL.create("sqlite", database=str(outputs / "studies.db"))
        trials = optuna.load_study(study_name="gpu", storage=open_storage(url)).get_trials()
        assert slots_of(trials) == list(range(8))
        values[device] = {trial.params["seed"]: trial.value for trial in trials}
        if device == "cuda":
            placed = [trial.user_attrs["placed"] for trial in trials]
            assert all((p["gpus"], p["workers"]) == ([gpu], 4) for p in placed)
            owners = {json.dumps(trial.user_attrs["owner"]) for trial in trials}
            assert 1 < len(owners) <= 4
            assert f"4 local processes, 4 on GPU {gpu}" in done.stdout
    assert values["cuda"] == pytest.approx(values["cpu"], abs=CLOSE)
