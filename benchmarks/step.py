"""A step of training: the lecture's loop written plainly, and nplm's ``fit`` on the same work.

``python -m benchmarks.step``
"""

from __future__ import annotations

import time
from unittest import mock

import torch
import torch.nn.functional as F

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


def lecture(train: Split, vocabulary_size: int, seed: int) -> float:
    """The notebook's cells to the letter, its names too; seconds of the loop."""
    Xtr, Ytr = train.contexts, train.targets
    g = torch.Generator().manual_seed(seed)
    C = torch.randn((vocabulary_size, 10), generator=g)
    W1 = torch.randn((30, 200), generator=g)
    b1 = torch.randn(200, generator=g)
    W2 = torch.randn((200, vocabulary_size), generator=g)
    b2 = torch.randn(vocabulary_size, generator=g)
    parameters = [C, W1, b1, W2, b2]
    for p in parameters:
        p.requires_grad = True
    lossi = []
    stepi = []
    began = time.perf_counter()
    for i in range(STEPS):
        # minibatch construct
        ix = torch.randint(0, Xtr.shape[0], (32,))
        # forward pass
        emb = C[Xtr[ix]]
        h = torch.tanh(emb.view(-1, 30) @ W1 + b1)
        logits = h @ W2 + b2
        loss = F.cross_entropy(logits, Ytr[ix])
        # backward pass
        for p in parameters:
            p.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        # update
        lr = 0.1 if i < STEPS // 2 else 0.01
        for p in parameters:
            p.data += -lr * p.grad  # type: ignore[operator]
        # track stats
        stepi.append(i)
        lossi.append(loss.log10().item())
    return time.perf_counter() - began


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
    torch.manual_seed(config.seed)  # the lecture draws its minibatches from the global generator
    mine, theirs = measure(
        lambda: ours(config, splits) / STEPS * MICROSECONDS,
        lambda: lecture(splits.train, len(splits.vocabulary), config.seed) / STEPS * MICROSECONDS,
        PAIRS,
    )
    work = (
        f"{STEPS:,} steps of SGD, batch 32, block 3, emb 10, hidden 200 on {splits.name}; CPU, "
        "1 thread; of fit, all but its evaluations"
    )
    return Comparison("a training step, against the lecture's loop", work, "µs", mine, theirs)


if __name__ == "__main__":
    print(text(compare()))
