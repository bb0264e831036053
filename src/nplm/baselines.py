"""Counting as models: what a net has to beat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from nplm import config
from nplm.data import Split, Splits
from nplm.kneser_ney import (
    KneserNey,
    best_kneser_ney,
    from_tensors,
    kneser_ney,
    to_tensors,
    tuned,
)
from nplm.model import LanguageModel


def least_rival(splits: Splits) -> tuple[str, float]:
    """Name and dev loss (nats per token) of the least that a net has to beat: counted pairs. Of
    words most pairs of dev were never seen, and one added to each count is as bad as none."""
    if not splits.vocabulary.unit.of_words:
        return "bigram by counting", bigram_loss(splits)
    return "Kneser-Ney of order 2", best_kneser_ney(splits, [2])[0].loss(splits.dev)


def bigram_loss(splits: Splits) -> float:
    """Dev loss (nats per token) of a bigram counted on train, one added to every count.

    The lecture's first baseline (makemore part 1); 2.45 on names.txt.
    """
    size, train, dev = len(splits.vocabulary), splits.train, splits.dev
    # the pairs that occur, not the table of all: of words it would be gigabytes
    kinds, numbers = torch.unique(_flat(train, size), return_counts=True)
    asked = _flat(dev, size)
    at = torch.searchsorted(kinds, asked).clamp_(max=len(kinds) - 1)
    number = torch.where(kinds[at] == asked, numbers[at], 0)
    total = torch.bincount(train.contexts[:, -1], minlength=size)[dev.contexts[:, -1]]
    return float(-((number + 1.0).double() / (total + size)).log().mean())


def _flat(split: Split, size: int) -> Tensor:
    """(n,) an integer for each example's last token and target."""
    return split.contexts[:, -1] * size + split.targets


def pairs(split: Split, size: int) -> Tensor:
    """(V, V) float64: how often the column's token follows the row's."""
    return torch.bincount(_flat(split, size), minlength=size * size).view(size, size).double()


def log_frequencies(split: Split, size: int, smoothing: float) -> Tensor:
    """(V, V) float64: log of each token's share after the row's, ``smoothing`` added to counts."""
    counts = pairs(split, size) + smoothing
    return counts.log() - counts.sum(1, keepdim=True).log()


class BigramModel(LanguageModel):
    """One row of logits W (V, V) for each last token: counted, or trained as a one-layer net, whose
    minimum is the frequencies."""

    shape: config.Bigram

    def __init__(self, shape: config.Bigram, vocabulary_size: int) -> None:
        super().__init__(shape, vocabulary_size)
        self.is_counted = shape.by == "counts"
        self.recordable = True
        self.W = nn.Parameter(torch.empty(vocabulary_size, vocabulary_size))

    @torch.no_grad()
    def init(self, generator: torch.Generator) -> None:
        """Standard normal, as in the lecture."""
        self.W.copy_(torch.randn(self.W.shape, generator=generator))

    def logits(self, contexts: Tensor) -> Tensor:
        return nn.functional.embedding(contexts[:, -1], self.W)

    @torch.no_grad()
    def count(self, splits: Splits) -> None:
        self.W.copy_(log_frequencies(splits.train, self.vocabulary_size, self.shape.smoothing))


class NgramModel(LanguageModel):
    """Modified Kneser–Ney; its logits are log-probabilities, computed on the CPU."""

    shape: config.Ngram
    is_counted = True

    def __init__(self, shape: config.Ngram, vocabulary_size: int) -> None:
        super().__init__(shape, vocabulary_size)
        self.counted: KneserNey | None = None

    def init(self, generator: torch.Generator) -> None:
        """Nothing is drawn: it knows nothing until it has counted."""
        self.counted = KneserNey((), self.vocabulary_size)

    def logits(self, contexts: Tensor) -> Tensor:
        assert self.counted is not None
        p = self.counted.probabilities(contexts.cpu().numpy())
        return torch.from_numpy(np.log(p)).float().to(contexts.device)

    def log_probabilities(self, contexts: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        assert self.counted is not None
        asked = contexts[rows].cpu().numpy(), targets.cpu().numpy()
        return torch.from_numpy(-self.counted.losses(*asked)).float().to(contexts.device)

    def count(self, splits: Splits) -> None:
        contexts, targets = splits.train.contexts.cpu().numpy(), splits.train.targets.cpu().numpy()
        counted = kneser_ney(contexts, targets, self.vocabulary_size, self.shape.order)
        self.counted = tuned(counted, splits.dev) if self.shape.discounts == "tuned" else counted

    def tensors(self) -> dict[str, Tensor]:
        return {} if self.counted is None else to_tensors(self.counted)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.counted = from_tensors(tensors, self.vocabulary_size)

    @property
    def size(self) -> int:
        """Counts and discounts that it holds."""
        return 0 if self.counted is None else self.counted.parameters

    @property
    def widest(self) -> int:
        return self.vocabulary_size
