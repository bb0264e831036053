"""What a parent checks before anything starts.

Everything that the settings name must exist, and every corner of the space must compose. The
question, which identifies the study, comes out of the same configs.
"""

from __future__ import annotations

import os
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
from sweepmore.errors import ConfigError
from sweepmore.sweep.folders import check_subdir


def check_rank() -> None:
    """Check that this process is not one of several that train one model together.

    Lightning's ddp starts the command of the process again for each further device. Within a trial
    that is the sweep's command: it would take another trial, and mix its gradients with ours.
    """
    rank = os.environ.get("LOCAL_RANK", "0")
    if rank not in ("", "0"):
        problem = f"This process has LOCAL_RANK={rank}: it would begin the sweep a second time."
        cure = "Train each trial on one device, or with a strategy that spawns, such as ddp_spawn."
        raise ConfigError(problem, value=rank, cure=cure)


def check_named(asked: Sweep) -> None:
    """Check that what the settings name exists, and accepts the arguments that it is given.

    Raises a UserError otherwise: before the first trial, not within each of them.
    """
    for key in ("identity", "custom_search_space"):
        if (path := getattr(asked.settings, key)) is not None:
            questions.function_at(path, f"hydra.sweeper.{key}")
    build_sampler(asked.sampler, asked.space, worker=0, trials_so_far=0, base_seed=0)
    build_pruner(asked.settings.pruner)


def base_config(asked: Sweep, config: DictConfig, loader: ConfigLoader) -> DictConfig:
    """Compose the command's config without the searched overrides, from the present sources.

    ``config`` is the one that Hydra composed; values that its resolvers have cached are kept.
    """
    words = [*as_typed(config.hydra.overrides.hydra), *asked.space.fixed]
    with composing():
        # Compose as a multirun does: a group that is searched may have no option yet.
        base = loader.load_configuration(asked.config_name, words, RunMode.MULTIRUN)
        OmegaConf.copy_cache(from_config=config, to_config=base)
        return base


def ask(asked: Sweep, base: DictConfig, loader: ConfigLoader) -> Question:
    """Return the question of the study that this command means.

    Composes points of the space on the way (see ``check_points``), and raises a UserError when one
    of them does not compose.
    """
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
    """Compose points of the space and every repeated value, and return the study's identity.

    The points are both ends of each range and every choice that is a text, because a text may name
    an option of a config group that does not exist. The identity is what the application's
    ``identity`` function says of these configs. It is asked about several points because a
    searched value may change the answer. Raises a UserError for what does not compose.
    """
    repeats = asked.settings.repeats or {}
    composer = Composer(loader, asked.config_name, asked.hydra_overrides)
    # Compose each point with the first of the repeated values, as a trial's first run does.
    first = [f"{key}={override_text(repeated[0])}" for key, repeated in repeats.items()]
    answers = []
    for number, values in enumerate(sample_points(asked.space)):
        overrides = [*asked.space.fixed, *asked.space.overrides(values)]
        config = composer.compose([*overrides, *first])
        if asked.sweep_dir is not None and number == 0:
            check_subdir(config)
        if (path := asked.settings.identity) is not None:
            answers.append(questions.identify(path, without_hydra(config)))
    # Compose each repeated value once: at the last point, because any point will do.
    for key, repeated in repeats.items():
        for value in repeated:
            composer.compose([*overrides, f"{key}={override_text(value)}"])
    return questions.agreed(answers)


def without_hydra(config: DictConfig) -> DictConfig:
    """Return a copy of a composed config that holds the application's own part alone."""
    plain = config.copy()
    OmegaConf.set_struct(plain, False)
    del plain["hydra"]
    return plain


def sample_points(space: Space) -> list[dict[str, Any]]:
    """Return the points of the space that are composed before a search.

    The first has all low ends and first choices, the second all high ends and last choices. Each
    text among the other choices has a point of its own, which is otherwise like the first.
    """
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
