"""examples/noisy, which the picture at the top of the README shows: sweep, then confirm."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helpers import ROOT, environment, run_command


@pytest.mark.system
def test_it_is_swept_and_confirmed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "noisy", tmp_path, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, "app.py", "-m", "hydra.sweeper.n_trials=6"],
        cwd=tmp_path, env=environment({}), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "next:    sweepmore confirm noisy" in done.stdout
    confirmed = run_command("confirm", "last", "--top=2", "--seeds=2", "--jobs=2", cwd=tmp_path)
    assert confirmed.returncode == 0, confirmed.stderr
    assert "winner   lr=" in confirmed.stdout
    assert "over 2 final seeds, which did not choose it" in confirmed.stdout
