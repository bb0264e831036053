"""The metric: mean negative log-likelihood per token, in nats, over a whole split."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nplm.data import Split
from nplm.model import LanguageModel

# The most numbers in the widest layer at once: 2**22 float32 are 16 MiB, within a core's share of
# cache and memory; larger products were not faster (measured, one thread).
CHUNK_NUMBERS = 2**22
# The first loss of a net with h standard-normal units is about 2.6·sqrt(h); no net
# that fits in memory reaches this limit, so a loss above it is a divergence even if it is finite.
DIVERGED_ABOVE = 1e4


def at_once(model: LanguageModel) -> int:
    """Return how many contexts may go through the model together, so that memory is bounded."""
    return max(1, CHUNK_NUMBERS // model.widest)


def split_loss(model: LanguageModel, split: Split) -> float:
    """Return the exact loss of ``split`` in nats per token: the mean over its examples, not over
    batches. Memory is bounded.

    Each distinct context goes through the model once: the mean over examples is the sum over
    (context, target) pairs of their number times their loss.
    """
    numbers = split.counts.numbers
    return float((pair_losses(model, split).to(numbers.dtype) @ numbers) / len(split))


@torch.no_grad()
def pair_losses(model: LanguageModel, split: Split) -> Tensor:
    """Return (k,) the loss in nats of each distinct (context, target) pair, in the order of
    ``split.counts``. Memory is bounded."""
    counts = split.counts
    per_chunk = at_once(model)
    losses = torch.empty(len(counts.rows), device=counts.rows.device)
    for begin in range(0, len(counts.contexts), per_chunk):
        contexts = counts.contexts[begin : begin + per_chunk]
        ends = torch.tensor([begin, begin + len(contexts)], device=counts.rows.device)
        first, last = torch.searchsorted(counts.rows, ends).tolist()
        rows, targets = counts.rows[first:last] - begin, counts.targets[first:last]
        losses[first:last] = -model.log_probabilities(contexts, rows, targets)
    return losses


def divergence(which: str, loss: float, step: int) -> str | None:
    """Return what is wrong with ``loss``, in nats per token, of the split or minibatches that
    ``which`` names; None for one that is finite and at most ``DIVERGED_ABOVE``."""
    if math.isfinite(loss) and loss <= DIVERGED_ABOVE:
        return None
    what = "not finite" if not math.isfinite(loss) else f"above {DIVERGED_ABOVE:g}"
    return f"{which} loss {loss:g} at step {step} is {what}"


def least_loss(split: Split) -> float:
    """Return the lowest loss that a model with these contexts can have on ``split``: the entropy of
    the next token given the context, in nats per token."""
    counts = split.counts
    totals = torch.bincount(counts.rows, counts.numbers)
    return float(-(counts.numbers / totals[counts.rows]).log() @ counts.numbers / len(split))


@torch.no_grad()
def token_losses(model: LanguageModel, contexts: Tensor, targets: Tensor) -> Tensor:
    """Return (n,) the loss in nats of each target (n,) after its context (n, b). Memory is
    bounded."""
    per_chunk = at_once(model)
    losses = torch.empty(len(targets), device=targets.device)
    for begin in range(0, len(targets), per_chunk):
        part = slice(begin, begin + per_chunk)
        rows = torch.arange(len(targets[part]), device=targets.device)
        losses[part] = -model.log_probabilities(contexts[part], rows, targets[part])
    return losses
