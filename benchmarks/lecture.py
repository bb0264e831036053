"""The lecture's training loop, its cells to the letter and its names too.

``python -m benchmarks.lecture LEVEL`` trains like the lecture until a dev loss of at most LEVEL.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nplm.data import Split

STEPS, DECAY = 200_000, 100_000
# logits (n, V) of contexts (n, 3), by the parameters as they are now
Logits = Callable[[Tensor], Tensor]


def run(
    train: Split,
    vocabulary_size: int,
    seed: int,
    steps: int = STEPS,
    every: int = STEPS,
    reached: Callable[[Logits], bool] = lambda logits: False,
) -> float:
    """Seconds of the loop, calls of ``reached`` not counted; those come each ``every`` steps, and
    end it when they return True."""
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

    def logits_of(X: Tensor) -> Tensor:
        return torch.tanh(C[X].view(-1, 30) @ W1 + b1) @ W2 + b2

    torch.manual_seed(seed)  # the minibatches come from the global generator
    seconds, began = 0.0, time.perf_counter()
    for i in range(steps):
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
        lr = 0.1 if i < steps * DECAY // STEPS else 0.01
        for p in parameters:
            p.data += -lr * p.grad  # type: ignore[operator]
        # track stats
        stepi.append(i)
        lossi.append(loss.log10().item())
        if (i + 1) % every == 0:
            seconds += time.perf_counter() - began
            with torch.no_grad():
                if reached(logits_of):
                    return seconds
            began = time.perf_counter()
    return seconds + time.perf_counter() - began


def seconds_to(level: float, train: Split, dev: Split, vocabulary_size: int, seed: int) -> float:
    """Until an evaluation, each 2,000 steps, has a dev loss of at most ``level``."""
    losses: list[float] = []

    def reached(logits: Logits) -> bool:
        losses.append(F.cross_entropy(logits(dev.contexts), dev.targets).item())
        return losses[-1] <= level

    seconds = run(train, vocabulary_size, seed, every=2_000, reached=reached)
    if losses[-1] > level:
        raise RuntimeError(f"the lecture's run ended at {losses[-1]:.4f}, above {level}")
    return seconds


if __name__ == "__main__":
    from benchmarks.common import lecture_data
    from nplm.data import load_splits

    torch.set_num_threads(1)
    splits = load_splits(lecture_data(), 3)
    print(seconds_to(float(sys.argv[1]), splits.train, splits.dev, len(splits.vocabulary), 0))
