"""A gated recurrent net: ``python train.py model=gru``.

Symbols: n contexts, b = block_size, V tokens, m = emb, h = hidden.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nplm.config import Own
from nplm.model import SMALL, LanguageModel, dropped
from sweepmore.typed import build, setting


@dataclass(frozen=True)
class Settings:
    emb: int = setting(64, "numbers that embed a token", at_least=1)
    hidden: int = setting(64, "units of the state", at_least=1)
    dropout: float = setting(0.0, "share of numbers left out at each step", at_least=0, below=1)


class GRU(LanguageModel):
    """One layer of gated recurrent units (Cho et al. 2014) reads the context token by token.

    The gates are those of torch.nn.GRU, where the reset gate acts after the product with U.
    """

    def __init__(self, shape: Own, vocabulary_size: int) -> None:
        super().__init__(shape, vocabulary_size)
        self.settings = build(Settings, shape.settings, "model.settings.")
        m, h = self.settings.emb, self.settings.hidden
        self.C = nn.Parameter(torch.empty(vocabulary_size, m))
        self.W, self.b = nn.Parameter(torch.empty(m, 3 * h)), nn.Parameter(torch.empty(3 * h))
        self.U, self.c = nn.Parameter(torch.empty(h, 3 * h)), nn.Parameter(torch.empty(3 * h))
        self.out = nn.Parameter(torch.empty(h, vocabulary_size))
        self.bias = nn.Parameter(torch.empty(vocabulary_size))

    @torch.no_grad()
    def init(self, generator: torch.Generator) -> None:
        """Scale weights by the root of their fan-in, and the output's to nearly zero."""
        for parameter in self.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(drawn if parameter.ndim == 2 else torch.zeros_like(drawn))  # biases: 0
        self.W.mul_(self.settings.emb**-0.5)
        self.U.mul_(self.settings.hidden**-0.5)
        self.out.mul_(SMALL)

    def logits(self, contexts: Tensor, noise: torch.Generator | None = None) -> Tensor:
        share = self.settings.dropout
        embedded = dropped(F.embedding(contexts, self.C), share, noise)  # (n, b, m)
        inputs = embedded @ self.W + self.b  # (n, b, 3·h): all tokens at once
        state = inputs.new_zeros(len(contexts), self.settings.hidden)  # (n, h)
        for of_token in inputs.unbind(1):  # (n, 3·h)
            x_reset, x_keep, x_new = of_token.chunk(3, 1)  # (n, h) each
            h_reset, h_keep, h_new = torch.addmm(self.c, state, self.U).chunk(3, 1)
            reset, keep = torch.sigmoid(x_reset + h_reset), torch.sigmoid(x_keep + h_keep)
            new = torch.tanh(x_new + reset * h_new)
            state = torch.lerp(new, state, keep)
        return torch.addmm(self.bias, dropped(state, share, noise), self.out)  # (n, V)

    def training_logits(self, contexts: Tensor, noise: torch.Generator) -> Tensor:
        return self.logits(contexts, noise)
