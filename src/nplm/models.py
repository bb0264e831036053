"""The model that a config names: built, sized, restored from a checkpoint."""

from __future__ import annotations

import importlib
from typing import overload

import torch

from nplm import config
from nplm.baselines import Bigram, Ngram
from nplm.checkpoint import Checkpoint
from nplm.mixture import Mixture
from nplm.model import MLP, LanguageModel
from sweepmore.errors import ConfigError


@overload
def build_model(shape: config.Model, vocabulary_size: int, generator: torch.Generator) -> MLP: ...


@overload
def build_model(
    shape: config.AnyModel, vocabulary_size: int, generator: torch.Generator
) -> LanguageModel: ...


def build_model(
    shape: config.AnyModel, vocabulary_size: int, generator: torch.Generator
) -> LanguageModel:
    """An initialised model on the CPU."""
    model = empty_model(shape, vocabulary_size)
    model.init(generator)
    return model


def empty_model(shape: config.AnyModel, vocabulary_size: int) -> LanguageModel:
    """The model with parameters of any value."""
    match shape:
        case config.Model():
            return MLP(shape, vocabulary_size)
        case config.Bigram():
            return Bigram(shape, vocabulary_size)
        case config.Ngram():
            return Ngram(shape, vocabulary_size)
    return _class_of(shape)(shape, vocabulary_size)


def size_of(shape: config.AnyModel, vocabulary_size: int) -> int:
    """Number of parameters, without the memory for them."""
    with torch.device("meta"):
        return empty_model(shape, vocabulary_size).size


def restored(weights: Checkpoint) -> LanguageModel:
    """The model of a file of weights."""
    about = weights.about
    size = len(about["vocabulary"])
    model = empty_model(config.model_from(about["model"]), size)
    if about.get("mix") is None:
        model.load(weights.tensors)
        return model
    ngram = Ngram(config.Ngram(order=about["mix"]["order"]), size)
    model.load(weights.part("net"))
    ngram.load(weights.part("ngram"))
    return Mixture(model, ngram, float(weights.tensors["weight"]))


def _class_of(shape: config.Own) -> type[LanguageModel]:
    """The user's class; ConfigError where there is none of that name, or it is no model."""
    module, _, name = shape.target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        cure = "Give module.Class, importable from the working directory or installed."
        problem = f"model.target={shape.target} cannot be imported: {error}."
        raise ConfigError(problem, value=shape.target, cure=cure) from error
    if not (isinstance(found, type) and issubclass(found, LanguageModel)):
        cure = "Make it a subclass of nplm.model.LanguageModel with init and logits."
        problem = f"model.target={shape.target} is no language model."
        raise ConfigError(problem, value=shape.target, cure=cure)
    return found
