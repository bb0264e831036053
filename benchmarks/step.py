"""A step of training: the lecture's loop written plainly, and nplm's ``fit`` on the same work.

``python -m benchmarks.step``
"""

from __future__ import annotations

import time
from unittest import mock

import torch

from benchmarks import lecture
from benchmarks.common import Comparison, lecture_data, measure, text
from nplm import training
from nplm.config import Config, Model, Sgd
from nplm.data import Split, Splits, load_splits
from nplm.losses import split_loss
from nplm.model import MLP

# A tenth of the lecture's run; fit reports 500 times a run, so here every 40 steps, not 400.
STEPS = 20_000
PAIRS = 5
MICROSECONDS = 1e6


def ours(config: Config, splits: Splits) -> float:
    """Seconds of ``fit`` from call to return, less its evaluations: drawing and reports count."""
    evaluating = 0.0

    def timed(model: MLP, split: Split) -> float:
        nonlocal evaluating
        began = time.perf_counter()
        loss = split_loss(model, split)
        evaluating += time.perf_counter() - began
        return loss

    with mock.patch("nplm.training.split_loss", timed):
        began = time.perf_counter()
        result = training.fit(config, splits)
        elapsed = time.perf_counter() - began
    assert result.status == "ok", result.reason
    return elapsed - evaluating


def compare() -> Comparison:
    data = lecture_data()
    splits = load_splits(data, block_size=3)
    config = Config(
        model=Model(emb=10, hidden=200), optim=Sgd(steps=STEPS), data=data, device="cpu", threads=1
    )
    torch.set_num_threads(config.threads)
    mine, theirs = measure(
        lambda: ours(config, splits) / STEPS * MICROSECONDS,
        lambda: (
            lecture.run(splits.train, len(splits.vocabulary), config.seed, STEPS)
            / STEPS
            * MICROSECONDS
        ),
        PAIRS,
    )
    work = (
        f"{STEPS:,} steps of SGD, batch 32, block 3, emb 10, hidden 200 on {splits.name}; CPU, "
        "1 thread; of fit, all but its evaluations"
    )
    return Comparison("a training step, against the lecture's loop", work, "µs", mine, theirs)


if __name__ == "__main__":
    print(text(compare()))
