"""Searches among nets of one size: values of ``hydra.sweeper.custom_search_space``.

Each trial gets the widest net within a limit on parameters that its other settings allow, so no
trial is too large, and all are as large as they may be.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nplm.config import MAX_WIDTH, AnyModel, Model, Own, from_hydra
from sweepmore.compose.composing import resolved
from sweepmore.errors import ConfigError

if TYPE_CHECKING:
    import optuna
    from omegaconf import DictConfig

# The settings that make a net wider; the first that it has is suggested.
WIDTHS = ("hidden", "width")


def at_most_12k(config: DictConfig, trial: optuna.Trial) -> None:
    """Suggest the widest net of at most 12,000 parameters: the lecture's has 11,897."""
    suggest_width(config, trial, 12_000)


def at_most_300k(config: DictConfig, trial: optuna.Trial) -> None:
    """Suggest the widest net of at most 300,000 parameters, the limit of sweeps=open."""
    suggest_width(config, trial, 300_000)


def suggest_width(config: DictConfig, trial: optuna.Trial, most: int) -> None:
    """Suggest the largest width with at most ``most`` parameters, which is a range of one value.

    Raises ConfigError where even the narrowest net has more, or none of ``WIDTHS`` is a setting.
    """
    from nplm.building import size_of
    from nplm.data import load_splits

    whole = from_hydra(resolved(config))
    size = len(load_splits(whole.data, whole.model.block_size).vocabulary)
    key, model_of, step = _widened(whole.model)
    widths = range(step, MAX_WIDTH + 1, step)
    fitting = bisect.bisect_right(widths, most, key=lambda w: size_of(model_of(w), size))
    if fitting == 0:
        problem = f"Even with {key}={step} the net has more than {most:,} parameters."
        cure = "Search smaller values of the model's other settings."
        raise ConfigError(problem, value=step, cure=cure)
    trial.suggest_int(key, widths[fitting - 1], widths[fitting - 1])


def _widened(model: AnyModel) -> tuple[str, Callable[[int], AnyModel], int]:
    """Return the key of the model's width, the model of each width, and what divides the width:
    heads of attention share it."""
    if isinstance(model, Model):
        return "model.hidden", lambda width: replace(model, hidden=width), 1
    settings = model.settings if isinstance(model, Own) else {}
    name = next((name for name in WIDTHS if name in settings), None)
    if name is None or not isinstance(model, Own):
        cure = f"Give its class a setting {' or '.join(WIDTHS)}, or search without a limit."
        raise ConfigError(f"{model} has no width.", value=model.name, cure=cure)

    def model_of(width: int) -> Own:
        return replace(model, settings={**settings, name: width})

    return f"model.settings.{name}", model_of, settings.get("heads", 1)
