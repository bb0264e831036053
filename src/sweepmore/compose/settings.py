"""``hydra.sweeper`` and the command line, read and checked before anything is created.

One file, because each check decides with the others what a sweep is: ``Sweep`` is their answer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from sqlalchemy.engine import URL

from sweepmore.compose.cli import ROOT_VARIABLE
from sweepmore.compose.composing import as_typed, resolved
from sweepmore.compose.hydra_internals import SWEEP_DEFAULTS
from sweepmore.compose.keys import RETIRED, Settings
from sweepmore.compose.overrides import override_text
from sweepmore.compose.samplers import SAMPLERS, SEEDS, STOCK_KEYS
from sweepmore.compose.space import Space
from sweepmore.compose.space_syntax import parse_space
from sweepmore.errors import ConfigError, did_you_mean
from sweepmore.process.invocation import flag_words, split_flags, start_words
from sweepmore.process.placement import Share
from sweepmore.runs.places import Place
from sweepmore.storage.urls import file_of, is_of_environment, place_of, storage_url
from sweepmore.typed import build

# How many trials a study gets by default, beside those enqueued: the stock sweeper's default.
DEFAULT_TRIALS = 20
# Optuna's column holds 512 characters, of which a confirmation's ending and a version need some.
LONGEST_NAME = 480


@dataclass(frozen=True)
class Sweep:
    """Everything that the command asks for, checked; parent and workers build upon it."""

    settings: Settings
    space: Space
    arguments: tuple[str, ...]
    root: Path
    url: URL
    engine: Mapping[str, Any]
    storage_written: str | None
    config_name: str
    hydra_overrides: tuple[str, ...]
    searchpath: tuple[str, ...]
    sources: tuple[Mapping[str, str], ...]
    job: str
    enqueued: tuple[Mapping[str, Any], ...]
    n_trials: int
    gridded: bool
    cwd: Path  # where the command was typed
    callbacks: tuple[str, ...]  # the names of Hydra's
    sweep_dir: str | None  # hydra.sweep.dir as it is written, where trials lie there
    seed: int | None  # of samplers whose node has none, from a key that is retired
    n_jobs: int  # workers; where it is auto, the parent replaces it (``placing.placed``)
    shares: tuple[Share, ...] = ()  # what each gets, where they are processes of this machine

    @property
    def outputs(self) -> Path:
        """The folder of runs and studies, as an absolute path."""
        return self.root / self.settings.outputs

    @property
    def command(self) -> dict[str, Any]:
        """How to start the study's application again, as JSON.

        It is started in ``folder``, by ``script`` and the ``flags`` that choose the config.
        ``fixed`` and ``hydra`` are the overrides that all trials share; ``words`` are all that
        were typed, for people.
        """
        typed = (*self.arguments, *self.hydra_overrides, *self.searchpath)
        return {
            "folder": str(self.cwd),
            "script": start_words(),
            "flags": flag_words(split_flags(sys.argv[1:])[0]),
            "fixed": list(self.space.fixed),
            "hydra": list(self.hydra_overrides),
            "words": [word for word in typed if not word.startswith("hydra.mode=")],  # which is -m
        }

    @property
    def place(self) -> Place | None:
        """Where the next command finds the study.

        A URL from the environment may hold a password: it is kept as it was written. None where
        a server's URL refers to the config, which no command reads, because it may hold one, too.
        """
        written = self.storage_written
        if written is not None and not is_of_environment(written):
            if self.url.get_backend_name() != "sqlite":
                return None
            written = self.url.render_as_string()
        return Place(self.outputs, written)

    @property
    def noted(self) -> Place | None:
        """``place`` as a later command finds it from any folder: a file has its absolute path."""
        place, written = self.place, self.storage_written
        if place is None or written is None or "${" in written or file_of(self.url) is None:
            return place
        return Place(self.outputs, self.url.render_as_string())

    @property
    def sampler(self) -> Any:
        """The sampler's node or short name: the chosen one, else ``grid`` or ``tpe``."""
        named = named_sampler(self.settings.sampler)
        if named is not None:
            return named
        # with n_trials a grid's sampler is not needed: tpe continues where fewer trials had begun
        return "grid" if self.gridded and self.settings.n_trials is None else "tpe"

    def fixed_params(
        self, slot: int, tried: Iterable[Mapping[str, Any]]
    ) -> Iterator[Mapping[str, Any]]:
        """The fixed parameters of the slots from ``slot`` on.

        The enqueued configurations come first, then the points of a grid that no trial has
        ``tried``; without a grid nothing more is fixed.
        """
        if self.gridded:
            return self.space.untried(self.enqueued, tried)
        return chain(self.enqueued[slot:], repeat({}))


