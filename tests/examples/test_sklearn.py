"""examples/sklearn is swept, confirmed and looked at, as its docstrings say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helpers import ROOT, environment, run_command

pytestmark = pytest.mark.system


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder, env=environment({}), capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def confirmed(folder: Path, name: str, *words: str) -> None:
    swept = python(folder, "app.py", "-m", f"hydra.sweeper.study_name={name}", *words)
    assert swept.returncode == 0, swept.stdout + swept.stderr
    done = run_command("confirm", name, "--top=2", "--seeds=2", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_held_out_rows_are_looked_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "sklearn"
    shutil.copytree(ROOT / "examples" / "sklearn", folder)
    early = python(folder, "look.py", "s")
    assert early.returncode == 2, early.stderr
    assert not (folder / "looks").exists()
    confirmed(folder, "s", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2")
    first = python(folder, "look.py", "s")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("look 1, ")
    (receipt,) = (folder / "looks").iterdir()
    kept = receipt.read_bytes()
    assert json.loads(kept)["result"]["rows"] == 114

    # a second call reads no held-out row, and other weights are refused before they could
    rows = folder / "rows.py"
    sealed = 'def test_rows() -> Rows:\n    raise SystemExit("the held-out rows were read")'
    rows.write_text(rows.read_text().replace("def test_rows() -> Rows:", sealed))
    again = python(folder, "look.py", "s")
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    confirmed(folder, "other", "hydra.sweeper.n_trials=1", "hydra.sweeper.enqueue=[]")
    refused = python(folder, "look.py", "other")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.startswith(
        "error: The split was looked at before, with another checkpoint: look 1"
    )
    assert receipt.read_bytes() == kept
    assert list((folder / "looks").iterdir()) == [receipt]
