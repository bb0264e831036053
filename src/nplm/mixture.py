"""A net mixed with counting."""

from __future__ import annotations

import torch
from torch import Tensor

from nplm import config
from nplm.baselines import NgramModel
from nplm.data import Split, Splits
from nplm.kneser_ney import best_kneser_ney
from nplm.losses import pair_losses
from nplm.model import LanguageModel

# Steps of the golden section: 0.618^30 of the interval is below 1e-6.
SEARCH_STEPS = 30


class Mixture(LanguageModel):
    """The probabilities ``weight`` · counting + (1 - ``weight``) · net. Bengio et al. (2003,
    section 4.2) take a weight of a half; here it is chosen on dev."""

    def __init__(self, net: LanguageModel, ngram: NgramModel, weight: float) -> None:
        super().__init__(net.shape, net.vocabulary_size)
        self.net, self.ngram, self.weight = net, ngram, weight

    def logits(self, contexts: Tensor) -> Tensor:
        return self._mixed(torch.log_softmax(self.net.logits(contexts), 1),
                           self.ngram.logits(contexts))  # fmt: skip

    def log_probabilities(self, contexts: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        asked = contexts, rows, targets
        return self._mixed(self.net.log_probabilities(*asked), self.ngram.log_probabilities(*asked))

    def _mixed(self, net: Tensor, counting: Tensor) -> Tensor:
        """Return the mixture's log-probabilities from those of its parts."""
        weight = torch.tensor(self.weight, dtype=net.dtype, device=net.device)
        return torch.logaddexp(net + torch.log1p(-weight), counting + weight.log())

    def tensors(self) -> dict[str, Tensor]:
        own = {"weight": torch.tensor(self.weight, dtype=torch.float64)}
        for name, model in (("net", self.net), ("ngram", self.ngram)):
            own |= {f"{name}.{key}": tensor for key, tensor in model.tensors().items()}
        return own

    @property
    def embeddings(self) -> Tensor | None:
        return self.net.embeddings

    @property
    def size(self) -> int:
        return self.net.size + self.ngram.size

    @property
    def widest(self) -> int:
        return max(self.net.widest, self.ngram.widest)


def mixed(net: LanguageModel, splits: Splits) -> Mixture:
    """Return the net mixed with Kneser–Ney, of the order with the lowest dev loss among those that
    use no more tokens than the net; the weight is chosen on dev."""
    ngram = counting_of(splits, net.vocabulary_size)
    return Mixture(net, ngram, best_weight(net, ngram, splits.dev))


def counting_of(splits: Splits, size: int) -> NgramModel:
    """Return Kneser–Ney of the order with the lowest dev loss; ``size`` is V."""
    counted, order = best_kneser_ney(splits)
    ngram = NgramModel(config.Ngram(order=order), size)
    ngram.counted = counted
    return ngram


def best_weight(net: LanguageModel, ngram: LanguageModel, dev: Split) -> float:
    """Return counting's weight in [0, 1] with the lowest loss of ``dev``."""
    of_net, of_ngram = ((-pair_losses(model, dev).double()).exp() for model in (net, ngram))
    return least_mixed(of_net, of_ngram, dev)[0]


def least_mixed(of_net: Tensor, of_ngram: Tensor, dev: Split) -> tuple[float, float]:
    """Return counting's weight in [0, 1] with the lowest loss of ``dev``, and that loss in nats per
    token, from the probabilities (k,) of its distinct pairs. The loss is convex in the weight, so
    golden section finds the minimum."""
    numbers = dev.counts.numbers.double()

    def loss(weight: float) -> float:
        p = weight * of_ngram + (1 - weight) * of_net
        return -float(p.log() @ numbers) / len(dev)

    golden = (5**0.5 - 1) / 2
    low, high = 0.0, 1.0
    for _ in range(SEARCH_STEPS):
        first, second = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, second) if loss(first) < loss(second) else (first, high)
    best = min((0.0, 1.0, (low + high) / 2), key=loss)
    return best, loss(best)
