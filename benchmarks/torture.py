"""The same 20 trials on two workers, disturbed alike, under four tools.

One trial is NaN, one raises, one worker gets SIGKILL, then comes one Ctrl-C; after it, and after
any other end that is no success, the same command again. ``python -m benchmarks.torture`` makes an
environment for each tool (some minutes, the first time), and writes the table into README.md, too.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import ROOT
from benchmarks.torture_log import Counts, counts, replaced
from sweepmore.runs.files import write_atomic

HERE = Path(__file__).resolve().parent / "torture_app"
ENVIRONMENTS = ROOT / "outputs" / "torture"
INTERRUPTED = 14  # the start at which Ctrl-C comes
MOST_COMMANDS = 4
# Seconds: a command that hangs, and one that does not end after Ctrl-C, is killed.
HANGS, ENDS = 240, 60


@dataclass(frozen=True)
class Tool:
    """How one tool is installed and started.

    ``words`` follow its environment's Python; ``first`` do, once before. ``real`` says whether it
    tells that the winner is real.
    """

    name: str
    packages: Sequence[str]
    words: Sequence[str]
    settings: tuple[str, str] | None = None  # Hydra's sweeper and launcher
    first: Sequence[str] = ()
    real: str = "no"


CREATE = "import optuna; optuna.create_study(study_name='torture', storage='sqlite:///studies.db')"
TOOLS = (
    Tool(
        "stock Hydra sweeper, joblib",
        (
            "hydra-optuna-sweeper==1.3.0",
            "hydra-joblib-launcher==1.2.0",
            "hydra-core==1.3.8",
            "omegaconf==2.3.1",
            "sqlalchemy<2",
            "setuptools<81",
        ),
        ("app.py", "-m", "hydra.launcher.n_jobs=2"),
        ("optuna", "joblib"),
    ),
    Tool(
        "plain Optuna, two processes",
        ("optuna==5.0.0",),
        ("two.py",),
        first=("-c", CREATE),
    ),
    Tool("Ray Tune", ("ray[tune]==2.60.0", "optuna==5.0.0"), ("tune.py",)),
    Tool(
        "sweepmore",
        (str(ROOT),),
        ("app.py", "-m"),
        ("sweepmore", "basic"),
        real="[yes](docs/concepts.md)",
    ),
)


@dataclass(frozen=True)
class Outcome:
    counts: Counts
    running: int
    commands: int
    seconds: float


def python_of(tool: Tool) -> Path:
    """Return a tool's interpreter; its environment is made where other packages were asked for."""
    folder = ENVIRONMENTS / tool.name.split()[0]
    made, wanted = folder / "made", " ".join(tool.packages)
    if str(ROOT) in tool.packages or not made.exists() or made.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *tool.packages], check=True, capture_output=True)
        made.write_text(wanted)
    return folder / "bin" / "python"


def tortured(tool: Tool) -> Outcome:
    """Run a tool's command until it ends well, and return what it left."""
    python = python_of(tool)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(HERE, folder, dirs_exist_ok=True)
        if tool.settings is not None:
            config, text = folder / "config.yaml", (folder / "config.yaml").read_text()
            sweeper, launcher = tool.settings
            config.write_text(text.replace("SWEEPER", sweeper).replace("LAUNCHER", launcher))
        if tool.first:
            subprocess.run([str(python), *tool.first], cwd=folder, check=True, capture_output=True)
        began, commands, interrupted = time.monotonic(), 0, False
        while commands < MOST_COMMANDS:
            commands += 1
            before = interrupted
            code, interrupted = command(tool, python, folder, interrupted)
            if code == 0 and before:  # some exit with 0 after Ctrl-C, too
                break
        seconds = time.monotonic() - began
        return Outcome(counts(log_of(folder)), running_in(folder), commands, seconds)


def command(tool: Tool, python: Path, folder: Path, interrupted: bool) -> tuple[int, bool]:
    """Run the command once; return its exit code and whether Ctrl-C has come by now."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.Popen(
        [str(python), *tool.words],
        cwd=folder,
        env={**kept, "TORTURE_FOLDER": str(folder), "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + HANGS
    while process.poll() is None and time.monotonic() < end:
        if not interrupted and counts(log_of(folder)).started >= INTERRUPTED:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            interrupted, end = True, time.monotonic() + ENDS
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait(), interrupted


def log_of(folder: Path) -> str:
    path = folder / "log.jsonl"
    return path.read_text() if path.exists() else ""


def running_in(folder: Path) -> int:
    """How many trials the study's database still calls running; 0 where there is none."""
    path = folder / "studies.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as database:
        asked = "SELECT count(*) FROM trials WHERE state = 'RUNNING'"
        return int(database.execute(asked).fetchone()[0])


def table() -> str:
    """Measure, and return Markdown; the README gets the same table."""
    head = "| | finished of 20 | doubled | lost | left running | commands | seconds | offline |"
    lines = [f"{head} winner real? |", "|---|---|---|---|---|---|---|---|---|"]
    for tool in TOOLS:
        done = tortured(tool)
        lines.append(
            f"| {tool.name} | {done.counts.finished} | {done.counts.doubled} | {done.counts.lost} "
            f"| {done.running} | {done.commands} | {done.seconds:.0f} | yes | {tool.real} |"
        )
        print(lines[-1], flush=True)
    lines.append("| W&B sweeps | needs a server, not run | | | | | | no | no |")
    text = "\n".join(lines)
    readme = ROOT / "README.md"
    write_atomic(readme, replaced(readme.read_text(encoding="utf-8"), text))
    return text.replace("](docs/", "](../docs/") + (
        "\n\nEach trial takes half a second. The fourth start gives NaN, the seventh raises, the "
        "tenth gets SIGKILL, and Ctrl-C comes at the fourteenth; then the same command again until "
        f"one exits with 0, at most {MOST_COMMANDS} in all. *Finished* trials have ended, with a "
        "value or not; *lost* ones were begun and never ended, whatever the tool did later. Each "
        "tool is set up as its documentation says (benchmarks/torture_app)."
    )


if __name__ == "__main__":
    print(table())
