"""Modified Kneser–Ney smoothing: counting, done well.

Symbols: n contexts, b tokens each, V tokens in all, m distinct contexts of a level. The losses of
given targets come from sparse counts: with 17,000 words, no array of n · V numbers is made.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nplm.data import Split, Splits, distinct

if TYPE_CHECKING:  # 0.2 s that a net does not need
    from scipy.sparse import csr_matrix

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# For each level but the lowest: the sorted keys of its contexts, their rows in the level, and the
# number of contexts in the level below.
Index = Sequence[tuple[Ints, Ints, int]]

# Orders that are tried on dev. Beyond 7 the loss of names.txt only rises (2.0560 at order 4, 1.9740
# at 6).
ORDERS = range(1, 8)


@dataclass(frozen=True)
class Level:
    """One order k: its contexts (m, k-1), sparse ``numbers`` (m, V) of how often each token follows
    each context, and the ``discounts`` (3,) of counts of one, two, and three or more."""

    contexts: Ints
    numbers: csr_matrix
    discounts: Floats

    def shares(self, rows: Ints) -> tuple[Floats, Floats]:
        """Return, for the contexts in ``rows`` (r,), the discounted share of each next token (r, V)
        and the share that is left for the order below (r, 1)."""
        numbers = self.numbers[rows].toarray()
        off = np.concatenate([[0.0], self.discounts])[np.minimum(numbers, 3)]
        totals = numbers.sum(1, keepdims=True)
        return (numbers - off) / totals, off.sum(1, keepdims=True) / totals

    @cached_property
    def totals(self) -> Floats:
        """How often each context occurs, (m,)."""
        return np.asarray(self.numbers.sum(1), dtype=np.float64)[:, 0]

    @cached_property
    def kinds(self) -> Floats:
        """How many tokens follow each context once, twice, and more often, (m, 3)."""
        numbers = self.numbers
        rows = np.repeat(np.arange(len(self.contexts)), np.diff(numbers.indptr))
        cells = rows * 3 + np.minimum(numbers.data, 3) - 1
        kinds = np.bincount(cells, minlength=3 * len(self.contexts))
        return kinds.reshape(-1, 3).astype(np.float64)


@dataclass(frozen=True)
class KneserNey:
    """Interpolated modified Kneser–Ney smoothing (Chen & Goodman 1999, eq. 26 and 27).

    A model of order k uses the last k-1 tokens. The highest order counts examples; each lower one
    counts the different contexts of the next order that a token follows. Each order has three
    discounts, in closed form from how many counts are one, two, three and four. Below the lowest
    order comes the uniform distribution.
    """

    levels: tuple[Level, ...]
    size: int

    def probabilities(self, contexts: Ints) -> Floats:
        """Return the probability of every next token (n, V) after contexts (n, b), b ≥ order - 1.

        Each row sums to one. Where only the targets matter, ``losses`` needs far less memory.
        """
        p = np.full((len(contexts), self.size), 1 / self.size)
        for level, rows in zip(self.levels, _rows(contexts, self.index)):
            is_known = rows >= 0
            shares, left = level.shares(rows[is_known])
            p[is_known] = shares + left * p[is_known]
        return p

    def losses(self, contexts: Ints, targets: Ints) -> Floats:
        """Return the loss (n,) of each target (n,) after its context (n, b), in nats."""
        p = np.full(len(targets), 1 / self.size)
        for level, rows in zip(self.levels, _rows(contexts, self.index)):
            is_known, number, total, kinds = _counts_at(level, rows, targets)
            off = np.concatenate([[0.0], level.discounts])[np.minimum(number, 3).astype(np.int64)]
            p = np.where(is_known, (number - off + kinds @ level.discounts * p) / total, p)
        nats: Floats = -np.log(p)
        return nats

    def loss(self, split: Split) -> float:
        """Return the mean over the examples of ``split``, in nats per token."""
        counts = split.counts
        nats = self.losses(counts.contexts.numpy()[counts.rows.numpy()], counts.targets.numpy())
        return float(nats @ counts.numbers.numpy() / len(split))

    @cached_property
    def index(self) -> Index:
        """Where each level but the lowest has its contexts. A context is a token followed by one of
        the contexts of the level below, so a single integer is its key."""
        index: list[tuple[Ints, Ints, int]] = []
        for below, level in itertools.pairwise(self.levels):
            *_, rows = _rows(level.contexts, index)
            keys = level.contexts[:, 0] * len(below.contexts) + rows
            order = np.argsort(keys, kind="stable")
            index.append((keys[order], order, len(below.contexts)))
        return index

    @property
    def parameters(self) -> int:
        """The number of counts and discounts."""
        return sum(level.numbers.nnz + len(level.discounts) for level in self.levels)


def kneser_ney(contexts: Ints, targets: Ints, size: int, order: int) -> KneserNey:
    """Return the model of this order, counted on the examples; ``contexts`` (n, b) with
    b ≥ order - 1, ``targets`` (n,), ``size`` V."""
    levels = [
        _level(*_counted(contexts, targets, size, k, highest=k == order), size)
        for k in range(1, order + 1)
    ]
    return KneserNey(tuple(levels), size)


def best_kneser_ney(splits: Splits, orders: Sequence[int] = ORDERS) -> tuple[KneserNey, int]:
    """Return the model with the lowest dev loss, and its order. Orders that need longer contexts
    than the splits have are left out."""
    contexts, targets = splits.train.contexts.numpy(), splits.train.targets.numpy()
    usable = [order for order in orders if order - 1 <= contexts.shape[1]]
    models = {k: kneser_ney(contexts, targets, len(splits.vocabulary), k) for k in usable}
    best = min(models, key=lambda order: models[order].loss(splits.dev))
    return models[best], best


def _counted(
    contexts: Ints, targets: Ints, size: int, order: int, highest: bool
) -> tuple[Ints, Ints]:
    """Return what this order counts: examples, or the distinct (order + 1)-grams without their
    first token."""
    if highest:
        return _last(contexts, order - 1), targets
    grams = np.concatenate([_last(contexts, order), targets[:, None]], axis=1)
    kinds = grams[distinct(grams, size)[0]]
    return kinds[:, 1:-1], kinds[:, -1]


def _level(contexts: Ints, targets: Ints, size: int) -> Level:
    from scipy.sparse import csr_matrix

    first, rows = distinct(contexts, size)
    pairs, numbers = np.unique(rows * size + targets, return_counts=True)
    matrix = csr_matrix((numbers, (pairs // size, pairs % size)), shape=(len(first), size))
    return Level(contexts[first], matrix, _discounts(numbers))


def _discounts(numbers: Ints) -> Floats:
    """Return D1, D2 and D3+ in closed form (Chen & Goodman 1999).

    Where the data are too few for it, each is a half (guess): a count of counts is zero, or a
    discount is not positive, which would leave nothing for tokens without counts.
    """
    few = np.array([0.5, 0.5, 0.5])
    n1, n2, n3, n4 = (int((numbers == times).sum()) for times in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return few
    y = n1 / (n1 + 2 * n2)
    discounts = np.array([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    return discounts if discounts.min() > 0 else few


def tuned(model: KneserNey, dev: Split) -> KneserNey:
    """Return the model with the discounts that minimise the loss of ``dev``: L-BFGS begins at the
    closed form and changes their logits, between 0 and 1, 2 and 3."""
    counts = dev.counts
    contexts, targets = counts.contexts.numpy()[counts.rows.numpy()], counts.targets.numpy()
    levels_counts = [
        tuple(map(torch.from_numpy, _counts_at(level, rows, targets)))
        for level, rows in zip(model.levels, _rows(contexts, model.index))
    ]
    limits = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    closed = torch.from_numpy(np.stack([level.discounts for level in model.levels]))
    free = torch.logit(closed / limits, eps=1e-3).requires_grad_()
    optimiser = torch.optim.LBFGS([free], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        p = torch.full((len(targets),), 1 / model.size, dtype=torch.float64)
        for (is_known, number, total, kinds), discounts in zip(
            levels_counts, limits * torch.sigmoid(free)
        ):
            off = torch.cat([torch.zeros(1, dtype=torch.float64), discounts])
            share = (number - off[number.clamp(max=3).long()]) / total
            p = torch.where(is_known, share + (kinds @ discounts) / total * p, p)
        mean = -(p.log() @ counts.numbers) / len(dev)
        mean.backward()  # type: ignore[no-untyped-call]
        return mean

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    best = (limits * torch.sigmoid(free)).detach().numpy()
    levels = [replace(level, discounts=row) for level, row in zip(model.levels, best)]
    return replace(model, levels=tuple(levels))


def _counts_at(
    level: Level, rows: Ints, targets: Ints
) -> tuple[NDArray[np.bool_], Floats, Floats, Floats]:
    """Return, for each context in ``rows`` and its target: whether the level knows the context, how
    often the target follows it, how often any token does, and (n, 3) how many tokens follow it
    once, twice, and more often."""
    is_known, row = rows >= 0, np.maximum(rows, 0)
    asked = targets.copy()  # scipy sets a flag of what it is given, which a tensor's memory refuses
    number = np.asarray(level.numbers[row, asked], dtype=np.float64).reshape(-1)
    return is_known, number, level.totals[row], level.kinds[row]


def to_tensors(model: KneserNey) -> dict[str, Tensor]:
    """Return the whole model as named tensors, for a checkpoint."""
    tensors: dict[str, Tensor] = {}
    for k, level in enumerate(model.levels, start=1):
        matrix = level.numbers
        tensors |= {
            f"{k}.contexts": torch.from_numpy(level.contexts.copy()),
            f"{k}.starts": torch.from_numpy(matrix.indptr.astype(np.int64)),
            f"{k}.tokens": torch.from_numpy(matrix.indices.astype(np.int64)),
            f"{k}.numbers": torch.from_numpy(matrix.data.astype(np.int64)),
            f"{k}.discounts": torch.from_numpy(level.discounts.copy()),
        }
    return tensors


def from_tensors(tensors: Mapping[str, Tensor], size: int) -> KneserNey:
    """Return the model that ``to_tensors`` was given; ``size`` is V."""
    from scipy.sparse import csr_matrix

    levels = []
    for k in range(1, len(tensors) // 5 + 1):
        starts, tokens, numbers, contexts, discounts = (
            tensors[f"{k}.{part}"].cpu().numpy()
            for part in ("starts", "tokens", "numbers", "contexts", "discounts")
        )
        matrix = csr_matrix((numbers, tokens, starts), shape=(len(contexts), size))
        levels.append(Level(contexts, matrix, discounts))
    return KneserNey(tuple(levels), size)


def _last(contexts: Ints, width: int) -> Ints:
    return contexts[:, contexts.shape[1] - width :]


def _rows(contexts: Ints, index: Index) -> Iterator[Ints]:
    """Yield, level by level from the lowest, (n,) the row of each context's last tokens, or -1."""
    rows = np.zeros(len(contexts), dtype=np.int64)
    yield rows
    for width, (keys, order, below) in enumerate(index, start=1):
        asked = contexts[:, -width] * below + rows
        at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        rows = np.where((rows >= 0) & (keys[at] == asked), order[at], -1)
        yield rows
