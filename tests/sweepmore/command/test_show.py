"""``sweepmore show``: several objectives, repeats, no complete trial, and a confirmation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import sweepmore
from sweepmore.command.summary import print_summary
from sweepmore.runs.places import Place
from sweepmore.study.campaigns import Challenge
from sweepmore.study.records import record_of
from tests.support.helpers import ROOT, call_command, environment, run_command
from tests.support.made_studies import made_study, name_winner

pytestmark = pytest.mark.system
SCHEMA = json.loads((ROOT / "src/sweepmore/command/schemas/show.json").read_text())
# ``ends`` is what a task returns, with its config as ``cfg``.
APP = """
import hydra

@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    return {ends}

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [_self_, {override hydra/sweeper: sweepmore}]
x: 0.0
seed: 0
hydra: {sweeper: {study_name: s, max_failure_rate: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(folder: Path, ends: str, *words: str) -> None:
    (folder / "app.py").write_text(APP.format(ends=ends))
    subprocess.run(
        [sys.executable, "app.py", "-m", *words],
        cwd=folder, env=environment({}), capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def shown(*words: str) -> str:
    done = call_command("show", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def facts(*words: str) -> Any:
    """The record as JSON, which is the one that a program loads."""
    read = json.loads(shown(*words, "--json"), parse_constant=pytest.fail)
    jsonschema.validate(read, SCHEMA, jsonschema.Draft202012Validator)
    return read


def test_several_objectives_have_a_front(folder: Path) -> None:
    sweep(folder, "cfg.x, -cfg.x", "x=0,1,2", "hydra.sweeper.direction=[minimize,minimize]")
    out = shown("s")
    assert "no trial beats these in every objective:" in out
    assert "confirm" not in out
    assert "history" not in out
    study = sweepmore.load_study("s")
    assert [trial.values for trial in study.trials] == [(0.0, 0.0), (1.0, -1.0), (2.0, -2.0)]
    assert study.directions == ("minimize", "minimize")
    assert facts("s") == json.loads(json.dumps(study.as_json()))


def test_a_study_without_a_complete_trial(folder: Path) -> None:
    sweep(folder, "1 / 0", "x=0,1")
    out = shown("s")
    assert "trials   2 of 2 done: 2 fail" in out
    assert "failed:  2 × ZeroDivisionError" in out
    study = sweepmore.load_study("s")
    assert (study.best, study.ranking, study.winner) == (None, (), None)
    assert facts("s")["trials"][0]["values"] == []


def test_a_value_that_is_not_finite_is_null(folder: Path) -> None:
    sweep(folder, "float('nan') if cfg.x else 1.0", "x=0,1")
    assert facts("s")["ranking"] == [0]
    assert facts("s")["trials"][1]["values"] == [None]
    assert "trial    1 of s" in shown("s", "--trial=1")


def test_a_champion_comes_before_the_winner_that_it_beat(
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = made_study([([2.0], {"n": 3}), ([1.0], {"n": 4})])
    name_winner(study, 1, 1.1, 0.2)
    Challenge(
        2, 0, ("python", "app.py", "n=5"), ".", "0", (), "now", "keep", gain=0.5, half=0.1
    ).write(study)
    print_summary(record_of(study), study, Place(Path("outputs")))
    lines = capsys.readouterr().out.splitlines()
    verdict = next(line for line in lines if line.startswith("verdict"))
    assert verdict == (
        "verdict  Challenge 2 is the champion: better by 0.5000 ± 0.1000 than trial 1, the "
        "confirmed winner (1.1000 ± 0.2000)."
    )
    assert lines.index("champion python app.py n=5") + 1 == lines.index("winner   n=4")


def test_repeats_and_a_confirmation(folder: Path) -> None:
    repeats = "hydra.sweeper.repeats={seed: [0, 1]}"
    sweep(folder, "cfg.x + cfg.seed % 7 / 100", "x=0,1", repeats)
    trial = sweepmore.load_study("s").trial(1)
    assert trial.repeats == (1.0, 1.01)
    assert "repeats  1.0000, 1.0100\n" in shown("s", "--trial=1")
    runs = folder / "outputs/studies/s/0001/0/wandb/offline-run-1"
    runs.mkdir(parents=True)
    (runs / "run-1.wandb").touch()
    command = "W&B      offline; to see it here: wandb leet outputs/studies/s/0001/0/wandb\n"
    assert command in shown("s", "--trial=1")
    done = run_command("confirm", "s", "--top=2", "--seeds=2", cwd=folder)
    assert done.returncode == 0, done.stderr

    study = sweepmore.load_study("s")
    assert study.winner is not None
    assert study.winner.params == {"x": 0}
    assert "winner   x=0\n" in shown("s")
    assert facts("s")["winner"]["trial"] == 0
    assert "study    s.confirm: done" in shown("s.confirm")
    assert shown("s.confirm").endswith("next     sweepmore report s.confirm\n")
    assert call_command("report", "s.confirm").returncode == 0
    assert len(facts("s.confirm")["trials"]) == 2
