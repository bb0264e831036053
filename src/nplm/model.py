"""The multilayer perceptron of the lecture (after Bengio et al. 2003, eq. 1 without the direct
connections).

Symbols: n contexts, b = block_size, V tokens, m = emb, h = hidden.
    C (V, m)   W1 (b·m, h)   b1 (h,)   W2 (h, V)   b2 (V,)
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nplm import config

# keeps the variance of tanh units near one (torch.nn.init.calculate_gain("tanh"))
TANH_GAIN = 5 / 3
# "output near zero": the lecture's next part uses 0.01 for the same purpose
SMALL = 0.01


class MLP(nn.Module):
    """Next-token logits from the embeddings of the last b tokens, through one tanh layer."""

    def __init__(self, shape: config.Model, vocabulary_size: int) -> None:
        super().__init__()
        self.shape = shape
        width = shape.block_size * shape.emb
        self.C = nn.Parameter(torch.empty(vocabulary_size, shape.emb))
        self.W1 = nn.Parameter(torch.empty(width, shape.hidden))
        self.b1 = nn.Parameter(torch.empty(shape.hidden))
        self.W2 = nn.Parameter(torch.empty(shape.hidden, vocabulary_size))
        self.b2 = nn.Parameter(torch.empty(vocabulary_size))

    @torch.no_grad()
    def init(self, generator: torch.Generator) -> None:
        """Draw C, W1, b1, W2, b2 in this order from one CPU generator.

        ``lecture``: standard normal. ``scaled``: W1 by the tanh gain over the root of its fan-in,
        biases zero, W2 small, so that the first loss is about ln V.
        """
        for parameter in self.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        if self.shape.init == "scaled":
            self.W1.mul_(TANH_GAIN / math.sqrt(self.W1.shape[0]))
            self.b1.zero_()
            self.W2.mul_(SMALL)
            self.b2.zero_()

    def logits(self, contexts: Tensor) -> Tensor:
        """(n, b) tokens → (n, V) unnormalised log-probabilities of the next token."""
        embedded = F.embedding(contexts, self.C)  # (n, b, m), the same as C[contexts]
        flat = embedded.view(len(contexts), -1)  # (n, b·m): no copy
        hidden = torch.tanh(torch.addmm(self.b1, flat, self.W1))  # (n, h)
        return torch.addmm(self.b2, hidden, self.W2)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def widest(self) -> int:
        """Numbers a context occupies in the widest layer: what bounds an evaluation's memory."""
        return max(self.W1.shape[0], self.W1.shape[1], self.W2.shape[1])


def build_model(shape: config.Model, vocabulary_size: int, generator: torch.Generator) -> MLP:
    """An initialised model on the CPU."""
    model = MLP(shape, vocabulary_size)
    model.init(generator)
    return model
