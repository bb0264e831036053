"""Files of weights: what describes their model, how they are written, how they start a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from nplm import checkpoint as files
from nplm.checkpoint import Checkpoint
from nplm.config import AnyModel, Ensemble, model_from
from nplm.data import Splits
from nplm.mixture import Mixture
from nplm.model import LanguageModel
from nplm.run_files import WEIGHTS
from sweepmore.errors import RunError


def about_model(model: LanguageModel, splits: Splits) -> dict[str, Any]:
    """Return what is written beside weights, so that they can be used without anything else:
    the model's settings, the tokens in the order of their numbers, and the data's fingerprint."""
    mix = {"order": model.ngram.shape.order} if isinstance(model, Mixture) else None
    return {
        "model": asdict(model.shape),
        "mix": mix,
        "vocabulary": list(splits.vocabulary.tokens),
        "unit": {"name": splits.vocabulary.unit.name, "lower": splits.vocabulary.unit.lower},
        "data": {"name": splits.name, "fingerprint": splits.fingerprint},
    }


def save_weights(
    folder: Path, model: LanguageModel, splits: Splits, dev_loss: float | None
) -> None:
    """Write ``model.safetensors`` into ``folder``: C, W1, b1, W2, b2 … as they are evaluated at
    the run's end, shaped as in the lecture. ``dev_loss`` is in nats per token."""
    about = about_model(model, splits) | {"dev_loss": dev_loss}
    files.save(folder / WEIGHTS, Checkpoint(model.tensors(), about))


def load_weights(model: LanguageModel, source: Checkpoint, splits: Splits) -> None:
    """Copy the weights of ``source`` into ``model``, in place.

    ``source`` is a training state, a file of weights, or a mixture's file, whose net is
    taken. Raises RunError with a list of the differences where the weights have another shape or
    belong to another vocabulary, and for an ensemble's file, which holds none.
    """
    shape = model_from(source.about["model"])
    if isinstance(shape, Ensemble) and not isinstance(model.shape, Ensemble):
        problem = f"An {shape} has no weights of its own to begin with."
        cure = "Give the folder of one of its members, which its config.yaml names."
        raise RunError(problem, value=len(shape.members), cure=cure)
    theirs, ours = _shape(shape), _shape(model.shape)
    differing = [
        f"model.{key}={theirs.get(key)} there, {ours.get(key)} here"
        for key in {**theirs, **ours}
        if theirs.get(key) != ours.get(key)
    ]
    if tuple(source.about["vocabulary"]) != splits.vocabulary.tokens:
        differing.append("the vocabularies differ")
    if differing:
        raise RunError(
            f"The weights do not fit this run: {'; '.join(differing)}.",
            value=differing,
            cure="Give the settings and the data of the run that made them.",
        )
    # a training state names its weights model.C, a file of weights C, that of a mixture net.C
    model.load(source.part("model") or source.part("net") or source.tensors)


def _shape(settings: AnyModel) -> dict[str, Any]:
    """Return the settings that determine the shape of the weights: all but init and dropout."""
    apart = ("init", "dropout", "emb_dropout")
    return {key: value for key, value in asdict(settings).items() if key not in apart}
