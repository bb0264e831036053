"""The first ten minutes, as a transcript: run each command, keep what a terminal shows of it.

``python tools/first_minutes.py`` writes it into docs/ten-minutes.md, between its two marks. It runs
in a copy of the checkout, because the last command leaves a receipt that is meant to be committed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "ten-minutes.md"
BEGIN, END = "<!-- tools/first_minutes.py -->\n", "<!-- end -->\n"
# The practice split: another shuffle is another fingerprint, so the real test split stays sealed.
COMMANDS = (
    "python train.py experiment=quick",
    "python sample.py explain=emma",
    "python train.py -m sweeps=minute data.seed=1 hydra.sweeper.study_name=practice",
    "sweepmore confirm practice --top 3 --seeds 4 --jobs 2",
    "sweepmore report practice",
    "python evaluate_test.py study=practice",
)
STARTS = {"python": [sys.executable], "sweepmore": [sys.executable, "-m", "sweepmore"]}
# Off a terminal a line is printed again and again that a terminal rewrites in place.
LIVE = re.compile(r"step [\d,]+/|\d+/\d+ done|\S+: \d+ of \d+ ")


@dataclass(frozen=True)
class Step:
    command: str
    exit_code: int
    lines: tuple[str, ...]


def run(commands: Sequence[str], folder: Path) -> Iterator[Step]:
    """Each command in a copy of the checkout in ``folder``, as a new user types it."""
    for path in ROOT.glob("*.py"):
        shutil.copy(path, folder)
    for name in ("conf", "src", "sweeps"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("looks"))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    # as in an activated environment, where the commands that are printed begin with python
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    for command in commands:
        program, *words = shlex.split(command)
        done = subprocess.run(
            [*STARTS[program], *words],
            cwd=folder,
            env=kept,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        yield Step(command, done.returncode, tuple(on_a_terminal(done.stdout)))


def on_a_terminal(output: str) -> list[str]:
    """Of lines that a terminal rewrites in place, the last."""
    lines = output.rstrip().splitlines()
    following = [*lines[1:], ""]
    return [a for a, b in zip(lines, following) if not (LIVE.match(a) and LIVE.match(b))]


def transcript(steps: Sequence[Step]) -> str:
    """Markdown."""
    parts = ["\n".join([f"$ {step.command}", *step.lines]) for step in steps]
    return "```\n" + "\n\n".join(parts) + "\n```\n"


def put(page: str, text: str) -> str:
    """The page with ``text`` between the marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + text + END + rest.split(END)[1]


def main() -> None:
    steps = []
    with tempfile.TemporaryDirectory() as folder:
        for step in run(COMMANDS, Path(folder)):
            print("\n".join([f"$ {step.command}", *step.lines, ""]), flush=True)
            if step.exit_code:
                raise SystemExit(f"exit code {step.exit_code}")
            steps.append(step)
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), transcript(steps)), encoding="utf-8")


if __name__ == "__main__":
    main()
