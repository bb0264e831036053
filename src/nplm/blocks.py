"""Blocks of steps whose minibatches are drawn together; after which steps a run reports and
evaluates.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nplm.config import Config
from nplm.data import Split
from nplm.minibatches import drawing
from nplm.state import State, derived_seed

# Reports per run, about: as many points as a figure of its loss can show.
REPORTS = 500
# The most indices that are drawn at once: a block of minibatches has 2**18 · b int64 numbers.
MAX_DRAWN = 2**18


def blocks(config: Config) -> Iterator[tuple[int, int]]:
    """Yield the steps (begin, end) of each block, in order.

    They are a function of the config alone, so that a resumed run draws the same minibatches.
    """
    steps = config.optim.steps
    length = max(1, min(steps // REPORTS, MAX_DRAWN // config.optim.batch_size))
    ends = sorted({*range(length, steps, length), *evaluations(config)})
    return zip([0, *ends], ends, strict=False)


def reports(config: Config) -> frozenset[int]:
    """Return after how many steps the run reports: at the end of each block."""
    return frozenset(end for _, end in blocks(config))


def evaluations(config: Config) -> frozenset[int]:
    """Return after how many steps train and dev are evaluated: after each share
    ``config.eval_every`` of the steps, and always after the last one."""
    steps = config.optim.steps
    every = max(1, round(steps * config.eval_every))
    return frozenset((*range(every, steps, every), steps))


def minibatches(
    config: Config, train: Split, size: int, state: State, noise: torch.Generator
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield each remaining step and its minibatch: contexts (n, b), and targets, which are tokens
    (n,) or shares of the ``size`` tokens (n, V).

    ``state.generator`` advances by a block at a time; a run that is resumed within a block draws
    the whole block again from ``state.drawn_from``, which is set here. Dropout's masks, drawn from
    ``noise``, are a function of the step, so a checkpoint need not hold them.
    """
    draw = drawing(config.optim, train, size)
    masks, noisy = derived_seed(config.seed, "dropout"), state.model.noisy
    for first, end in blocks(config):
        if end <= state.step:
            continue
        state.drawn_from = state.generator.get_state()
        minibatch = draw(end - first, state.generator)
        for step in range(max(first, state.step), end):
            if noisy:
                noise.manual_seed(masks + step)
            yield step, *minibatch(step - first)
