"""A model that a signal finds within a step: ``model=own model.target=tests.slow_model.Slow``."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from examples.gru.gru import GRU

SECONDS = 60.0


class Slow(GRU):
    """One training step takes a minute; evaluations are as fast as ever."""

    def training_logits(self, contexts: Tensor, noise: torch.Generator) -> Tensor:
        time.sleep(SECONDS)
        return super().training_logits(contexts, noise)
