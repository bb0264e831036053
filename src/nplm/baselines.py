"""Counting models, which a net has to beat."""

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
    """Return name and dev loss (nats per token) of the weakest model that a net has to beat.

    It counts pairs; among words, most pairs of dev do not occur in train, where adding one to each
    count is no better than guessing, so these are smoothed by Kneser–Ney.
    """
    if not splits.vocabulary.unit.of_words:
        return "bigram by counting", bigram_loss(splits)
    return "Kneser-Ney of order 2", best_kneser_ney(splits, [2])[0].loss(splits.dev)


def bigram_loss(splits: Splits) -> float:
    """Return the dev loss (nats per token) of a bigram counted on train, each count plus one.

    It is the lecture's first baseline (makemore part 1); 2.45 on names.txt.
    """
    size, train, dev = len(splits.vocabulary), splits.train, splits.dev
    # only the pairs that occur: for words, a table of all pairs would take gigabytes
    kinds, numbers = torch.unique(_flat(train, size), return_counts=True)
    asked = _flat(dev, size)
    at = torch.searchsorted(kinds, asked).clamp_(max=len(kinds) - 1)
    number = torch.where(kinds[at] == asked, numbers[at], 0)
    total = torch.bincount(train.contexts[:, -1], minlength=size)[dev.contexts[:, -1]]
    return float(-((number + 1.0).double() / (total + size)).log().mean())


def _flat(split: Split, size: int) -> Tensor:
    """Return (n,) an integer for each pair of an example's last token and target."""
    return split.contexts[:, -1] * size + split.targets


def pairs(split: Split, size: int) -> Tensor:
    """Return (V, V) float64: how often the column's token follows the row's; ``size`` is V."""
    return torch.bincount(_flat(split, size), minlength=size * size).view(size, size).double()


def log_frequencies(split: Split, size: int, smoothing: float) -> Tensor:
    """Return (V, V) float64: the log of each token's share after the row's token, with
    ``smoothing`` added to each count; ``size`` is V."""
    counts = pairs(split, size) + smoothing
    return counts.log() - counts.sum(1, keepdim=True).log()


class BigramModel(LanguageModel):
    """A row of logits in W (V, V) for each last token: counted, or trained as a one-layer net,
    whose loss is lowest at the frequencies."""

    shape: config.Bigram

    def __init__(self, shape: config.Bigram, vocabulary_size: int) -> None:
        super().__init__(shape, vocabulary_size)
        self.takes_steps = shape.by == "net"
        self.recordable, self.noisy = True, False
        self.W = nn.Parameter(torch.empty(vocabulary_size, vocabulary_size))

    @torch.no_grad()
    def init(self, generator: torch.Generator) -> None:
        """Draw W from the standard normal distribution, as in the lecture."""
        self.W.copy_(torch.randn(self.W.shape, generator=generator))

    def logits(self, contexts: Tensor) -> Tensor:
        return nn.functional.embedding(contexts[:, -1], self.W)

    @torch.no_grad()
    def count(self, splits: Splits) -> None:
        self.W.copy_(log_frequencies(splits.train, self.vocabulary_size, self.shape.smoothing))


class NgramModel(LanguageModel):
    """Modified Kneser–Ney; its logits are log-probabilities, computed on the CPU."""

    shape: config.Ngram
    takes_steps = False

    def __init__(self, shape: config.Ngram, vocabulary_size: int) -> None:
        super().__init__(shape, vocabulary_size)
        self.counted: KneserNey | None = None

    def init(self, generator: torch.Generator) -> None:
        """Begin without counts: nothing is drawn."""
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
        """The number of counts and discounts; 0 before it has counted."""
        return 0 if self.counted is None else self.counted.parameters

    @property
    def widest(self) -> int:
        return self.vocabulary_size
