"""What a trial costs beside its training: the real train.py at one step, every file written.

    python -m benchmarks.overhead [trials …]

Total: from the first trial's start to the last one's end, less the training seconds, per trial;
one worker, in-process, W&B offline, SQLite. The split comes from
timers around the functions named below, in the same run.
"""

from __future__ import annotations

import functools
import json
import os
import pkgutil
import runpy
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, machine

# part of a trial's life → the functions whose time it is; nested ones are counted once, outside
PARTS = {
    "take": ["sweepmore.study.slots.claim", "sweepmore.sweep.suggesting.suggest"],
    "compose": ["sweepmore.compose.frozen.Composer.compose"],
    "data": ["nplm.data.load_splits", "nplm.baselines.bigram_loss"],
    "evaluate": ["nplm.losses.split_loss", "nplm.training.split_loss"],
    "record": ["sweepmore.runs.record.create", "sweepmore.runs.files.write_atomic"],
    "W&B": [
        "sweepmore.runs.tracking._open",
        "sweepmore.runs.tracking.Tracker._attempt",
    ],
    "samples": ["nplm.sampling.sample"],
    "storage": [
        "sweepmore.sweep.claimed_trial.ClaimedTrial.tell",
        "sweepmore.sweep.claimed_trial.ClaimedTrial.keep",
        "sweepmore.sweep.claimed_trial.ClaimedTrial.attach",
        "sweepmore.sweep.worker.must_end",
    ],
}


def timed_run(trials: int, outputs: Path) -> None:
    """In a process of its own: run the sweep with timers, print what `measured` returns."""
    seconds: dict[str, float] = defaultdict(float)
    depth = [0]

    def timer(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            depth[0] += 1
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                depth[0] -= 1
                if not depth[0]:
                    seconds[part] += time.perf_counter() - began

        return wrapped

    for part, names in PARTS.items():
        for name in names:
            owner, attribute = _owner(name)
            setattr(owner, attribute, timer(part, getattr(owner, attribute)))
    sys.argv = ["train.py", "-m", *sweep_arguments(trials, outputs)]
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    total, training = totals(outputs)
    per_trial = (total - training) / trials
    parts = {part: value / trials for part, value in seconds.items()}
    print("\n" + json.dumps({"trial": per_trial} | parts))


def _owner(name: str) -> tuple[Any, str]:
    """The module or class that holds a dotted name, and the last part."""
    owner, _, attribute = name.rpartition(".")
    return pkgutil.resolve_name(owner), attribute


def sweep_arguments(trials: int, outputs: Path) -> list[str]:
    return [
        "optim.steps=1",
        "optim=adamw",
        "optim.lr=tag(log,interval(1e-4,1e-1))",
        "hydra/sweeper/sampler=tpe",
        f"hydra.sweeper.n_trials={trials}",
        "hydra.sweeper.study_name=overhead",
        f"hydra.sweeper.outputs={outputs}",
    ]


def totals(outputs: Path) -> tuple[float, float]:
    """Seconds from the first start to the last end, and of training, from the study itself."""
    import optuna

    url = f"sqlite:///{outputs / 'studies.db'}"
    trials = optuna.load_study(study_name="overhead", storage=url).get_trials(deepcopy=False)
    began = min(t.datetime_start for t in trials if t.datetime_start)
    ended = max(t.datetime_complete for t in trials if t.datetime_complete)
    results = [
        json.loads((Path(t.user_attrs["folder"]) / "result.json").read_text()) for t in trials
    ]
    return (ended - began).total_seconds(), sum(result["seconds"] for result in results)


def measured(trials: int) -> dict[str, float]:
    """Seconds a trial outside training, in all (``trial``) and by part."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        command = [sys.executable, "-m", "benchmarks.overhead", "--run", str(trials), folder]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(sizes: Sequence[int]) -> str:
    """Markdown: milliseconds a trial, a column for each number of trials."""
    columns = [measured(trials) for trials in sizes]
    head = "| ms a trial | " + " | ".join(f"{trials:,} trials" for trials in sizes) + " |"
    rows = [head, "|---" * (len(sizes) + 1) + "|"]
    for part in sorted(columns[0], key=lambda part: -columns[0][part]):
        cells = " | ".join(f"{1000 * column.get(part, 0):.0f}" for column in columns)
        rows.append(f"| {'in all' if part == 'trial' else part} | {cells} |")
    rest = [
        column["trial"] - sum(value for part, value in column.items() if part != "trial")
        for column in columns
    ]
    rows.append("| the rest | " + " | ".join(f"{1000 * value:.0f}" for value in rest) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        timed_run(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        print(table([int(word) for word in sys.argv[1:]] or [100]))
        print(machine())