def own_sampler(sampler: Any, choice: str | None) -> Any:
    """The sampler's node without the nulls that only its option declares.

    Without the null seed, too, that the option ``auto`` adds to a class that a file names instead.
    They are not settings of that class, and a study older than the declaration asks the same.
    """
    if not isinstance(sampler, Mapping):
        return sampler
    declared = {*STOCK_KEYS.get(choice or "", ())}
    if choice == "auto" and sampler.get("_target_", "auto") != "auto":
        declared.add("seed")
    return {
        key: value for key, value in sampler.items() if value is not None or key not in declared
    }


def named_sampler(sampler: Any) -> Any:
    """The sampler that the config names; None where we choose.

    Arguments without a class, such as the stock plugin's ``sampler: {seed: 123}``, are for TPE,
    its default.
    """
    if sampler is None or sampler == "auto":
        return None
    if not isinstance(sampler, Mapping) or sampler.get("_target_", "auto") != "auto":
        return sampler
    arguments = {key: value for key, value in sampler.items() if key != "_target_"}
    if all(value is None for value in arguments.values()):
        return None
    return {**SAMPLERS["tpe"], **arguments}


def read(arguments: Sequence[str], config: DictConfig, context: HydraContext) -> Sweep:
    """Check everything that the command says; raises ConfigError before anything is created."""
    # the settings, without what only declares them
    node = config.hydra.sweeper
    written = OmegaConf.to_container(node, resolve=False)
    assert isinstance(written, dict)
    plain = {key: value for key, value in resolved(node).items() if not key.startswith("_")}
    choice = config.hydra.runtime.choices.get("hydra/sweeper/sampler")
    plain["sampler"] = own_sampler(plain.get("sampler"), choice)
    seed = _retired_seed(plain.pop("seed", None))
    _check_kind_of_placement(plain.get("placement"))
    settings = build(Settings, plain, "hydra.sweeper.")
    # what is searched and repeated
    loader = context.config_loader
    space = parse_space(
        list(arguments), settings.params or {}, lambda group: loader.get_group_options(group)
    )
    _check_repeats(settings, space)
    _check_placement(settings)
    if settings.study_name:
        check_name(settings.study_name)
    if len(settings.directions) > 1 and _target(settings.sampler) in ("CmaEsSampler", "cmaes"):
        cure = "Use tpe, gp, nsgaii, qmc or random, or give a single direction."
        problem = "CMA-ES supports only one objective."
        raise ConfigError(problem, value=settings.direction, cure=cure)
    # where the study is stored, and how many trials it gets
    place = place_of(written.get("storage"), settings.storage)
    root = Path(os.environ.get(ROOT_VARIABLE) or config.hydra.runtime.cwd)
    enqueued = tuple(_enqueued(settings.enqueue or (), space))
    gridded = _is_gridded(settings, space)
    if gridded:  # space.size raises on intervals of floats
        n_trials = min(settings.n_trials or space.size, space.size)
        enqueued = tuple(space.completed(enqueued))
    else:
        n_trials = settings.n_trials or DEFAULT_TRIALS + len(enqueued)
    typed = as_typed(config.hydra.overrides.hydra)
    return Sweep(
        settings=settings,
        space=space,
        arguments=tuple(arguments),
        root=root,
        url=storage_url(place.written, place.resolved, root / settings.outputs),
        engine=place.engine,
        storage_written=place.written,
        config_name=config.hydra.job.config_name,
        # the folders of a searchpath are copied with the sources
        hydra_overrides=tuple(word for word in typed if not _is_searchpath(word)),
        searchpath=tuple(word for word in typed if _is_searchpath(word)),
        sources=tuple(
            {"provider": source.provider, "path": f"{source.schema}://{source.path}"}
            for source in config.hydra.runtime.config_sources
        ),
        job=config.hydra.job.name,
        enqueued=enqueued,
        n_trials=n_trials,
        gridded=gridded,
        cwd=Path(config.hydra.runtime.cwd),
        callbacks=tuple(map(str, config.hydra.get("callbacks") or ())),
        sweep_dir=_sweep_dir(settings.layout, config),
        seed=seed,
        n_jobs=1 if settings.n_jobs == "auto" else settings.n_jobs,
    )


