"""The keys of ``hydra.sweeper`` with their defaults.

Hydra imports the plugin, and so this module, at every start of every application: therefore it
imports neither Hydra nor Optuna.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sweepmore.errors import ConfigError, did_you_mean
from sweepmore.process.placement import Placement
from sweepmore.statistics.directions import DIRECTIONS
from sweepmore.typed import setting

# Former keys, each with the key that replaces it. Old commands and config files may hold them.
RETIRED: Mapping[str, str] = {"seed": "sampler.seed"}


@dataclass(frozen=True)
class Settings:
    """The keys of ``hydra.sweeper``: the stock Optuna sweeper's, and ours."""

    params: Mapping[str, Any] | None = setting(
        None, "parameter → what is searched, in Hydra's grammar or a list"
    )
    n_trials: int | None = setting(
        None, "trials in all; null: every point of a grid, else 20", at_least=1
    )
    n_jobs: int | Literal["auto"] = setting(
        1, "workers; auto: as many as fill the machine", at_least=1, at_most=1024
    )
    placement: Placement | None = setting(
        None, "what a worker takes: {gpu: 0.25, cpu: 4}; null: a GPU, its part of the cores"
    )
    direction: Any = setting("minimize", "minimize | maximize, or a list of them")
    storage: Any = setting(None, "a database URL, or a node; null: studies.db in outputs")
    study_name: str | None = setting(None, "null: from the question itself")
    sampler: Any = setting(None, "auto: the grid where there is one, else tpe")
    pruner: Any = setting(None, "none, median, hyperband …")
    max_failure_rate: float = setting(
        0.5, "share of failed trials that ends it", at_least=0, at_most=1
    )
    custom_search_space: str | None = setting(None, "path of a function (config, trial)")
    repeats: Any = setting(None, "key → values: each trial runs for each; their mean counts")
    enqueue: tuple[Mapping[str, Any], ...] | None = setting(None, "configurations, tried first")
    max_retries: int = setting(3, "retries of a trial whose worker died", at_least=0)
    on_change: Literal["auto", "refuse", "new", "continue"] = setting(
        "auto", "if the question changed; auto: refuse where the command names the study, else new"
    )
    identity: str | None = setting(None, "path of a function (config): what else matters")
    question_ignore: tuple[str, ...] = setting(
        # usual names of where a run is tracked, computed and stored: the result is the same
        ("wandb", "device", "paths"),
        "keys that are no part of the question",
    )
    outputs: str = setting("outputs", "studies' folder, relative to the application's")
    layout: Literal["auto", "study", "hydra"] = setting(
        "auto", "where trials lie: study's folder | hydra.sweep.dir; auto: the latter where set"
    )
    keep: Literal["all", "best"] = setting("all", "whose checkpoints stay: all | best trial only")
    dry: bool = setting(False, "show and check, run nothing")

    @property
    def directions(self) -> list[Literal["minimize", "maximize"]]:
        """One direction for each objective. Raises ConfigError on an unknown one."""
        given = self.direction if isinstance(self.direction, list) else [self.direction]
        for direction in given or ["[]"]:
            if direction not in DIRECTIONS:
                near = did_you_mean(str(direction), DIRECTIONS)
                cure = f"Give minimize or maximize.{near}"
                problem = f"hydra.sweeper.direction={direction} is unknown."
                raise ConfigError(problem, value=direction, cure=cure)
        return list(given)
