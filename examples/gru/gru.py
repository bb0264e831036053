"""Your own model: ``python train.py model=own model.target=examples.gru.gru.GRU``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nplm.config import Own
from nplm.model import LanguageModel


class GRU(LanguageModel):
    """A gated recurrent net (Cho et al. 2014) over the embeddings of the last b tokens.

    ``model.settings`` may give emb and hidden; both default to 64.
    """

    def __init__(self, shape: Own, vocabulary_size: int) -> None:
        super().__init__(shape, vocabulary_size)
        emb, hidden = shape.settings.get("emb", 64), shape.settings.get("hidden", 64)
        self.embed = nn.Embedding(vocabulary_size, emb)
        self.recur = nn.GRU(emb, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocabulary_size)

    @torch.no_grad()
    def init(self, generator: torch.Generator) -> None:
        for parameter in self.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)

    def logits(self, contexts: Tensor) -> Tensor:
        states, _ = self.recur(self.embed(contexts))  # (n, b, hidden)
        logits: Tensor = self.out(states[:, -1])
        return logits
