"""What a parent finds out before anything starts: that what is named exists, that every corner of
the space composes, and the question that tells this study from others."""

from __future__ import annotations

from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution

from sweepmore.compose import question as questions
from sweepmore.compose.composing import as_typed, composing
from sweepmore.compose.frozen import Composer
from sweepmore.compose.overrides import override_text
from sweepmore.compose.question import Question
from sweepmore.compose.samplers import build_pruner, build_sampler
from sweepmore.compose.settings import Sweep
from sweepmore.compose.space import Space
from sweepmore.sweep.folders import check_subdir


def check_named(asked: Sweep) -> None:
    """What the settings name is there, and takes the arguments that it is given."""
    for key in ("identity", "custom_search_space"):
        if (path := getattr(asked.settings, key)) is not None:
            questions.function_at(path, f"hydra.sweeper.{key}")
    build_sampler(asked.sampler, asked.space, worker=0, trials_so_far=0, base_seed=0)
    build_pruner(asked.settings.pruner)


def base_config(asked: Sweep, config: DictConfig, loader: ConfigLoader) -> DictConfig:
    """The ``config`` of the command without the searched overrides, from the sources as they are
    now."""
    words = [*as_typed(config.hydra.overrides.hydra), *asked.space.fixed]
    with composing():
        # as for a multirun, where a group that is searched may have no option yet
        base = loader.load_configuration(asked.config_name, words, RunMode.MULTIRUN)
        OmegaConf.copy_cache(from_config=config, to_config=base)
        return base


def ask(asked: Sweep, base: DictConfig, loader: ConfigLoader) -> Question:
    """The study's question. Its points are composed on the way: see ``check_points``."""
    settings = asked.settings
    search = {
        "direction": settings.directions,
        "sampler": asked.sampler,
        "pruner": settings.pruner,
        "repeats": settings.repeats,
        "custom_search_space": settings.custom_search_space,
    }
    ignore = [*settings.question_ignore, *(settings.repeats or {})]
    return questions.ask(
        asked.space.searched,
        without_hydra(base),
        search,
        lambda: check_points(asked, loader),
        ignore,
    )


def check_points(asked: Sweep, loader: ConfigLoader) -> Any:
    """Compose the bounds, every choice that is a text, whose group's option may not exist, and
    what is repeated. Returns the identity: what the application's function says of these
    configs, which are those of trials. Without the searched values there is none to ask of,
    and one that a searched value decides differs from point to point."""
    repeats = asked.settings.repeats or {}
    composer = Composer(loader, asked.config_name, asked.hydra_overrides)
    # Each corner of the space, with the first of what is repeated.
    first = [f"{key}={override_text(repeated[0])}" for key, repeated in repeats.items()]
    answers = []
    for number, values in enumerate(sample_points(asked.space)):
        overrides = [*asked.space.fixed, *asked.space.overrides(values)]
        config = composer.compose([*overrides, *first])
        if asked.sweep_dir is not None and number == 0:
            check_subdir(config)
        if (path := asked.settings.identity) is not None:
            answers.append(questions.identify(path, without_hydra(config)))
    # Each repeated value, at the last corner.
    for key, repeated in repeats.items():
        for value in repeated:
            composer.compose([*overrides, f"{key}={override_text(value)}"])
    return questions.agreed(answers)


def without_hydra(config: DictConfig) -> DictConfig:
    """The application's own part of a composed config."""
    plain = config.copy()
    OmegaConf.set_struct(plain, False)
    del plain["hydra"]
    return plain


def sample_points(space: Space) -> list[dict[str, Any]]:
    """The low ends and first choices, the high and last ones, and each text between these in a
    first point."""
    first = {name: _end(searched, "low") for name, searched in space.searched.items()}
    points = [first, {name: _end(searched, "high") for name, searched in space.searched.items()}]
    for name, searched in space.searched.items():
        if isinstance(searched, CategoricalDistribution):
            texts = [choice for choice in searched.choices[1:-1] if isinstance(choice, str)]
            points += [{**first, name: choice} for choice in texts]
    return points


def _end(searched: BaseDistribution, end: str) -> Any:
    if isinstance(searched, CategoricalDistribution):
        return searched.choices[0 if end == "low" else -1]
    return getattr(searched, end)
