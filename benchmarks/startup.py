"""What the framework adds to starts: the plugin to any Hydra application's, the import to Python's;
and how long the commands of a checkout take to their first step and to their help.

``python -m benchmarks.startup``
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.common import ROOT, measure

PAIRS = 30
# Milliseconds that each may add: targets.
MOST = {"the plugin, to a Hydra application": 20, "import sweepmore, to Python": 30}
# The environment may offer the plugin on a path of its own, an editable installation's for example:
# all of them go, and each side says whether it is the one that it should be.
APP = """import os, sys
plugin = os.path.join("hydra_plugins", "sweepmore_sweeper.py")
sys.path[:] = [path for path in sys.path if not os.path.isfile(os.path.join(path, plugin))]
sys.path += {more!r}
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    assert ("hydra_plugins.sweepmore_sweeper" in sys.modules) is {loaded}

main()
"""
# Ends train.py where it asks for a signal, which is after each step.
TO_THE_FIRST_STEP = """import contextlib, os, runpy, sys
from sweepmore.process import signals

@contextlib.contextmanager
def until_it_asks():
    yield lambda: os._exit(0)

signals.stop_signals = until_it_asks
sys.path.insert(0, {root!r})
sys.argv = ["train.py", "hydra.run.dir=" + {folder!r}]
runpy.run_path({root!r} + "/train.py", run_name="__main__")
sys.exit("no step was taken")
"""
ROUNDS = 9
# Milliseconds that each may take: targets.
FIRST_STEP, HELP = 2_500, 800
HELPS = ("train.py", "find_lr.py", "sample.py", "evaluate_test.py", "-m sweepmore")
# Without them, Python keeps what it compiled, as it does on a user's machine.
LEFT_OUT = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


def milliseconds(words: list[str], folder: Path, **more: str) -> float:
    environment = {key: value for key, value in os.environ.items() if key not in LEFT_OUT} | more
    began = time.perf_counter()
    subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=True)
    return (time.perf_counter() - began) * 1e3


def added(ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float]:
    """The median of what each pair differs by, and what the fastest starts differ by, in
    milliseconds.

    A busy machine slows a start and speeds none up: it moves the first more than the second.
    """
    with_us, without = measure(ours, theirs, PAIRS)
    differences = [mine - other for mine, other in zip(with_us, without, strict=True)]
    return median(differences), min(with_us) - min(without)


def starts() -> str:
    """Markdown: how long each command takes, beside what it may take. They run in turn."""
    times: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        for turn in range(ROUNDS):
            folder = f"{place}/{turn}"
            first = ["-c", TO_THE_FIRST_STEP.format(root=str(ROOT), folder=folder)]
            commands = {("train.py, to its first step", FIRST_STEP): first}
            commands |= {
                (f"{words[-1]} --help", HELP): [*words, "--help"] for words in map(str.split, HELPS)
            }
            for about, words in commands.items():
                took = milliseconds([sys.executable, *words], ROOT, PYTHONPATH=str(ROOT / "src"))
                times.setdefault(about, []).append(took)
    lines = ["| from the command | median | fastest | wanted |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {median(took):,.0f} ms | {min(took):,.0f} ms | ≤ {most:,} ms |"
        for (name, most), took in times.items()
    ]
    return "\n".join(lines) + f"\n\nWhole processes in turn, {ROUNDS} each, their files cached."


def table() -> str:
    """Markdown: what each adds, beside what it may add."""
    src = str(ROOT / "src")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, more in (("with.py", [src]), ("without.py", [])):
            (place / name).write_text(APP.format(more=more, loaded=bool(more)))

        def app(name: str) -> Callable[[], float]:
            return lambda: milliseconds([sys.executable, name, "hydra.run.dir=."], place)

        def code(text: str) -> Callable[[], float]:
            return lambda: milliseconds([sys.executable, "-c", text], place)

        rows = {
            "the plugin, to a Hydra application": added(app("with.py"), app("without.py")),
            "import sweepmore, to Python": added(
                code(f"import sys; sys.path.insert(0, {src!r}); import sweepmore"),
                code(f"import sys; sys.path.insert(0, {src!r})"),
            ),
        }
        whole = median([app("without.py")() for _ in range(5)])
    lines = ["| adds to a start | median of pairs | fastest of each | wanted |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {name} | {middle:.1f} ms | {least:.1f} ms | ≤ {MOST[name]} ms |"
        for name, (middle, least) in rows.items()
    ]
    return "\n".join(lines) + (
        f"\n\nWhole processes in turn, {PAIRS} pairs. That application alone, which does nothing, "
        f"takes {whole:,.0f} ms.\n\n{starts()}"
    )


if __name__ == "__main__":
    print(table())
