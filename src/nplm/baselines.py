"""Counting: what a net has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nplm.data import Split, Splits, distinct, ranks

if TYPE_CHECKING:  # 0.2 s that the bigram of every run does not need
    from scipy.sparse import csr_matrix

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Orders that are tried on dev: beyond 7 names.txt only gets worse (2.0560 at 4, 1.9740 at 6).
ORDERS = range(1, 8)


def bigram_loss(splits: Splits) -> float:
    """Dev loss (nats per token) of a bigram counted on train, one added to every count.

    The lecture's first baseline (makemore part 1); 2.45 on names.txt.
    """
    size = len(splits.vocabulary)
    counts = _pairs(splits.train, size) + 1.0
    log_probabilities = counts.log() - counts.sum(1, keepdim=True).log()
    return float(-(_pairs(splits.dev, size) * log_probabilities).sum() / len(splits.dev))


def _pairs(split: Split, size: int) -> Tensor:
    """(V, V) float64: how often the column's token follows the row's."""
    flat = split.contexts[:, -1] * size + split.targets
    return torch.bincount(flat, minlength=size * size).view(size, size).double()


@dataclass(frozen=True)
class Level:
    """One order k: contexts (m, k-1), the discounted share of each seen next token (m, V) sparse,
    and what is left (m,) for the order below."""

    contexts: Ints
    shares: csr_matrix
    left: Floats


@dataclass(frozen=True)
class KneserNey:
    """Interpolated modified Kneser–Ney smoothing (Chen & Goodman 1999, eq. 26 and 27).

    Of ``order`` k it sees k-1 tokens. The highest order counts examples; each lower one counts in
    how many different contexts of the next order a token was seen. Three discounts an order, in
    closed form from how many counts are one, two, three and four. The lowest order goes on to the
    uniform distribution.
    """

    levels: tuple[Level, ...]
    size: int

    def probabilities(self, contexts: Ints) -> Floats:
        """(n, b) tokens → (n, V); each row sums to one. b must be at least order - 1."""
        p = np.full((len(contexts), self.size), 1 / self.size)
        for level in self.levels:
            rows = _find(level.contexts, _last(contexts, level.contexts.shape[1]), self.size)
            seen = rows >= 0
            lower = level.left[rows[seen], None] * p[seen]
            p[seen] = level.shares[rows[seen]].toarray() + lower
        return p

    def losses(self, contexts: Ints, targets: Ints) -> Floats:
        """(n,) nats of each target."""
        return -np.log(self.probabilities(contexts)[np.arange(len(targets)), targets])

    def loss(self, split: Split) -> float:
        """Mean over the examples of ``split``, in nats per token."""
        counts = split.counts
        log_p = np.log(self.probabilities(counts.contexts.numpy()))
        nats = -log_p[counts.rows.numpy(), counts.targets.numpy()]
        return float(nats @ counts.numbers.numpy() / len(split))


def kneser_ney(contexts: Ints, targets: Ints, size: int, order: int) -> KneserNey:
    """Count ``order``-grams of the examples; ``contexts`` (n, b) with b ≥ order - 1."""
    levels = [
        _level(*_counted(contexts, targets, size, k, highest=k == order), size)
        for k in range(1, order + 1)
    ]
    return KneserNey(tuple(levels), size)


def best_kneser_ney(splits: Splits, orders: Sequence[int] = ORDERS) -> tuple[KneserNey, int]:
    """The order with the lowest dev loss, and its model; orders that the splits' contexts are too
    short for are left out."""
    contexts, targets = splits.train.contexts.numpy(), splits.train.targets.numpy()
    usable = [order for order in orders if order - 1 <= contexts.shape[1]]
    models = {k: kneser_ney(contexts, targets, len(splits.vocabulary), k) for k in usable}
    best = min(models, key=lambda order: models[order].loss(splits.dev))
    return models[best], best


def _counted(
    contexts: Ints, targets: Ints, size: int, order: int, highest: bool
) -> tuple[Ints, Ints]:
    """What this order counts: examples, or the distinct (order + 1)-grams without their first."""
    if highest:
        return _last(contexts, order - 1), targets
    grams = np.concatenate([_last(contexts, order), targets[:, None]], axis=1)
    kinds = grams[distinct(grams, size)[0]]
    return kinds[:, 1:-1], kinds[:, -1]


def _level(contexts: Ints, targets: Ints, size: int) -> Level:
    from scipy.sparse import csr_matrix

    first, rows = distinct(contexts, size)
    pairs, numbers = np.unique(rows * size + targets, return_counts=True)
    discounts = _discounts(numbers)[np.minimum(numbers, 3)]
    m = len(first)
    totals = np.bincount(pairs // size, numbers, m)
    shares = (numbers - discounts) / totals[pairs // size]
    left = np.bincount(pairs // size, discounts, m) / totals
    matrix = csr_matrix((shares, (pairs // size, pairs % size)), shape=(m, size))
    return Level(contexts[first], matrix, left)


def _discounts(numbers: Ints) -> Floats:
    """[0, D1, D2, D3+]; a half each (guess) where the data are too few for the closed form: one of
    its counts is zero, or a discount is not positive, which would leave unseen tokens nothing."""
    few = np.array([0.0, 0.5, 0.5, 0.5])
    n1, n2, n3, n4 = (int((numbers == times).sum()) for times in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return few
    y = n1 / (n1 + 2 * n2)
    found = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    return found if found[1:].min() > 0 else few


def _last(contexts: Ints, width: int) -> Ints:
    return contexts[:, contexts.shape[1] - width :]


def _find(known: Ints, asked: Ints, size: int) -> Ints:
    """(n,) the row of ``known`` that equals each row of ``asked``; -1 where there is none."""
    keys = ranks(np.concatenate([known, asked]), size)
    order = np.argsort(keys[: len(known)], kind="stable")
    ours, theirs = keys[: len(known)][order], keys[len(known) :]
    at = np.minimum(np.searchsorted(ours, theirs), len(ours) - 1)
    return np.where(ours[at] == theirs, order[at], -1)
