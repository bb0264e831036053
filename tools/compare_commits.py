"""Two commits timed in turns: a training step, a sweep, the start of a command.

    git worktree add --detach /tmp/tree COMMIT
    python tools/compare_commits.py /tmp/tree [pairs]

The other tree is this one. Every time is taken in processes of the tree's own; who goes first
alternates. A ratio is new / old of a pair: less than 1 means that this tree is faster. Of a
turn's steps the 20th percentile counts, because what else the machine does spoils some of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PAIRS = 5
# What a process does that times steps: a line on stdin asks for a turn, its answer is µs a step.
STEPS = """
import sys, time
from nplm import training
from nplm.config import AdamW, Config, Data, Model, Sgd
from nplm.data import load_splits
data, common = Data(), {"device": "cpu", "threads": 1, "eval_every": 1}
if sys.argv[1] == "lecture":
    turn, model, optim = 1500, Model(emb=10, hidden=200), Sgd(steps=20_000)
else:
    turn, model = 200, Model(emb=10, hidden=200, init="scaled")
    optim = AdamW(steps=20_000, batch_size=512, lr=0.02, draw="contexts")
config = Config(model=model, optim=optim, data=data, **common)
splits = load_splits(data, model.block_size)
for line in sys.stdin:
    marks = []
    def stop():
        marks.append(time.perf_counter_ns())
        return 15 if len(marks) == turn else None
    training.fit(config, splits, stop=stop)
    times = sorted(after - before for before, after in zip(marks, marks[1:]))
    print(times[len(times) // 5] / 1e3, flush=True)
"""
SWEEP = ("-m", "x=interval(-5, 5)", "y=choice(1, 2, 3)", "hydra.sweeper.n_trials=12")

Timer = Callable[[], float]


def main(old: Path, pairs: int) -> None:
    trees = {"old": old.resolve(), "new": ROOT}
    print(f"{'':<32} {'old min':>9} {'median':>9} {'new min':>9} {'median':>9}  ratio of pairs")
    for kind in ("lecture", "contexts"):
        with ExitStack() as stack:
            timers = {name: steps(tree, kind, stack) for name, tree in trees.items()}
            compare(f"step, {kind}, µs", timers, pairs)
    for workers in (1, 2):
        timers = {name: sweep(tree, workers) for name, tree in trees.items()}
        compare(f"12 trials, {workers} worker(s), s", timers, pairs)
    for label, words in (
        ("train.py --help, s", ("train.py", "--help")),
        ("import sweepmore, s", ("-c", "import sweepmore")),
    ):
        timers = {name: command(tree, words) for name, tree in trees.items()}
        compare(label, timers, pairs)


def compare(label: str, timers: dict[str, Timer], pairs: int) -> None:
    """A row of the table; one turn of each is not measured."""
    times: dict[str, list[float]] = {name: [] for name in timers}
    for pair in range(-1, pairs):
        for name in sorted(timers, reverse=pair % 2 == 0):
            taken = timers[name]()
            if pair >= 0:
                times[name].append(taken)
    ratios = sorted(new / old for new, old in zip(times["new"], times["old"], strict=True))
    figures = [
        figure for name in ("old", "new") for figure in (min(times[name]), median(times[name]))
    ]
    row = " ".join(f"{figure:>9.4g}" for figure in figures)
    least = min(times["new"]) / min(times["old"])
    print(
        f"{label:<32} {row}  {ratios[0]:.3f} … {median(ratios):.3f} … {ratios[-1]:.3f}; "
        f"of the minima {least:.3f}; n={pairs}",
        flush=True,
    )


def environment(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree / "src"), "WANDB_MODE": "disabled"}


def steps(tree: Path, kind: str, stack: ExitStack) -> Timer:
    """In one process, which has imported and read its data before the first turn."""
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", STEPS, kind],
            cwd=tree,
            env=environment(tree),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    asked, answers = process.stdin, process.stdout
    assert asked is not None
    assert answers is not None

    def turn() -> float:
        print("turn", file=asked, flush=True)
        return float(answers.readline())

    return turn


def sweep(tree: Path, workers: int) -> Timer:
    """The sphere example, in a folder that is made for it; from start to end."""

    def turn() -> float:
        with tempfile.TemporaryDirectory() as folder:
            app = Path(shutil.copytree(tree / "examples" / "plain", Path(folder) / "app"))
            words = ("app.py", *SWEEP, f"hydra.sweeper.n_jobs={workers}")
            return seconds(app, words, environment(tree))

    return turn


def command(tree: Path, words: tuple[str, ...]) -> Timer:
    return lambda: seconds(tree, words, environment(tree))


def seconds(folder: Path, words: tuple[str, ...], env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, check=True, capture_output=True, text=True
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else PAIRS)
