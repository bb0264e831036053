"""From the shell's prompt to the result: ``python train.py experiment=fast`` and the lecture's loop
as a script, start-up included on both sides.

``python -m benchmarks.shell``
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import ROOT, Comparison, measure, text
from benchmarks.level import LEVEL
from sweepmore.runs.files import read_json

PAIRS = 3


def seconds(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - began


def compare() -> Comparison:
    def mine() -> float:
        with tempfile.TemporaryDirectory() as folder:
            took = seconds("train.py", "experiment=fast", f"hydra.run.dir={folder}/run")
            loss = read_json(Path(folder) / "run" / "result.json")["dev_loss"]
        assert loss <= LEVEL, loss
        return took

    ours, theirs = measure(
        mine, lambda: seconds("-m", "benchmarks.lecture", str(LEVEL)), PAIRS, warm=False
    )
    work = (
        f"a new process until it has printed a dev loss ≤ {LEVEL} and ended; ours also writes its "
        "record, figures, samples and an offline W&B run"
    )
    return Comparison("the same, from the prompt to the result", work, "s", ours, theirs)


if __name__ == "__main__":
    print(text(compare()))
