"""The reference application's own sweeps: train.py -m, in real processes, on few names."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from optuna.trial import TrialState

from sweepmore.runs.tracking import TRIAL_KEY
from tests.support import held_train
from tests.support.helpers import rows_of, run_command, run_script, start, wandb_records, weights_of
from tests.support.sweep_apps import PATIENCE, App, slots_of, until
from tests.support.wandb_stub import serve

# Evaluated every 50th step, and held between an evaluation and its checkpoint.
STEPS, HELD = 1_000, 450


class Train(App):
    """train.py of this repository, with its studies in a folder of the test's."""

    few_names: Path

    def words(self, *words: str) -> list[str]:
        full = [w.replace(":", "hydra.sweeper.", 1) if w.startswith(":") else w for w in words]
        return [
            "-m",
            "data=text",
            f"data.path={self.few_names}",
            "experiment=smoke",
            f"hydra.sweeper.outputs={self.folder}/outputs",
            *full,
        ]

    def sweep(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        done = run_script("train.py", *self.words(*words), env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def train(tmp_path: Path, few_names: Path) -> Train:
    train = Train(tmp_path)
    train.few_names = few_names
    return train


def told_of(folder: Path) -> tuple[Any, dict[str, Any]]:
    """What W&B was told of a run at its end, and its config."""
    *_, run = [r.run for r in wandb_records(folder) if r.WhichOneof("record_type") == "run"]
    return run, {item.key: json.loads(item.value_json) for item in run.config.update}


def test_a_bare_grid_is_a_named_resumable_study(train: Train) -> None:
    words = ("model.hidden=8,16", "model.emb=2,3")
    out = train.sweep(*words)
    (name,) = train.names()
    assert name.startswith("train-")
    trials = train.trials(name)
    assert slots_of(trials) == [0, 1, 2, 3]
    assert f"study    {name}" in out
    train.sweep(*words)
    assert train.trials(name) == trials
    for trial in trials:
        folder = Path(trial.user_attrs["folder"])
        result = json.loads((folder / "result.json").read_text())
        assert trial.value == result["dev_loss"]
        run, config = told_of(folder)
        assert (run.run_group, run.job_type, list(run.tags)) == (name, "trial", [name, "ok"])
        emb, hidden = trial.params["model.emb"], trial.params["model.hidden"]
        assert run.display_name == f"{name}-{trial.number} hidden={hidden} emb={emb}"
        assert config["study"] == {
            "name": name, "trial": trial.number, "attempt": 0, "seed": result["seed"],
            "settings": f"emb={emb} hidden={hidden}",
        }  # fmt: skip
        assert config["model"]["emb"] == emb
        assert not {"wandb", "resume"} & config.keys()
        assert trial.user_attrs["wandb_id"] == run.run_id
        assert trial.user_attrs[TRIAL_KEY] == f"wandb sync {folder}/wandb/offline-run-*"
        assert_small(folder)
    assert len({t.user_attrs["wandb_id"] for t in trials}) == 4
    assert train.study(name).metric_names == ["dev loss (nats/token)"]
    assert not [key for t in trials for key in t.system_attrs if key.startswith("artifacts:")]


# Beside its weights. Measured in trials of 12 to 60 rows (wandb 0.31): 2.6 KB and 770 bytes a
# row, logs of 4 KB; with a half more for longer settings.
WANDB_BYTES, WANDB_ROW = 10_000, 1_200
# A header with vocabulary and settings; torch's generator takes 5,056 bytes.
HEADER, GENERATOR = 2_500, 5_056
METRICS_ROW = 300  # 221 on average, of a run with figures of full length


def assert_small(folder: Path) -> None:
    """A trial leaves these files, of at most this size (docs/faults.md)."""
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and "latest-run" not in path.parts
    }
    of_wandb = {name: sizes.pop(name) for name in [*sizes] if name.startswith("wandb/")}
    assert sorted(sizes) == [
        "checkpoints/best.safetensors", "checkpoints/last.safetensors", "config.yaml",
        "metrics.jsonl", "model.safetensors", "overrides.yaml",
        "provenance.json", "result.json", "samples.txt",
    ]  # fmt: skip
    weights = 4 * json.loads((folder / "result.json").read_text())["parameters"]
    assert weights < sizes["model.safetensors"] < weights + HEADER
    assert sizes["checkpoints/best.safetensors"] < weights + HEADER
    assert sizes["checkpoints/last.safetensors"] < 2 * weights + HEADER + GENERATOR
    rows = rows_of(folder)
    assert sizes["metrics.jsonl"] < METRICS_ROW * len(rows)
    of_wandb = {name: of_wandb[name] for name in of_wandb if not name.endswith("diff.patch")}
    assert len(of_wandb) <= 4  # without the changes of a checkout that is not clean
    evaluated = sum("dev_loss" in row for row in rows)
    assert sum(of_wandb.values()) < WANDB_BYTES + WANDB_ROW * evaluated
    assert sum(sizes[name] for name in ("config.yaml", "overrides.yaml", "result.json")) < 4_000
    changes = json.loads((folder / "provenance.json").read_text())["dirty_diff"]
    told = ("config.yaml", "overrides.yaml", "provenance.json", "result.json", "samples.txt")
    assert sum(sizes[name] for name in told) - len(json.dumps(changes)) < 8_000


@pytest.mark.system
def test_a_trial_says_where_its_wandb_run_is(train: Train, tmp_path: Path) -> None:
    with serve() as stub:
        env = {**stub.env(), "HOME": str(tmp_path)}
        train.sweep("seed=1", ":study_name=s", "wandb.mode=online", env=env)
        (trial,) = train.trials("s")
        link = f"{stub.url}/someone/sweepmore/runs/{trial.user_attrs['wandb_id']}"
        assert trial.user_attrs[TRIAL_KEY] == link


def test_a_winner_that_holds_null_is_confirmed(train: Train) -> None:
    """``choice(null,…)`` is no Hydra; a net whose gradients are cut to nothing learns nothing."""
    train.sweep("optim=sgd", "optim.clip=null,1e-6", ":study_name=s")
    words = ("s", "--top=2", "--seeds=2", f"--outputs={train.folder}/outputs")
    done = run_command("confirm", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    confirmed = train.folder / "outputs" / "studies" / "s.confirm"
    winner = json.loads((confirmed / "winner.json").read_text())
    assert winner["params"] == {"optim.clip": None}
    configs = [yaml.safe_load(path.read_text()) for path in confirmed.glob("0*/*/config.yaml")]
    assert sorted(str(one["optim"]["clip"]) for one in configs) == ["1e-06"] * 2 + ["None"] * 2
    assert "winner   optim.clip=null" in done.stdout


@pytest.mark.faults
@pytest.mark.slow
def test_a_killed_worker_goes_on_from_its_checkpoint_to_the_same_bits(train: Train) -> None:
    words = (
        "model.hidden=8,16",
        f"optim.steps={STEPS}",
        "eval_every=0.05",
        ":n_jobs=2",
        "wandb.mode=disabled",
    )
    gate = train.folder / "gate"
    command = train.words(*words, ":study_name=killed")
    env = held_train.environment(HELD, gate)
    process = start("tests/support/held_train.py", *command, env=env)
    try:
        killed = min(until(lambda: held_train.waiting(gate)))
        psutil.Process(killed).kill()
        gate.touch()
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
    finally:
        stop(process)
    train.sweep(*words, ":study_name=whole")
    (died,) = [t for t in train.trials("killed") if t.user_attrs.get("reason") == "died"]
    assert died.user_attrs["owner"]["pid"] == killed
    assert {"died"} == {r for t in train.trials("killed") if (r := t.user_attrs.get("reason"))}
    whole = {t.params["model.hidden"]: t for t in train.trials("whole")}
    for trial in train.trials("killed"):
        if trial.state is TrialState.COMPLETE:
            same = whole[trial.params["model.hidden"]]
            mine, other = (Path(t.user_attrs["folder"]) for t in (trial, same))
            assert trial.value == same.value
            assert weights_of(mine) == weights_of(other)
            assert rows_of(mine) == rows_of(other)
    again = next(t for t in train.trials("killed") if t.user_attrs.get("attempt") == 1)
    starts = json.loads((Path(again.user_attrs["folder"]) / "provenance.json").read_text())[
        "starts"
    ]
    assert len(starts) == 2  # it did not begin anew


def stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_other_objectives(train: Train) -> None:
    words = ("model.hidden=8,16", "wandb.mode=disabled")
    train.sweep(
        *words, "objective=[dev_loss,seconds]", ":direction=[minimize,minimize]", ":study_name=two"
    )
    for trial in train.trials("two"):
        result = json.loads((Path(trial.user_attrs["folder"]) / "result.json").read_text())
        assert trial.values == [result["dev_loss"], result["seconds"]]
    assert train.study("two").metric_names == ["dev loss (nats/token)", "training (s)"]
    train.sweep(*words, "objective=[{seconds_to:4.5}]", ":study_name=reached")
    for trial in train.trials("reached"):
        rows = (Path(trial.user_attrs["folder"]) / "metrics.jsonl").read_text().splitlines()
        seconds = [
            row["seconds"] for row in map(json.loads, rows) if (row.get("dev_loss") or 99) <= 4.5
        ]
        assert trial.value == (seconds[0] if seconds else float("inf"))


def test_seconds_to_as_the_readme_writes_it(train: Train) -> None:
    train.sweep("model.hidden=8", "objective={seconds_to: 4.5}", "hydra.sweeper.dry=true")


def test_a_misspelt_sweep_is_refused_with_the_nearest(train: Train, tmp_path: Path) -> None:
    done = run_script("train.py", *train.words("sweeps=minut"))
    assert done.returncode == 2
    assert "Did you mean minute?" in done.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "name", ["minute", *(pytest.param(n, marks=pytest.mark.slow) for n in ("lr", "lecture"))]
)
def test_the_shipped_sweeps_begin_with_the_lectures_settings(
    train: Train, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any folder, and without starting anything."""
    monkeypatch.chdir(tmp_path)
    done = run_script(
        "train.py",
        "-m",
        f"sweeps={name}",
        f"hydra.sweeper.outputs={tmp_path}/o",
        "hydra.sweeper.dry=true",
    )
    assert done.returncode == 0, done.stderr
    assert f"study    {name}" in done.stdout
    assert "known first" in done.stdout
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("word", ["optim.lr=-1,0.1", "optim.lr=interval(-1,1)"])
def test_a_bad_value_is_refused_before_any_compute(train: Train, word: str) -> None:
    done = run_script("train.py", *train.words(word, ":n_trials=2", "wandb.mode=disabled"))
    assert done.returncode == 2, done.stdout
    assert not (train.folder / "outputs" / "studies.db").exists()


def test_diverged_is_a_result(train: Train) -> None:
    train.sweep("optim=sgd", "optim.lr=0.1,1e30", "wandb.mode=disabled", ":study_name=s")
    fine, diverged = train.trials("s")
    assert fine.user_attrs["status"] == "ok"
    assert (diverged.state, diverged.value) == (TrialState.COMPLETE, float("inf"))
    assert diverged.user_attrs["status"] == "diverged"
