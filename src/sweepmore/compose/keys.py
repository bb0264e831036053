"""The keys of ``hydra.sweeper`` with their defaults, for the plugin, which Hydra imports at every
start of every application: so this module imports neither Hydra nor Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sweepmore.errors import ConfigError, did_you_mean
from sweepmore.statistics.directions import DIRECTIONS
from sweepmore.typed import setting


@dataclass(frozen=True)
class Settings:
    """``hydra.sweeper``: the stock Optuna sweeper's keys, and ours."""

    params: Mapping[str, Any] | None = setting(
        None, "parameter → what is searched, in Hydra's grammar or a list"
    )
    n_trials: int | None = setting(
        None, "in all, of a grid at most its points; null: the whole grid, else 20", at_least=1
    )
    n_jobs: int = setting(1, "workers", at_least=1, at_most=1024)
    direction: Any = setting("minimize", "minimize | maximize, or a list of them")
    storage: Any = setting(None, "a database URL, or a node; null: studies.db in outputs")
    study_name: str | None = setting(None, "null: from the question itself")
    sampler: Any = setting(None, "auto: the grid where there is one, else tpe")
    pruner: Any = setting(None, "none, median, hyperband …")
    max_failure_rate: float = setting(0.5, "share of failed trials", at_least=0, at_most=1)
    custom_search_space: str | None = setting(None, "path of a function (config, trial)")
    repeats: Any = setting(None, "key → values: each trial runs for each; their mean counts")
    enqueue: tuple[Mapping[str, Any], ...] | None = setting(None, "configurations, tried first")
    max_retries: int = setting(3, "of a trial whose worker died", at_least=0)
    on_change: Literal["auto", "refuse", "new", "continue"] = setting(
        "auto", "a changed question; auto: refuse where the command names the study, else new"
    )
    identity: str | None = setting(None, "path of a function of the config: what else matters")
    question_ignore: tuple[str, ...] = setting(
        # by their usual names: where a run is tracked, computed and kept does not change its answer
        ("wandb", "device", "paths"),
        "keys that do not matter",
    )
    outputs: str = setting("outputs", "studies' folder, relative to the application's")
    seed: int | None = setting(None, "of the sampler", at_least=0, below=2**32)
    layout: Literal["auto", "study", "hydra"] = setting(
        "auto", "trials lie in: the study's folder | hydra.sweep.dir; auto: there where it is set"
    )
    keep: Literal["all", "best"] = setting("all", "checkpoints of: all | best trial only")
    dry: bool = setting(False, "show and check, run nothing")

    @property
    def directions(self) -> list[Literal["minimize", "maximize"]]:
        given = self.direction if isinstance(self.direction, list) else [self.direction]
        for direction in given or ["[]"]:
            if direction not in DIRECTIONS:
                near = did_you_mean(str(direction), DIRECTIONS)
                cure = f"Give minimize or maximize.{near}"
                problem = f"hydra.sweeper.direction={direction} is unknown."
                raise ConfigError(problem, value=direction, cure=cure)
        return list(given)
