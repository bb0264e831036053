"""The model that a config names: built, sized, restored from a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import overload

import torch

from nplm import config
from nplm.baselines import BigramModel, NgramModel
from nplm.checkpoint import Checkpoint
from nplm.mixture import Mixture
from nplm.model import MLP, LanguageModel
from sweepmore.errors import ConfigError
from sweepmore.importing import imported


@overload
def build_model(shape: config.Model, vocabulary_size: int, generator: torch.Generator) -> MLP: ...


@overload
def build_model(
    shape: config.AnyModel, vocabulary_size: int, generator: torch.Generator
) -> LanguageModel: ...


def build_model(
    shape: config.AnyModel, vocabulary_size: int, generator: torch.Generator
) -> LanguageModel:
    """Return an initialised model on the CPU. Raises ConfigError for a ``model.target`` that cannot
    be used."""
    model = empty_model(shape, vocabulary_size)
    model.init(generator)
    return model


def empty_model(shape: config.AnyModel, vocabulary_size: int) -> LanguageModel:
    """Return the model with uninitialised parameters."""
    match shape:
        case config.Model():
            return MLP(shape, vocabulary_size)
        case config.Bigram():
            return BigramModel(shape, vocabulary_size)
        case config.Ngram():
            return NgramModel(shape, vocabulary_size)
    return _class_of(shape)(shape, vocabulary_size)


def size_of(shape: config.AnyModel, vocabulary_size: int) -> int:
    """Return the number of parameters, without allocating them."""
    with torch.device("meta"):
        return empty_model(shape, vocabulary_size).size


def restored(weights: Checkpoint) -> LanguageModel:
    """Return the model of a file of weights."""
    about = weights.about
    size = len(about["vocabulary"])
    model = empty_model(config.model_from(about["model"]), size)
    if about.get("mix") is None:
        model.load(weights.tensors)
        return model
    ngram = NgramModel(config.Ngram(order=about["mix"]["order"]), size)
    model.load(weights.part("net"))
    ngram.load(weights.part("ngram"))
    return Mixture(model, ngram, float(weights.tensors["weight"]))


def _class_of(shape: config.Own) -> type[LanguageModel]:
    """Return the user's class. Raises ConfigError where no class has that name, or it is no model.

    A checkpoint also names a class, so the class must not be code that came with the checkpoint.
    """
    module = shape.target.rpartition(".")[0]
    if module not in sys.modules and (place := _among_runs(module)) is not None:
        problem = f"model.target={shape.target} lies among runs: {place}."
        cure = "A run's folder holds data: check the code, and move it to your own code."
        raise ConfigError(problem, value=shape.target, cure=cure)
    try:
        target = imported(shape.target)
    except ImportError as error:
        cure = "Give module.Class that is installed or in the working directory."
        problem = f"model.target={shape.target} cannot be imported: {error}."
        raise ConfigError(problem, value=shape.target, cure=cure) from error
    if not (isinstance(target, type) and issubclass(target, LanguageModel)):
        cure = "Give a subclass of nplm.model.LanguageModel with init and logits."
        problem = f"model.target={shape.target} is not a language model."
        raise ConfigError(problem, value=shape.target, cure=cure)
    return target


def _among_runs(module: str) -> Path | None:
    """Return the run's folder that contains the module, or None. Nothing is executed to find out.

    A folder of outputs needs no ``__init__.py`` to be importable from the folder above it.
    """
    for entry in map(Path, sys.path):
        file = entry.joinpath(*module.split(".")).with_suffix(".py")
        if not file.exists() and not file.with_suffix("").is_dir():
            continue
        inside = [folder for folder in file.parents if entry in folder.parents]
        for folder in inside:
            if folder.name in ("runs", "studies") or (folder / "provenance.json").exists():
                return folder
    return None
