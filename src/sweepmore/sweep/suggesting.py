"""A trial's values: what the sampler suggests for each searched key, written as overrides."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from omegaconf import open_dict
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sweepmore.compose.frozen import Composer
from sweepmore.compose.overrides import fixed_values, override_text
from sweepmore.compose.question import call
from sweepmore.errors import ConfigError
from sweepmore.sweep.context import StudyContext


def suggested(trial: optuna.Trial, shared: StudyContext, composer: Composer) -> list[str]:
    """Suggest the trial's values, and return the overrides that all its runs share.

    They are what the command fixes, what the sampler suggests, and what a ``custom_search_space``
    adds. Raises ConfigError when the last suggests a key that the command fixes.
    """
    for name, distribution in shared.space.searched.items():
        suggest(trial, name, distribution)
    overrides = [*shared.space.fixed, *shared.space.overrides(trial.params)]
    return overrides + _custom(trial, shared, composer, overrides)


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> None:
    """Ask the study's sampler for a value of ``name``; it is in ``trial.params`` afterwards."""
    match distribution:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_float(name, low, high, step=step, log=log)
        case IntDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_int(name, low, high, step=step, log=log)
        case CategoricalDistribution(choices=choices):
            trial.suggest_categorical(name, choices)


def _custom(
    trial: optuna.Trial, shared: StudyContext, composer: Composer, overrides: Sequence[str]
) -> list[str]:
    """Return the overrides that ``custom_search_space(config, trial)`` adds by suggesting more."""
    if shared.custom_search_space is None:
        return []
    # Let the application's function suggest more values, knowing those that the trial has so far.
    before = set(trial.params)
    config = composer.compose(overrides)
    with open_dict(config):
        del config["hydra"]
    call(shared.custom_search_space, config, trial)
    # New parameters are its own. It must not choose what the command fixes, because one of the two
    # would be ignored without a word.
    added = {key: value for key, value in trial.params.items() if key not in before}
    fixed = {key.lstrip("+") for key in fixed_values(shared.space.fixed)}
    if twice := [key for key in added if key.lstrip("+") in fixed]:
        problem = f"custom_search_space suggests {twice[0]}, which the command fixes."
        cure = "Leave it out of one of the two: trial.user_attrs holds what the command fixes."
        raise ConfigError(problem, value=twice[0], cure=cure)
    return [f"{key}={override_text(value)}" for key, value in added.items()]
