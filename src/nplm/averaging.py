"""An ensemble: the mean of the probabilities of trained models, and what each more of them buys.

Symbols: K members, n contexts, b = block_size, V tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from nplm import config
from nplm.data import Splits
from nplm.losses import pair_losses
from nplm.mixture import Mixture, counting_of, least_mixed
from nplm.model import LanguageModel


class Ensemble(LanguageModel):
    """The mean of the members' probabilities, by logsumexp: log p = log Σ exp(log pₖ) - log K.

    Its members have learned already: it takes no steps, and a checkpoint of it holds no tensors,
    because ``shape`` names the members' runs. ``dev_losses`` are theirs (nats per token), as
    recorded.
    """

    shape: config.Ensemble
    takes_steps = False

    def __init__(
        self,
        shape: config.Ensemble,
        members: Sequence[LanguageModel],
        dev_losses: Sequence[float],
    ) -> None:
        super().__init__(shape, members[0].vocabulary_size)
        self.nets = nn.ModuleList(members)
        self.dev_losses = tuple(dev_losses)

    @property
    def members(self) -> list[LanguageModel]:
        return cast(list[LanguageModel], list(self.nets))

    def init(self, generator: torch.Generator) -> None:
        """Draw nothing."""

    def count(self, splits: Splits) -> None:
        """Learn nothing more."""

    def logits(self, contexts: Tensor) -> Tensor:
        """Return (n, V) log-probabilities."""
        return _mean(
            [torch.log_softmax(net.logits(_seen(net, contexts)), 1) for net in self.members]
        )

    def log_probabilities(self, contexts: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        return _mean(
            [net.log_probabilities(_seen(net, contexts), rows, targets) for net in self.members]
        )

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def load(self, tensors: object) -> None:
        """Copy nothing: the members were read from their own runs."""

    def part(self, which: Sequence[int]) -> Ensemble:
        """Return the ensemble of these members, by their places."""
        of_shape = dataclasses.replace(
            self.shape, members=tuple(self.shape.members[at] for at in which)
        )
        members = [self.members[at] for at in which]
        return Ensemble(of_shape, members, [self.dev_losses[at] for at in which])

    @property
    def size(self) -> int:
        return sum(net.size for net in self.members)

    @property
    def widest(self) -> int:
        return max(net.widest for net in self.members)


def _seen(net: LanguageModel, contexts: Tensor) -> Tensor:
    """Return what a member sees of contexts (n, b): their last tokens, where it needs fewer."""
    return contexts[:, contexts.shape[1] - net.shape.block_size :]


def _mean(logs: Sequence[Tensor]) -> Tensor:
    """Return the log of the mean of probabilities that are given by their logs. For one member
    these are the same bits."""
    return torch.stack(list(logs)).logsumexp(0) - math.log(len(logs))


@dataclass(frozen=True)
class Size:
    """What ensembles of ``members`` nets give on dev, in nats per token: by themselves, and mixed
    with counting, of which ``weight`` is the mean share."""

    members: int
    loss: float
    mixed: float
    weight: float


def sizes(model: Ensemble, splits: Splits) -> list[Size]:
    """Return the losses of ensembles of 1, 2, … of the members.

    Each is the mean over K ensembles: those of members k, k+1, … in a circle, so that each member
    is in equally many of them, and no order of the members matters much.
    """
    dev, number = splits.dev, len(model.members)
    counting = counting_of(splits, model.vocabulary_size)
    of_counting = _probabilities(counting, splits)
    each = [_probabilities(model.part([at]), splits) for at in range(number)]
    circle = torch.stack(each * 2)

    def of_size(members: int) -> Size:
        firsts = range(1 if members == number else number)
        means = [circle[first : first + members].mean(0) for first in firsts]
        alone = [-float(mean.log() @ dev.counts.numbers.double()) / len(dev) for mean in means]
        mixed = [least_mixed(mean, of_counting, dev) for mean in means]
        weights, losses = zip(*mixed, strict=True)
        return Size(members, *(sum(of) / len(firsts) for of in (alone, losses, weights)))

    return [of_size(members) for members in range(1, number + 1)]


def _probabilities(model: LanguageModel, splits: Splits) -> Tensor:
    """Return the probability of each distinct (context, target) pair of dev, in float64."""
    return (-pair_losses(model, splits.dev).double()).exp()


def ensemble_in(model: LanguageModel) -> Ensemble | None:
    """Return the ensemble that a model is, or that it mixes with counting; None for others."""
    inner = model.net if isinstance(model, Mixture) else model
    return inner if isinstance(inner, Ensemble) else None
