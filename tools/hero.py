"""docs/images/hero.svg: sweep, Ctrl-C, the same command, confirm; of a real run of these commands.

``python tools/hero.py`` runs examples/noisy in a temporary folder and takes half a minute. Lines
that a reader can do without are left out, and ⋮ marks where.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "hero.svg"
WIDTH = 88
SWEEP, CONFIRM = "python app.py -m", "sweepmore confirm last --top 3 --seeds 5 --jobs 2"
# Each command, the trials that have begun when Ctrl-C comes, and what of its output stays.
STEPS = (
    (SWEEP, 8, (r"study  ", r"search  ", r"stop  ", r"stopped", r"  +python app")),
    (SWEEP, None, (r"study  ", r"\d+ of \d+ trials", r"the best", r"  trial", r"next")),
    (
        CONFIRM,
        None,
        (r"confirmed", r"tied", r" trial", r"[→ ] +\d+ +\d", r"winner", r"report", r"    +the s"),
    ),
)
LIVE = re.compile(r"\d+/\d+ done")


def ran(line: str, folder: Path, interrupted_at: int | None = None) -> list[str]:
    """Return what a command prints; it gets Ctrl-C once so many trials have begun."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    process = subprocess.Popen(
        line.split(), cwd=folder, env={**os.environ, "PATH": path}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while interrupted_at is not None and process.poll() is None:
        if len([*folder.glob("outputs/studies/noisy/0*")]) >= interrupted_at:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.1)
    out, _ = process.communicate(timeout=300)
    return str(out).splitlines()


def shown(lines: Sequence[str], kept: Sequence[str], *, live_too: bool) -> Iterator[str]:
    """Return the lines that match what is ``kept``, and ⋮ for those between them."""
    live = [k for k, line in enumerate(lines) if LIVE.match(line)]
    left_out = False
    for k, line in enumerate(lines):
        last_live = live_too and bool(live) and k == live[-1]
        if last_live or any(re.match(pattern, line) for pattern in kept):
            if left_out:
                yield "[dim]⋮[/]"
            yield line.replace("[", r"\[")
            left_out = False
        else:
            left_out = left_out or bool(line.strip())


def main() -> None:
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples" / "noisy", folder, dirs_exist_ok=True)
        for line, interrupted_at, kept in STEPS:
            console.print(Text.assemble(("$ ", "bold green"), (line, "bold")))
            stopped = interrupted_at is not None
            for text in shown(ran(line, folder, interrupted_at), kept, live_too=stopped):
                ending = " [bold]^C[/]" if LIVE.match(text) else ""
                console.print(text.replace(name, ".") + ending, highlight=False, no_wrap=True)
            console.print()
    svg = console.export_svg(title="sweepmore")
    # the fonts of the reader's system: a page must fetch nothing
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    PICTURE.write_text(svg, encoding="utf-8")
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
