"""Time until the whole dev loss is at most 2.17: the lecture's run, and ``experiment=fast``.

``python -m benchmarks.level``. Only the loops count: no imports, no data, no evaluations, on
either side. The lecture's runs on the faster of one and two threads, which is measured first.
"""

from __future__ import annotations

import time
from statistics import fmean

import torch

from benchmarks import lecture
from benchmarks.common import Comparison, experiment, lecture_data, measure, text
from nplm import training
from nplm.config import Config
from nplm.data import Splits, load_splits
from nplm.result import Progress

LEVEL = 2.17
PAIRS = 5
SEEDS = range(10)  # those of sweeps=fast
# Steps of each try when the number of threads is chosen.
TRIAL_STEPS = 5_000


class Reached(Exception):
    """The level; ends ``fit`` from within its report."""


def ours(config: Config, splits: Splits, seconds: list[float]) -> float:
    """Training time (seconds) until the level; RuntimeError if it is never reached."""

    def report(progress: Progress) -> bool:
        if progress.dev_loss is not None and progress.dev_loss <= LEVEL:
            seconds.append(progress.seconds)
            raise Reached
        return False

    try:
        result = training.fit(config, splits, report)
    except Reached:
        return seconds[-1]
    raise RuntimeError(f"the run ended at {result.dev_loss}, above {LEVEL}")


def faster_threads(splits: Splits) -> int:
    """1 or 2: with how many torch runs the lecture's loop faster."""
    times = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        runs = [lecture.run(splits.train, len(splits.vocabulary), 0, TRIAL_STEPS) for _ in "abc"]
        times[threads] = min(runs)
    return min(times, key=times.__getitem__)


def compare() -> Comparison:
    data = lecture_data()
    if data.name != "names":
        raise SystemExit("names.txt is needed: SWEEPMORE_DATA_DIR=FOLDER")
    splits = load_splits(data, 3)
    threads, seeds = faster_threads(splits), iter(range(100))

    def theirs() -> float:
        torch.set_num_threads(threads)
        return lecture.seconds_to(
            LEVEL, splits.train, splits.dev, len(splits.vocabulary), next(seeds)
        )

    def mine() -> float:
        found: list[float] = []
        for seed in SEEDS:
            ours(experiment("experiment=fast", f"seed={seed}"), splits, found)
        return fmean(found)

    mine()  # the first calls of torch's operations
    times_ours, times_theirs = measure(mine, theirs, PAIRS, warm=False)
    work = (
        f"training until the whole dev loss is ≤ {LEVEL} on {data.name}: emb 10, "
        f"hidden 200, block 3; theirs evaluated every 2,000 steps on {threads} thread(s), ours "
        "(experiment=fast, one thread, the mean of its ten seeds) at each of its evaluations; no "
        "evaluation counted"
    )
    return Comparison("time to dev loss 2.17", work, "s", times_ours, times_theirs)


if __name__ == "__main__":
    began = time.monotonic()
    print(text(compare()))
    print(f"  measured in {time.monotonic() - began:.0f} s")
