"""The training state that the loop carries from step to step: begun, saved and resumed."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from nplm import checkpoint as files
from nplm.building import build_model, size_of
from nplm.checkpoint import Checkpoint
from nplm.config import Bigram, Config, Ensemble
from nplm.data import Splits
from nplm.minibatches import check_table
from nplm.model import LanguageModel
from nplm.optim import Average, Optimiser, build_optimiser
from nplm.weights import about_model, load_weights
from sweepmore.errors import ConfigError, RunError

MAX_PARAMETERS = 2**30
# The most pairs of tokens in a table: 512 MiB of float64, and counting holds four at once.
MAX_PAIRS = 2**26


@dataclass
class State:
    """What the loop carries from step to step; all of it is in a checkpoint but ``train_loss``.

    ``fit`` changes it in place, so begin a new one for each run. Losses are in nats per token,
    ``seconds`` count training alone.
    """

    model: LanguageModel
    optimiser: Optimiser
    generator: torch.Generator  # of the minibatches, on the CPU
    device: torch.device
    average: Average | None
    averaged: LanguageModel  # what is evaluated and saved: ``model`` itself without an average
    built: list[Tensor]  # the buffers of a new model, where there is an average
    step: int = 0  # number of steps taken, at the last report
    seconds: float = 0.0
    smoothed: float | None = None
    dev_loss: float | None = None  # at the last evaluation
    train_loss: float | None = None
    best_loss: float = math.inf  # of dev
    best: dict[str, Tensor] | None = None  # weights of the best evaluation, not yet on disk
    losses: list[Tensor] = field(default_factory=list)  # of the steps since the last report
    drawn_from: Tensor | None = None  # the generator's state before it drew the current block

    def evaluated(self) -> LanguageModel:
        """Return the model to evaluate: with the averaged weights of this step, where there is an
        average."""
        if self.average is not None:
            with torch.no_grad():
                for tensor, value in zip(averaged_in(self.averaged), self.average.values()):
                    tensor.copy_(value)
                for tensor, value in self._not_averaged():
                    tensor.copy_(value)
        return self.averaged

    def _not_averaged(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the buffers of ``averaged`` that are the model's own, each with its value: those
        that training has not changed, such as a mask of -inf, and numbers that have no mean."""
        buffers = zip(self.averaged.buffers(), self.model.buffers(), self.built)
        for tensor, value, first in buffers:
            if not value.is_floating_point() or torch.equal(value, first):
                yield tensor, value


def begin(
    config: Config, splits: Splits, weights: Checkpoint | None = None, folder: Path = Path()
) -> State:
    """Return the first state of the run in ``folder``: freshly drawn parameters, the ``weights`` of
    another run, or an ensemble of other runs.

    Raises ConfigError for a device that is not available and for a model that is too large,
    RunError for weights that do not fit and for members of an ensemble that are not as they were.
    """
    device = pick_device(config.device)
    check_size(config, splits)
    initialisation = torch.Generator().manual_seed(config.seed)
    model = build_model(config.model, len(splits.vocabulary), initialisation, folder)
    averages = bool(config.optim.ema) and model.takes_steps
    built = [buffer.clone().to(device) for buffer in model.buffers()] if averages else []
    if weights is not None:
        load_weights(model, weights, splits)
    model.to(device)
    parameters = list(model.parameters()) if model.takes_steps else []
    optimiser = build_optimiser(config.optim, parameters)
    generator = torch.Generator().manual_seed(derived_seed(config.seed, "minibatches"))
    average = Average(averaged_in(model), config.optim.ema) if averages else None
    averaged = model if average is None else copy.deepcopy(model)
    return State(model, optimiser, generator, device, average, averaged, built)


def averaged_in(model: LanguageModel) -> list[Tensor]:
    """Return what an average over the steps is of: parameters, and the statistics that layers keep.

    The statistics of the last step would not fit averaged weights: batch-normalised, emb 12, hidden
    46, ema 0.998, they cost 0.016 of the dev loss at half of 1,600 steps, 0.001 at the end.
    """
    return [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]


