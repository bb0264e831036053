"""What Hydra composes for a root script or a sweep, without running either."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from nplm.app import for_hydra
from nplm.config import from_hydra
from sweepmore.compose import cli
from sweepmore.compose.composing import composing, resolved
from sweepmore.compose.hydra_internals import VERSION_BASE
from sweepmore.compose.settings import Sweep
from sweepmore.compose.settings import read as settings_of_a_sweep
from sweepmore.sweep.checks import check_named
from tests.support.helpers import ROOT


@dataclass(frozen=True)
class Script:
    """A root script that Hydra composes for: its config, and how it reads what was composed."""

    config: str
    register: Callable[[], None]
    read: Callable[[DictConfig], Any]


TRAIN = Script("config", for_hydra.register, lambda node: from_hydra(resolved(node)))


def composed(script: Script, given_words: Sequence[str]) -> DictConfig:
    """As ``hydra_app`` composes it."""
    script.register()
    GlobalHydra.instance().clear()
    place = initialize_config_dir(str(ROOT / "conf"), **VERSION_BASE)
    with pytest.MonkeyPatch.context() as patch, composing(), place:
        patch.setenv(cli.ROOT_VARIABLE, str(ROOT))
        return compose(script.config, overrides=list(given_words), return_hydra_config=True)


@functools.cache
def sweeper() -> tuple[DictConfig, HydraContext]:
    """The config of ``train.py -m`` and its context; whoever changes the config takes it back."""
    for_hydra.register()
    path = create_config_search_path(str(ROOT / "conf"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cli.ROOT_VARIABLE, str(ROOT))
        loader = ConfigLoaderImpl(path)
        config = loader.load_configuration("config", [], RunMode.MULTIRUN)
    OmegaConf.set_struct(config, False)
    OmegaConf.set_readonly(config, False)
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.runtime.cwd = str(ROOT)
    return config, HydraContext(config_loader=loader, callbacks=Callbacks())


def check_setting(key: str, value: Any) -> None:
    """What a sweep does before it composes, with this value of a key of ``hydra.sweeper``."""
    config, context = sweeper()
    kept = copy.deepcopy(config.hydra.sweeper)
    try:
        with composing():  # "${": Hydra refuses it before it is anybody's setting
            config.hydra.sweeper[key] = value
        words = ["model.emb=2,3", "optim.lr=interval(0,1)"]
        check_named(settings_of_a_sweep(words, config, context))
    finally:
        config.hydra.sweeper = kept


def swept(words: list[str], **keys: Any) -> Sweep:
    """What the sweeper reads from a command with these keys of ``hydra.sweeper``."""
    config, context = sweeper()
    config = copy.deepcopy(config)
    for key, value in keys.items():
        config.hydra.sweeper[key] = value
    return settings_of_a_sweep(words, config, context)
