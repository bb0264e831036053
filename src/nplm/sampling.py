"""New lines from a trained model, and what it thinks of a given one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from nplm import checkpoint as files
from nplm.building import restored
from nplm.data import encode
from nplm.losses import at_once, token_losses
from nplm.model import LanguageModel
from nplm.vocabulary import Vocabulary, unit_of

# A line that has not ended by then is cut: three times the longest name of either data file (15),
# rounded up. Of the sentences of austen.txt nine in ten are as short.
MAX_TOKENS = 50
# Lines grow together while their probabilities are at most this many numbers: 64 MiB of float64,
# of which logits, their softmax, the draw and counting's rows hold four to six at a time.
MAX_NUMBERS = 2**23


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
    unit = unit_of(**weights.about.get("unit", {}))
    return Trained(restored(weights), Vocabulary(tuple(weights.about["vocabulary"]), unit))


def device_of(model: LanguageModel) -> torch.device:
    """Where its parameters lie; counting has none and lies on the CPU."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def sample(
    trained: Trained, n: int, seed: int, temperature: float = 1.0, prompt: str = ""
) -> list[str]:
    """``n`` lines drawn token by token from softmax(logits / temperature), each beginning with
    the tokens of ``prompt``; DataError where one of them is unknown."""
    generator = torch.Generator().manual_seed(seed)
    begun = trained.vocabulary.encode(prompt)
    together = max(1, MAX_NUMBERS // len(trained.vocabulary))
    drawn = [
        line
        for first in range(0, n, together)
        for line in _grown(trained, min(together, n - first), begun, generator, temperature)
    ]
    return [trained.vocabulary.text([*begun, *line]) for line in drawn]


@torch.no_grad()
def _grown(
    trained: Trained, n: int, begun: list[int], generator: torch.Generator, temperature: float
) -> list[list[int]]:
    """What follows ``begun`` in each of ``n`` lines, which grow together; one that has no end
    after ``MAX_TOKENS`` is cut there."""
    model, block = trained.model, trained.model.shape.block_size
    context = [*[0] * block, *begun][-block:]
    contexts = torch.tensor(context).repeat(n, 1)
    device = device_of(model)
    lines: list[list[int]] = [[] for _ in range(n)]
    growing = lines
    for _ in range(MAX_TOKENS):
        logits = model.logits(contexts.to(device)).cpu().double()
        logits -= logits.max(dim=1, keepdim=True).values  # the best stays 0, however cold it is
        probabilities = F.softmax(logits / temperature, dim=1)
        drawn = torch.multinomial(probabilities, 1, generator=generator)
        alive = drawn[:, 0] != 0
        growing = [line for line, lives in zip(growing, alive.tolist(), strict=True) if lives]
        for line, token in zip(growing, drawn[alive, 0].tolist(), strict=True):
            line.append(token)
        if not growing:
            break
        contexts = torch.cat([contexts[alive, 1:], drawn[alive]], dim=1)
    return lines


@torch.no_grad()
def explain(trained: Trained, line: str) -> list[Position]:
    """What the model predicts at each position of ``line``, its end included."""
    model, vocabulary, tokens = trained.model, trained.vocabulary, trained.vocabulary.tokens
    line = vocabulary.unit.clean(line)
    vocabulary.encode(line)  # names an unknown character
    example = encode([line], vocabulary, model.shape.block_size).to(device_of(model))
    best = [
        F.softmax(model.logits(contexts), dim=1).max(dim=1)
        for contexts in torch.split(example.contexts, at_once(model))
    ]
    nats = token_losses(model, example.contexts, example.targets)
    return [
        Position(vocabulary.text(context), tokens[target], tokens[guess], share, loss)
        for context, target, guess, share, loss in zip(
            example.contexts.tolist(),
            example.targets.tolist(),
            torch.cat([part.indices for part in best]).tolist(),
            torch.cat([part.values for part in best]).tolist(),
            nats.tolist(),
            strict=True,
        )
    ]
