"""How the cost of data grows: names × 1, × 4, × 16, sampled from a model that was trained on them.

``python -m benchmarks.growth``. Each size in a process of its own, so that its peak memory counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import ROOT, machine

FACTORS = (1, 4, 16)
STEPS = 2_000


def write_lines(path: Path, factor: int) -> None:
    """``factor`` times as many lines as the embedded names, drawn from a model of them."""
    from benchmarks.common import experiment
    from nplm import sampling, training
    from nplm.data import load_splits

    config = experiment("experiment=quick")
    splits = load_splits(config.data, 3)
    wanted = factor * sum(len(part.lines) for part in (splits.train, splits.dev)) * 10 // 9
    trained = sampling.Trained(training.fit(config, splits).model, splits.vocabulary)
    lines = [line for line in sampling.sample(trained, wanted + wanted // 20, 0) if line]
    path.write_text("\n".join(lines[:wanted]) + "\n", encoding="utf-8")


def grow(path: Path) -> dict[str, float]:
    """Measured in this process: seconds of encoding and counting, microseconds of a step, MiB of
    memory beyond what the imports take."""
    from benchmarks.common import experiment
    from nplm import training
    from nplm.data import encode, load_splits

    config = experiment("data=text", f"data.path={path}", f"optim.steps={STEPS}", "eval_every=1")
    before = peak_memory()
    splits = load_splits(config.data, 3)
    began = time.perf_counter()
    train = encode(splits.train.lines, splits.vocabulary, 3)
    encoded = time.perf_counter() - began
    result = training.fit(config, splits)
    return {
        "examples": len(train),
        "contexts": len(train.counts.contexts),
        "encode": encoded,
        "step": result.seconds / STEPS * 1e6,
        "memory": peak_memory() - before,
    }


def peak_memory() -> float:
    """MiB. From /proc, because getrusage's peak begins with that of the parent process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def table() -> str:
    """Markdown: one row a size; beside a cost, its growth over that of the examples."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for factor in FACTORS:
            path = Path(folder) / f"{factor}.txt"
            write_lines(path, factor)
            command = [sys.executable, "-m", "benchmarks.growth", str(path)]
            # the least of three: memory is the same, time is what the machine can do
            runs = [
                json.loads(
                    subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
                )
                for _ in range(3)
            ]
            rows.append({key: min(run[key] for run in runs) for key in runs[0]})
    first = rows[0]

    def against_linear(row: dict[str, float], key: str) -> str:
        return f"{row[key] / first[key] / (row['examples'] / first['examples']):.2f} × linear"

    head = (
        "| lines | train examples | distinct contexts | encode and count | µs a step "
        "| peak memory beyond the imports |\n|---|---|---|---|---|---|"
    )
    body = [
        f"| × {factor} | {row['examples']:,} | {row['contexts']:,} "
        f"| {row['encode']:.3f} s, {against_linear(row, 'encode')} "
        f"| {row['step']:.0f} | {row['memory']:.0f} MiB, {against_linear(row, 'memory')} |"
        for factor, row in zip(FACTORS, rows, strict=True)
    ]
    return "\n".join([head, *body])


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(grow(Path(sys.argv[1]))))
    else:
        print(table())
        print(machine())
