"""The wheel: what it holds, and that it is enough for somebody else's application."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.helpers import ROOT, environment
from tests.support.sweep_apps import until

pytestmark = pytest.mark.system

APP = """
import random
import time

import hydra

import sweepmore


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    noise, trial = random.Random(cfg.seed).gauss(0, 0.01), sweepmore.current_trial()
    for step in range(10):
        time.sleep(cfg.wait)
        value = (cfg.x - 1) ** 2 + noise + 1 / (1 + step)
        if trial is not None and trial.report(step, value):
            break
    return value


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: sweepmore
  - override hydra/sweeper/pruner: median
x: 0.0
seed: 0
wait: 0.05
hydra:
  sweeper:
    n_trials: 16
    n_jobs: 2
    study_name: s
    params: {x: "interval(-3, 3)"}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel that ``build`` makes from it."""
    folder = tmp_path_factory.mktemp("dist")
    build(folder)
    return folder


def build(folder: Path, *options: str) -> None:
    words = ["-m", "build", "--no-isolation", *options, "--outdir", str(folder), str(ROOT)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_source_distribution_builds_the_wheel_of_the_tree(built: Path, tmp_path: Path) -> None:
    build(tmp_path, "--wheel")
    (from_source,), (from_tree,) = built.glob("*.whl"), tmp_path.glob("*.whl")
    assert contents(from_source) == contents(from_tree)


def test_the_wheel_holds_the_framework_alone(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        texts = {
            n.rpartition("/")[2]: archive.read(n).decode() for n in names if ".dist-info/" in n
        }
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sweepmore", "hydra_plugins"}
    assert {
        "sweepmore/py.typed",
        "sweepmore/report/page.html.j2",
        "sweepmore/command/schemas/challenge.json",
        "sweepmore/command/schemas/show.json",
        "hydra_plugins/sweepmore_sweeper.py",
    } <= {*names}
    assert "sweepmore = sweepmore.command.main:main" in texts["entry_points.txt"]
    required = [line for line in texts["METADATA"].splitlines() if line.startswith("Requires-Dist")]
    assert not [line for line in required if "torch" in line and "extra" not in line]
    assert "Version: 0.1.0" in texts["METADATA"]


def test_the_source_distribution_has_its_licence_and_no_data(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert "LICENSE" in names
    assert not [name for name in names if name.startswith(("src/nplm", "tests", "outputs"))]


def test_twine_accepts_both(built: Path) -> None:
    words = ["-m", "twine", "check", "--strict", *map(str, built.iterdir())]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_is_enough_for_a_foreign_application(built: Path, tmp_path: Path) -> None:
    """Two workers, pruning, Ctrl-C, the same command, the best, fresh seeds, a page."""
    (wheel,) = built.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", f"{wheel}[report]"]
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    (folder / "config.yaml").write_text(CONFIG)
    env = {**environment({}), "PATH": f"{python.parent}:/usr/bin:/bin"}
    env.pop("PYTHONPATH", None)

    def ran(*words: str) -> str:
        done = subprocess.run(
            words, cwd=folder, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for absent in ("torch", "wandb", "nplm"):
        words = [str(python), "-c", f"import {absent}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert "No module named" in done.stderr, absent
    process = subprocess.Popen(
        ["python", "app.py", "-m"], cwd=folder, env=env, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until(lambda: len([*folder.glob("outputs/studies/s/00*")]) > 4)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    out = ran("python", "app.py", "-m")
    assert "16 of 16 trials done" in out
    (line,) = [line for line in out.splitlines() if line.startswith("next:    ")]
    facts = json.loads(ran("sweepmore", "show", "s", "--json"))
    assert len(facts["trials"]) == 16
    assert {trial["state"] for trial in facts["trials"]} == {"COMPLETE", "PRUNED"}
    assert line == "next:    sweepmore confirm s"
    confirmed = ran("sweepmore", "confirm", "s", "--top", "2", "--seeds", "3", "--jobs", "2")
    assert "winner   x=" in confirmed
    (line,) = [line for line in confirmed.splitlines() if line.startswith("next     ")]
    assert "page     outputs/reports/s/index.html" in ran(*line.split()[1:])
    listed = json.loads(ran("sweepmore", "ls", "--json"))
    assert [(study["name"], study["state"]) for study in listed["studies"]] == [("s", "confirmed")]
