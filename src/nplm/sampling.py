"""New lines from a trained model, and its predictions along a given line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from nplm import checkpoint as files
from nplm.building import ensemble_of, opened_ensemble, restored
from nplm.data import encode
from nplm.losses import at_once, token_losses
from nplm.model import LanguageModel
from nplm.run_files import WEIGHTS
from nplm.vocabulary import Vocabulary, unit_of
from sweepmore.errors import RunError

# A line that is longer is cut: three times the longest name of either data file (15), rounded up.
# Nine in ten sentences of austen.txt are as short.
MAX_TOKENS = 50
# Lines grow together while their probabilities are at most this many numbers: 64 MiB of float64,
# and logits, their softmax, the draw and counting's rows hold four to six times that at once.
MAX_NUMBERS = 2**23


@dataclass(frozen=True)
class Trained:
    """A model with the vocabulary that it was trained on."""

    model: LanguageModel
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Position:
    """A prediction within a line: ``nats`` is the loss of ``token`` after ``context``, and
    ``guess`` is the most probable token."""

    context: str
    token: str
    guess: str
    guess_probability: float
    nats: float


def load_trained(folder: Path) -> Trained:
    """Return the model of the run in ``folder``, from ``model.safetensors`` alone. Raises RunError
    for a file that is missing or damaged."""
    weights = files.load(folder / WEIGHTS)
    unit = unit_of(**weights.about.get("unit", {}))
    model = restored(weights, folder)
    return Trained(model, Vocabulary(tuple(weights.about["vocabulary"]), unit))


def ensemble(*runs: Path | str) -> Trained:
    """Return the mean of the models of the runs in these folders, such as a confirmed winner's:
    ``ensemble(*sweepmore.load_study("open").winner.runs)``.

    Raises RunError where there is none, for a run without weights, and for runs that differ in
    their split or tokens.
    """
    folders = [Path(run) for run in runs]
    if not folders:
        cure = "Give the folders of trained runs."
        raise RunError("An ensemble needs a run.", value=(), cure=cure)
    model = opened_ensemble(ensemble_of(folders), Path())
    return Trained(model, load_trained(folders[0]).vocabulary)


def device_of(model: LanguageModel) -> torch.device:
    """Return the device of the parameters; a counting model has none and is on the CPU."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def sample(
    trained: Trained, n: int, seed: int, temperature: float = 1.0, prompt: str = ""
) -> list[str]:
    """Return ``n`` lines, drawn token by token from softmax(logits / temperature), each beginning
    with the tokens of ``prompt``. Raises DataError for a token that the model does not know."""
    generator = torch.Generator().manual_seed(seed)
    start = trained.vocabulary.encode(prompt)
    together = max(1, MAX_NUMBERS // len(trained.vocabulary))
    drawn = [
        line
        for first in range(0, n, together)
        for line in _grown(trained, min(together, n - first), start, generator, temperature)
    ]
    return [trained.vocabulary.text([*start, *line]) for line in drawn]


@torch.no_grad()
def _grown(
    trained: Trained, n: int, start: list[int], generator: torch.Generator, temperature: float
) -> list[list[int]]:
    """Return what follows the tokens ``start`` in each of ``n`` lines, which grow together; a line
    without an end after ``MAX_TOKENS`` is cut there."""
    model, block = trained.model, trained.model.shape.block_size
    context = [*[0] * block, *start][-block:]
    contexts = torch.tensor(context).repeat(n, 1)
    device = device_of(model)
    lines: list[list[int]] = [[] for _ in range(n)]
    growing = lines
    for _ in range(MAX_TOKENS):
        logits = model.logits(contexts.to(device)).cpu().double()
        logits -= logits.max(dim=1, keepdim=True).values  # none overflows at a low temperature
        probabilities = F.softmax(logits / temperature, dim=1)
        drawn = torch.multinomial(probabilities, 1, generator=generator)
        # lines that drew the boundary end; the others take their token and grow on
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
    """Return the model's prediction at each position of ``line``, its end included. Raises
    DataError for a character that the model does not know."""
    model, vocabulary, tokens = trained.model, trained.vocabulary, trained.vocabulary.tokens
    line = vocabulary.unit.clean(line)
    vocabulary.encode(line)  # refuses an unknown character
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
