"""A transformer of decoder blocks: ``python train.py model=transformer``.

Symbols: n contexts, b = block_size, V tokens, d = width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from nplm.config import Own
from nplm.model import SMALL, LanguageModel, dropped
from sweepmore.errors import ConfigError
from sweepmore.typed import build, setting


@dataclass(frozen=True)
class Settings:
    width: int = setting(64, "numbers of a token in every block", at_least=1)
    heads: int = setting(4, "heads of attention, which share the width", at_least=1)
    layers: int = setting(4, "blocks", at_least=1)
    dropout: float = setting(0.0, "share of numbers left out at each step", at_least=0, below=1)


class Transformer(LanguageModel):
    """Blocks of causal attention and a perceptron, each normalised first (Radford et al. 2019).
    Only the last token predicts, so the last block computes it alone."""

    def __init__(self, shape: Own, vocabulary_size: int) -> None:
        super().__init__(shape, vocabulary_size)
        self.settings = build(Settings, shape.settings, "model.settings.")
        d, heads = self.settings.width, self.settings.heads
        if d % heads:
            problem = f"{heads} heads cannot share model.settings.width={d}."
            raise ConfigError(problem, value=d, cure="Give a multiple of model.settings.heads.")
        self.C = nn.Parameter(torch.empty(vocabulary_size, d))
        self.places = nn.Parameter(torch.empty(shape.block_size, d))
        self.blocks = nn.ModuleList(Block(d, heads) for _ in range(self.settings.layers))
        self.norm, self.out = nn.LayerNorm(d), nn.Linear(d, vocabulary_size)

    @torch.no_grad()
    def init(self, generator: Generator) -> None:
        """Scale weights by the root of their fan-in, and the output's to nearly zero."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
                parameter.mul_(parameter.shape[1] ** -0.5)
            elif name.endswith("bias"):
                parameter.zero_()
        self.out.weight.mul_(SMALL)

    def logits(self, contexts: Tensor, noise: Generator | None = None) -> Tensor:
        share, b = self.settings.dropout, self.shape.block_size
        units = dropped(F.embedding(contexts, self.C) + self.places, share, noise)  # (n, b, d)
        for block in self.blocks:
            units = block(units, 1 if block is self.blocks[-1] else b, share, noise)
        logits: Tensor = self.out(self.norm(units[:, 0]))  # (n, V)
        return logits

    def training_logits(self, contexts: Tensor, noise: Generator) -> Tensor:
        return self.logits(contexts, noise)


class Block(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.joined = heads, nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.hidden, self.back = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, units: Tensor, last: int, share: float, noise: Generator | None) -> Tensor:
        """Return what the block makes of the ``last`` places (n, last, d) of units (n, b, d)."""
        n, b, d = units.shape
        qkv = self.qkv(self.norm1(units)).view(n, b, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (n, heads, b, d/heads) each
        seen = F.scaled_dot_product_attention(q[:, :, -last:], k, v, is_causal=last == b)
        attended = self.joined(seen.transpose(1, 2).reshape(n, last, d))
        units = units[:, -last:] + dropped(attended, share, noise)  # (n, last, d)
        return units + dropped(self.back(F.gelu(self.hidden(self.norm2(units)))), share, noise)
