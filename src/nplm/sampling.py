"""New lines from a trained model, and what it thinks of a given one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from nplm import checkpoint as files
from nplm.data import Vocabulary, encode
from nplm.losses import token_losses
from nplm.model import LanguageModel
from nplm.models import restored

# A line that has not ended by then is cut: three times the longest name of either data file (15),
# rounded up.
MAX_TOKENS = 50


@dataclass(frozen=True)
class Trained:
    """A model with the vocabulary that it was trained on."""

    model: LanguageModel
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Position:
    """One prediction inside a line: ``nats`` is the loss of ``token`` after ``context``."""

    context: str
    token: str
    guess: str
    guess_probability: float
    nats: float


def load_trained(folder: Path) -> Trained:
    """The model of a run, from ``model.safetensors`` alone."""
    weights = files.load(folder / files.WEIGHTS)
    return Trained(restored(weights), Vocabulary(tuple(weights.about["vocabulary"])))


def device_of(model: LanguageModel) -> torch.device:
    """Where its parameters lie; counting has none and lies on the CPU."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@torch.no_grad()
def sample(trained: Trained, n: int, seed: int, temperature: float = 1.0) -> list[str]:
    """``n`` lines drawn token by token from softmax(logits / temperature).

    All lines grow together; one that has no end after ``MAX_TOKENS`` is cut there.
    """
    model, tokens = trained.model, trained.vocabulary.tokens
    generator = torch.Generator().manual_seed(seed)
    contexts = torch.zeros((n, model.shape.block_size), dtype=torch.int64)
    device = device_of(model)
    lines = [""] * n
    growing = list(range(n))
    for _ in range(MAX_TOKENS):
        logits = model.logits(contexts.to(device)).cpu().double()
        logits -= logits.max(dim=1, keepdim=True).values  # the best stays 0, however cold it is
        probabilities = F.softmax(logits / temperature, dim=1)
        drawn = torch.multinomial(probabilities, 1, generator=generator)
        for line, token in zip(growing, drawn[:, 0].tolist(), strict=True):
            lines[line] += tokens[token] if token else ""
        alive = drawn[:, 0] != 0
        growing = [line for line, lives in zip(growing, alive.tolist(), strict=True) if lives]
        if not growing:
            break
        contexts = torch.cat([contexts[alive, 1:], drawn[alive]], dim=1)
    return lines


@torch.no_grad()
def explain(trained: Trained, line: str) -> list[Position]:
    """What the model predicts at each position of ``line``, its end included."""
    model, tokens = trained.model, trained.vocabulary.tokens
    trained.vocabulary.encode(line)  # names an unknown character
    example = encode([line], trained.vocabulary, model.shape.block_size).to(device_of(model))
    best = F.softmax(model.logits(example.contexts), dim=1).max(dim=1)
    nats = token_losses(model, example.contexts, example.targets)
    return [
        Position("".join(tokens[i] for i in context), tokens[target], tokens[guess], share, loss)
        for context, target, guess, share, loss in zip(
            example.contexts.tolist(),
            example.targets.tolist(),
            best.indices.tolist(),
            best.values.tolist(),
            nats.tolist(),
            strict=True,
        )
    ]