def resume(config: Config, splits: Splits, saved: Checkpoint, folder: Path = Path()) -> State:
    """Return the state of the interrupted run in ``folder`` as ``save_state`` wrote it.

    Raises RunError where the data have changed since, or where the weights belong to other
    settings.
    """
    about = saved.about
    if about["data"]["fingerprint"] != splits.fingerprint:
        raise RunError(
            f"The data have changed since the run began ({splits.name}).",
            value=splits.fingerprint,
            cure="Restore the file, or begin a new run with start_from=FOLDER.",
        )
    state = begin(config, splits, saved, folder)
    state.optimiser.load(saved.part("optim"))
    if state.average is not None:
        state.average.load(saved.part("ema"))
    state.generator.set_state(saved.tensors["minibatches"])
    state.losses = [loss.to(state.device) for loss in saved.tensors.get("losses", [])]
    state.step, state.seconds = about["step"], about["seconds"]
    state.smoothed, state.dev_loss = about["smoothed"], about["dev_loss"]
    state.best_loss = math.inf if about["best_loss"] is None else about["best_loss"]
    return state


def save_state(state: State, splits: Splits, folder: Path) -> None:
    """Write the best weights, where they are new, and then the training state into ``folder``.

    They are written in this order: if only the weights reach the disk, the resumed run writes them
    again.
    """
    about = about_model(state.model, splits) | {"step": state.step, "dev_loss": state.dev_loss}
    if state.best is not None:
        best = _named("model", state.best)
        files.save(folder / files.BEST, Checkpoint(best, about | {"dev_loss": state.best_loss}))
        state.best = None
    about |= {
        "seconds": state.seconds,
        "smoothed": state.smoothed,
        "best_loss": state.best_loss if math.isfinite(state.best_loss) else None,
    }
    files.save_last(folder, Checkpoint(_tensors(state), about))


def _tensors(state: State) -> dict[str, Tensor]:
    """Return everything that is restored bit for bit. Within a block of minibatches, this includes
    the generator from which the whole block is drawn again."""
    tensors = _named("model", state.model.tensors())
    if state.average is not None:
        tensors |= _named("ema", state.average.state())
    tensors |= _named("optim", state.optimiser.state())
    if state.losses:
        assert state.drawn_from is not None
        return tensors | {"minibatches": state.drawn_from, "losses": torch.stack(state.losses)}
    return tensors | {"minibatches": state.generator.get_state()}


def _named(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the names under which ``Checkpoint.part`` finds them."""
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def derived_seed(seed: int, purpose: str) -> int:
    """Return a seed for another stream of random numbers: minibatches must not repeat the draws of
    the initialisation."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8]) >> 1


def pick_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is the first available one of cuda, mps, cpu.

    Raises ConfigError for a device that this machine lacks.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    available["cpu"] = True
    usable = [device for device, is_available in available.items() if is_available]
    if name == "auto":
        return torch.device(usable[0])
    if name not in usable:
        cure = f"Give one of: {', '.join(usable)}; device=auto takes the first."
        raise ConfigError(f"device={name} is not available.", value=name, cure=cure)
    return torch.device(name)


def check_size(config: Config, splits: Splits) -> None:
    """Raise ConfigError for a model or a table of counts that is too large, before any of it is
    allocated, and RunError for an ensemble whose members, which fit because they were trained,
    learned from another split."""
    if isinstance(config.model, Ensemble):
        check_split(config.model, splits)
        return
    size = len(splits.vocabulary)
    parameters = size_of(config.model, size)
    if parameters > MAX_PARAMETERS:
        raise ConfigError(
            f"The model has {parameters:,} parameters ({config.model}).",
            value=parameters,
            cure=f"Give smaller sizes: at most {MAX_PARAMETERS:,} parameters (4 GiB) are trained.",
        )
    if isinstance(config.model, Bigram) and parameters > MAX_PAIRS:
        raise ConfigError(
            f"{size:,} tokens make {parameters:,} pairs, which is too many for model=bigram.",
            value=parameters,
            cure="Give model=ngram model.order=2, which holds only the pairs that occur.",
        )
    if config.optim.draw != "examples":
        check_table(splits.train, size)


def check_split(model: Ensemble, splits: Splits) -> None:
    """Raise RunError for an ensemble whose members learned from another split."""
    if model.fingerprint != splits.fingerprint:
        problem = f"The members of the ensemble learned from another split than this {splits.name}."
        cure = "Restore the data file, or its settings."
        raise RunError(problem, value=splits.fingerprint, cure=cure)
