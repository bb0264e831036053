"""The hierarchical net of "Building makemore, part 5": ``python train.py model=wavenet``.

Symbols: n contexts, b = block_size, V tokens, m = emb, h = hidden.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nplm.config import Own
from nplm.model import GAINS, SMALL, LanguageModel, dropped
from sweepmore.errors import ConfigError
from sweepmore.typed import build, setting


@dataclass(frozen=True)
class Settings:
    emb: int = setting(24, "numbers that embed a token", at_least=1)
    hidden: int = setting(128, "units of each layer", at_least=1)
    dropout: float = setting(0.0, "share of numbers left out at each step", at_least=0, below=1)


class WaveNet(LanguageModel):
    """Each layer joins neighbours in pairs, as in WaveNet (van den Oord et al. 2016), until one
    place is left: log₂ b layers of tanh units, each normalised."""

    def __init__(self, shape: Own, vocabulary_size: int) -> None:
        super().__init__(shape, vocabulary_size)
        self.settings = build(Settings, shape.settings, "model.settings.")
        m, h, b = self.settings.emb, self.settings.hidden, shape.block_size
        if b < 2 or b & (b - 1):
            problem = f"model.block_size={b} cannot be halved until one place is left."
            raise ConfigError(problem, value=b, cure="Give a power of two: 2, 4, 8, 16.")
        widths = [2 * m, *[2 * h] * (b.bit_length() - 2)]  # what goes into each layer
        self.C = nn.Parameter(torch.empty(vocabulary_size, m))
        self.W = nn.ParameterList(torch.empty(width, h) for width in widths)
        self.norms = nn.ModuleList(BatchNorm(h) for _ in widths)
        self.out = nn.Linear(h, vocabulary_size)

    @torch.no_grad()
    def init(self, generator: torch.Generator) -> None:
        """Scale weights by tanh's gain over the root of their fan-in, the output's to nearly 0."""
        for weights in (self.C, *self.W, self.out.weight):
            weights.copy_(torch.randn(weights.shape, generator=generator))
        for weights in self.W:
            weights.mul_(GAINS["tanh"] * len(weights) ** -0.5)
        self.out.weight.mul_(SMALL)
        self.out.bias.zero_()

    def logits(self, contexts: Tensor, noise: torch.Generator | None = None) -> Tensor:
        share = self.settings.dropout
        units = dropped(F.embedding(contexts, self.C), share, noise)  # (n, b, m)
        for weights, norm in zip(self.W, self.norms):
            pairs = units.reshape(-1, len(weights)) @ weights  # (n·b/2, h), at last (n, h)
            units = dropped(torch.tanh(norm(pairs, noise is not None)), share, noise)
        return F.linear(units, self.out.weight, self.out.bias)  # (n, V)

    def training_logits(self, contexts: Tensor, noise: torch.Generator) -> Tensor:
        return self.logits(contexts, noise)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) of rows (k, h): by the rows' own mean and variance
    in training, later by the running ones, which are buffers and saved with the weights. With
    optim.draw=full these are over distinct contexts, not weighted by their counts."""

    mean: Tensor
    variance: Tensor

    def __init__(self, h: int) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(h)), nn.Parameter(torch.zeros(h))
        self.register_buffer("mean", torch.zeros(h))
        self.register_buffer("variance", torch.ones(h))

    def forward(self, rows: Tensor, training: bool) -> Tensor:
        training = training and len(rows) > 1  # a single row has no variance
        return F.batch_norm(rows, self.mean, self.variance, self.gain, self.bias, training)
