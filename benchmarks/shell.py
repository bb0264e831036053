"""From the shell's prompt to the result: ``python train.py experiment=fast`` and the lecture's loop
as a script, start-up included on both sides.

``python -m benchmarks.shell``
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

from benchmarks.common import ROOT, Comparison, measure, text
from benchmarks.level import LEVEL

PAIRS = 3


def seconds(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - began


def compare() -> Comparison:
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = measure(
            lambda: seconds(
                "train.py", "experiment=fast", f"hydra.run.dir={folder}/run${{now:%f}}"
            ),
            lambda: seconds("-m", "benchmarks.lecture", str(LEVEL)),
            PAIRS,
            warm=False,
        )
    work = (
        f"a new process until it has printed a dev loss ≤ {LEVEL} and ended; ours also writes its "
        "record, figures, samples and an offline W&B run"
    )
    return Comparison("the same, from the prompt to the result", work, "s", ours, theirs)


if __name__ == "__main__":
    print(text(compare()))
