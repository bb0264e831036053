"""Minibatches: the part of train that a step uses.

Symbols: n examples, m distinct contexts, b = block_size, V tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from nplm.config import Config, Optim
from nplm.data import Split, Splits, count
from sweepmore.errors import ConfigError

# Step k of a block → contexts (batch, b) and targets: tokens (batch,) or shares (batch, V).
Block = Callable[[int], tuple[Tensor, Tensor]]
# Number of steps and a generator on the CPU → a block of steps, drawn at once.
Draw = Callable[[int, torch.Generator], Block]

# The most numbers in the table of next-token distributions: 1 GiB of float32. Names need m·V of
# 0.15 to 1.4 million, the words of austen.txt 12 million at block size 1, 240 at 2, 771 at 4.
MAX_TABLE = 2**28


def drawing(optim: Optim, train: Split, size: int) -> Draw:
    """Return the function that draws blocks as ``optim.draw`` says; ``size`` is V.

    ``examples``: uniform with replacement, the target is a token. ``contexts``: in proportion to
    their number, the target is the whole next-token distribution. ``full``: every distinct
    context, weighted so that the mean over contexts is the loss of the split.

    The expected gradient of all three is that of the split's loss. Drawing an example means
    drawing a context by its number and then a target from the context's distribution;
    ``contexts`` takes that second expectation exactly, so its variance is smaller by that of the
    target given the context (Rao-Blackwell).
    """
    if optim.draw == "examples":
        return lambda steps, generator: _examples(train, optim.batch_size, steps, generator)
    table = distributions(train, size)
    share = torch.bincount(train.counts.rows, train.counts.numbers) / len(train)
    if optim.draw == "full":
        whole = train.counts.contexts, (table * (share * len(share))[:, None]).float()
        return lambda steps, generator: lambda k: whole
    ends = share.cumsum(0)
    return lambda steps, generator: _contexts(
        train.counts.contexts, table, ends, optim.batch_size, steps, generator
    )


def _examples(train: Split, batch: int, steps: int, generator: torch.Generator) -> Block:
    rows = torch.randint(len(train), (steps, batch), generator=generator)
    rows = rows.to(train.targets.device).view(-1)
    # whole rows are copied at once; indexing copies number by number
    contexts = train.contexts.index_select(0, rows).view(steps, batch, -1).unbind()
    targets = train.targets.index_select(0, rows).view(steps, batch).unbind()
    return lambda k: (contexts[k], targets[k])


def _contexts(
    contexts: Tensor,
    table: Tensor,
    ends: Tensor,
    batch: int,
    steps: int,
    generator: torch.Generator,
) -> Block:
    """Draw by inversion: take the context into whose part of [0, 1) a uniform number falls."""
    uniform = torch.rand((steps, batch), generator=generator, dtype=torch.float64)
    uniform = uniform.to(device=ends.device, dtype=ends.dtype)
    rows = torch.searchsorted(ends, uniform, right=True).clamp_(max=len(ends) - 1).unbind()
    return lambda k: (contexts.index_select(0, rows[k]), table.index_select(0, rows[k]))


def first_batch(config: Config, splits: Splits) -> tuple[Config, Splits]:
    """Return config and splits with the first ``optim.batch_size`` examples as train, all of them
    in each step. A model that works learns them by heart (the lecture's first check)."""
    n = min(config.optim.batch_size, len(splits.train))
    contexts, targets = splits.train.contexts[:n], splits.train.targets[:n]
    counts = count(contexts.numpy(), targets.numpy(), len(splits.vocabulary))
    # the lines that these examples come from: those that end in the batch, and the one it cuts
    lines = splits.train.lines[: int((targets == 0).sum()) + int(targets[-1] != 0)]
    train = Split(lines, contexts, targets, counts)
    optim = replace(config.optim, draw="full")
    return replace(config, optim=optim), replace(splits, train=train)


def distributions(train: Split, size: int) -> Tensor:
    """Return (m, V) float32: the shares of the next tokens of each distinct context. Rows sum to
    one; ``size`` is V."""
    counts = train.counts
    m = len(counts.contexts)
    table = torch.zeros((m, size), dtype=counts.numbers.dtype, device=counts.rows.device)
    table[counts.rows, counts.targets] = counts.numbers
    return (table / table.sum(1, keepdim=True)).float()


def check_table(train: Split, size: int) -> None:
    """Raise ConfigError where the table of ``distributions`` would be too large."""
    m = len(train.counts.contexts)
    if m * size > MAX_TABLE:
        raise ConfigError(
            f"{m:,} contexts × {size:,} tokens are too many for optim.draw=contexts or full.",
            value=m * size,
            cure="Give optim.draw=examples, or a smaller model.block_size.",
        )
