"""The model that a config names: built, sized, restored from a checkpoint."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch

from nplm import checkpoint as files
from nplm import config
from nplm.averaging import Ensemble
from nplm.baselines import BigramModel, NgramModel
from nplm.checkpoint import Checkpoint
from nplm.mixture import Mixture
from nplm.model import MLP, LanguageModel
from nplm.run_files import WEIGHTS
from sweepmore.errors import ConfigError, RunError
from sweepmore.importing import imported
from sweepmore.wording import shown_path


@overload
def build_model(shape: config.Model, vocabulary_size: int, generator: torch.Generator) -> MLP: ...


@overload
def build_model(
    shape: config.AnyModel, vocabulary_size: int, generator: torch.Generator, folder: Path = ...
) -> LanguageModel: ...


def build_model(
    shape: config.AnyModel,
    vocabulary_size: int,
    generator: torch.Generator,
    folder: Path = Path(),
) -> LanguageModel:
    """Return an initialised model on the CPU. Raises ConfigError for a ``model.target`` that cannot
    be used, RunError as ``opened_ensemble``; ``folder`` is of the run whose model it is."""
    model = empty_model(shape, vocabulary_size, folder)
    model.init(generator)
    return model


def empty_model(
    shape: config.AnyModel, vocabulary_size: int, folder: Path = Path()
) -> LanguageModel:
    """Return the model with uninitialised parameters; only an ensemble has its members' already."""
    match shape:
        case config.Model():
            return MLP(shape, vocabulary_size)
        case config.Bigram():
            return BigramModel(shape, vocabulary_size)
        case config.Ngram():
            return NgramModel(shape, vocabulary_size)
        case config.Ensemble():
            return opened_ensemble(shape, folder)
    return _class_of(shape)(shape, vocabulary_size)


def size_of(shape: config.AnyModel, vocabulary_size: int) -> int:
    """Return the number of parameters, without allocating them."""
    with torch.device("meta"):
        return empty_model(shape, vocabulary_size).size


def restored(weights: Checkpoint, folder: Path = Path()) -> LanguageModel:
    """Return the model of a file of weights, which lies in ``folder``."""
    about = weights.about
    size = len(about["vocabulary"])
    model = empty_model(config.model_from(about["model"]), size, folder)
    if about.get("mix") is None:
        model.load(weights.tensors)
        return model
    ngram = NgramModel(config.Ngram(order=about["mix"]["order"]), size)
    model.load(weights.part("net"))
    ngram.load(weights.part("ngram"))
    return Mixture(model, ngram, float(weights.tensors["weight"]))


def ensemble_of(runs: Sequence[Path], folder: Path | None = None) -> config.Ensemble:
    """Return the record of the ensemble of these runs, which refers to them from ``folder``, or by
    absolute paths.

    Raises RunError for a run without weights, and where the runs have learned from different
    splits, tokens or units.
    """
    abouts = [files.load(_present(run) / WEIGHTS).about for run in runs]
    for run, about in zip(runs, abouts, strict=True):
        if differing := _differing(abouts[0], about):
            raise RunError(
                f"{shown_path(run)} and {shown_path(runs[0])} cannot be averaged: their "
                f"{' and '.join(differing)} differ.",
                value=differing,
                cure="Average runs with the same data, split and tokens.",
            )
    return config.Ensemble(
        members=tuple(config.Member(_path_from(folder, run), _digest(run)) for run in runs),
        block_size=max(config.model_from(about["model"]).block_size for about in abouts),
        fingerprint=abouts[0]["data"]["fingerprint"],
    )


def opened_ensemble(shape: config.Ensemble, folder: Path) -> Ensemble:
    """Return the ensemble with its members, read from their runs as seen from ``folder``.

    Raises RunError that names the member which is missing, or whose weights have changed.
    """
    runs = [_unchanged(member, folder) for member in shape.members]
    weights = [files.load(run / WEIGHTS) for run in runs]
    members = [restored(each, run) for each, run in zip(weights, runs, strict=True)]
    return Ensemble(shape, members, [each.about["dev_loss"] for each in weights])


def _differing(ours: Any, theirs: Any) -> list[str]:
    """Return what differs in the descriptions of two files of weights."""
    pairs = {
        "splits": (ours["data"]["fingerprint"], theirs["data"]["fingerprint"]),
        "vocabularies": (ours["vocabulary"], theirs["vocabulary"]),
        "units": (ours.get("unit"), theirs.get("unit")),
    }
    return [name for name, (one, other) in pairs.items() if one != other]


def _path_from(folder: Path | None, run: Path) -> str:
    """Return the path of a run as it is written into a record."""
    absolute = run.resolve()
    if folder is None:
        return absolute.as_posix()
    return Path(os.path.relpath(absolute, folder.resolve())).as_posix()


def _unchanged(member: config.Member, folder: Path) -> Path:
    """Return the folder of a member. Raises RunError where its weights are not those of then."""
    run = _present((folder / member.run).resolve())
    if _digest(run) != member.sha256:
        raise _no_member(run, "has changed since the ensemble was made")
    return run


def _present(run: Path) -> Path:
    if not (run / WEIGHTS).exists():
        raise _no_member(run, "is missing")
    return run


def _no_member(run: Path, what: str) -> RunError:
    problem = f"{shown_path(run / WEIGHTS)}, a member of the ensemble, {what}."
    cure = "Restore it, or average other runs: python train.py ensemble=…"
    return RunError(problem, value=str(run), cure=cure)


def _digest(run: Path) -> str:
    """Return the SHA-256 of a run's weights."""
    return hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()


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