def _retired_seed(seed: Any) -> int | None:
    """The value of ``hydra.sweeper.seed``, which old commands and config files hold."""
    if seed is None:
        return None
    if not isinstance(seed, int) or isinstance(seed, bool) or seed not in SEEDS:
        problem = f"hydra.sweeper.seed={seed} is not a valid seed."
        cure = f"Give hydra.sweeper.{RETIRED['seed']}, an integer from 0 to 2**32 - 1."
        raise ConfigError(problem, value=seed, cure=cure)
    print(
        f"warning: hydra.sweeper.seed is deprecated; give hydra.sweeper.{RETIRED['seed']}={seed}",
        file=sys.stderr,
    )
    return seed


def _sweep_dir(layout: str, config: DictConfig) -> str | None:
    written = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    assert isinstance(written, dict)
    is_set = any(written[key] != default for key, default in SWEEP_DEFAULTS.items())
    return str(written["dir"]) if layout == "hydra" or (layout == "auto" and is_set) else None


def _is_searchpath(word: str) -> bool:
    return word.lstrip("+").startswith("hydra.searchpath=")


def _is_gridded(settings: Settings, space: Space) -> bool:
    """Whether the grid's points are enumerated.

    They are where the sampler is named so, of which a smaller ``n_trials`` takes the first points.
    Without a named sampler they are where at least the whole grid is asked for: fewer trials than
    points are a search.
    """
    if _is_grid(settings.sampler):
        return True
    if named_sampler(settings.sampler) is not None or settings.custom_search_space is not None:
        return False
    if settings.n_trials is None or not space.is_discrete:
        return space.is_discrete
    return bool(space.parameters) and space.size <= settings.n_trials


def _target(sampler: Any) -> str:
    """The name of a sampler's class, or its short name: ``TPESampler``, ``tpe``."""
    target = sampler.get("_target_", "") if isinstance(sampler, Mapping) else sampler
    return str(target).rpartition(".")[2]


def _is_grid(sampler: Any) -> bool:
    return _target(sampler) in ("GridSampler", "grid")


def _check_repeats(settings: Settings, space: Space) -> None:
    repeats = settings.repeats or {}
    if not isinstance(repeats, Mapping) or not all(
        isinstance(values, list) and values for values in repeats.values()
    ):
        cure = "Give lists of values: repeats: {seed: [0, 1, 2]}"
        problem = f"hydra.sweeper.repeats={repeats} is not a list of values for each key."
        raise ConfigError(problem, value=repeats, cure=cure)
    for key in repeats:
        if key in space.searched:
            raise ConfigError(
                f"{key} is both searched and repeated.",
                value=key,
                cure="A repeated setting is averaged over, never optimised. Keep one of the two.",
            )


def _check_kind_of_placement(placement: Any) -> None:
    if placement is not None and not isinstance(placement, Mapping):
        problem = f"hydra.sweeper.placement={placement} does not say what a worker takes of what."
        cure = "Give hydra.sweeper.placement={gpu: 0.25}, {cpu: 4}, or both."
        raise ConfigError(problem, value=placement, cure=cure)


def _check_placement(settings: Settings) -> None:
    gpu = None if settings.placement is None else settings.placement.gpu
    if gpu is not None and gpu > 1 and gpu != round(gpu):
        problem = f"hydra.sweeper.placement.gpu={gpu:g} is neither a share nor a number of GPUs."
        cure = "Give up to 1 for a share of one GPU, such as 0.25, or a whole number of them."
        raise ConfigError(problem, value=gpu, cure=cure)


def _enqueued(given: Sequence[Mapping[str, Any]], space: Space) -> Iterator[Mapping[str, Any]]:
    parameters = {parameter.name: parameter for parameter in space.parameters}
    for point in given:
        typed: dict[str, Any] = {}
        for name, value in point.items():
            if name not in parameters:
                near = did_you_mean(str(name), space.searched)
                cure = f"The searched parameters are {', '.join(space.searched)}.{near}"
                problem = f"hydra.sweeper.enqueue: {name} is not searched."
                raise ConfigError(problem, value=name, cure=cure)
            try:
                typed[name] = parameters[name].held(value)
            except ValueError as error:
                distribution = space.searched[name]
                cure = f"It is searched in {distribution}. Widen that, or leave the value out."
                text = override_text(value)
                problem = f"hydra.sweeper.enqueue: {name}={text} is outside its range."
                raise ConfigError(problem, value=value, cure=cure) from error
        yield typed


def check_name(name: str) -> None:
    """Raise ConfigError where Optuna's databases or a terminal's line cannot hold this name.

    The study's folder has a name of its own where this is not a safe one (``names.safe_name``).
    """
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        cure = f"Use 1 to {LONGEST_NAME} printable characters."
        problem = f"hydra.sweeper.study_name={name!r} is not a valid name."
        raise ConfigError(problem, value=name, cure=cure)
