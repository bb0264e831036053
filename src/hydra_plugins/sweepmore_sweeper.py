"""The Hydra sweeper ``hydra/sweeper=sweepmore``: a door into ``sweepmore.sweep.parent``.

Hydra imports this module at every start of every application, so it imports almost nothing.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweepmore.compose.keys import RETIRED, Settings
from sweepmore.compose.samplers import PRUNERS, SAMPLERS, STOCK_KEYS

TARGET = "hydra_plugins.sweepmore_sweeper.SweepmoreSweeper"


class SweepmoreSweeper(Sweeper):
    """Hydra's sweeper: runs ``task_function`` for each trial of a study.

    ``sweepmore.compose.keys.Settings`` lists its keys.
    """

    task_function: TaskFunction | None = None  # Hydra's class declares the others

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's hook before ``sweep``; nothing is checked or created here."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep that the overrides ``arguments`` ask for; exits with 2 on bad input."""
        from sweepmore.compose.cli import errors_reported, less_garbage
        from sweepmore.sweep.parent import sweep

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.task_function is not None
        task = self.task_function
        with less_garbage(task), errors_reported():  # also for a script that only has hydra.main
            sweep(arguments, self.config, self.hydra_context, task)


def _stock_class() -> type[SweepmoreSweeper]:
    """Our class under the name of the stock plugin's, which a config for that plugin may hold.

    Hydra knows a plugin's class by ``__module__`` and ``__name__``, and then looks it up from
    ``hydra_plugins`` on, attribute by attribute (1.3.8 and 1.4).
    """
    names = {"__module__": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper"}
    stock = type("OptunaSweeper", (SweepmoreSweeper,), names)
    package: Any = sys.modules["hydra_plugins"]
    module = SimpleNamespace(OptunaSweeper=stock)
    package.hydra_optuna_sweeper = SimpleNamespace(optuna_sweeper=module)
    return stock


if find_spec("hydra_plugins.hydra_optuna_sweeper") is None:  # else that name is the stock plugin's
    OptunaSweeper = _stock_class()


def _defaults() -> dict[str, Any]:
    """The default of every key but ``sampler`` and ``pruner``, which are groups."""
    keys = [key for key in fields(Settings) if key.name not in ("sampler", "pruner")]
    return {
        key.name: [*key.default] if isinstance(key.default, tuple) else key.default for key in keys
    }


def _register() -> None:
    """Register the keys with their defaults, and the groups of samplers and pruners."""
    store = ConfigStore.instance()
    node = {
        "_target_": TARGET,
        "_recursive_": False,  # samplers are built per worker, not by Hydra
        "defaults": [{"sampler": "auto"}, {"pruner": "none"}],
        **_defaults(),
        **dict.fromkeys(RETIRED),
    }
    store.store(group="hydra/sweeper", name="sweepmore", node=node, provider="sweepmore")
    samplers = {"auto": {"_target_": "auto", "seed": None}, **SAMPLERS}
    for group, nodes in (("sampler", samplers), ("pruner", PRUNERS)):
        for name, member in nodes.items():
            place = f"hydra/sweeper/{group}"
            declared = dict.fromkeys(STOCK_KEYS.get(name, ())) if group == "sampler" else {}
            store.store(group=place, name=name, node={**member, **declared}, provider="sweepmore")


_register()
