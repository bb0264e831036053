"""Everything that is private in Hydra and OmegaConf: the module to check against a new version.

The tested versions are in requirements.lock, and in requirements-hydra14.lock for the next one.
pyproject bounds what may be installed, because a private name can move in any release.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import hydra
import hydra._internal.config_loader_impl as hydra_loader
import omegaconf
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import ChoiceSweep, Override, ValueType
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

# What ``hydra.launcher._target_`` is where nobody chose another launcher.
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"

# ``hydra.sweep`` where nobody has set it (hydra/conf/hydra/output/default.yaml).
SWEEP_DEFAULTS = {
    "dir": "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}",
    "subdir": "${hydra.job.num}",
}

# The functions that read one override after another, by the end of their names: an error is about
# the override that they are reading. Elsewhere a local variable may be left from a finished loop.
ONE_BY_ONE = ("._apply_overrides_to_config", "Overrides.__init__")

# The function that raises where a group has no such option; its ``group`` is the group's name.
NOT_FOUND = "config_not_found_error"

IS_13 = hydra.__version__.startswith("1.3.")
# For ``hydra.main(**VERSION_BASE)``: 1.3 warns without it, and 1.4 warns with it. Without it 1.4
# does what 1.3 does with it.
VERSION_BASE = {"version_base": "1.3"} if IS_13 else {}


def register_resolver(name: str, function: Callable[..., Any]) -> None:
    """Make ``${name:…}`` call ``function``; an earlier resolver of that name is replaced.

    OmegaConf 2.4 renamed the method, and 2.3 has another one of the new name.
    """
    is_23 = omegaconf.__version__.startswith("2.3.")
    register: Any = OmegaConf.register_new_resolver if is_23 else OmegaConf.register_resolver
    register(name, function, replace=True)


def flags_parser() -> ArgumentParser:
    """The parser of Hydra's own flags on a command line."""
    return get_args_parser()


def store(**entry: Any) -> None:
    """Add an entry to Hydra's ``ConfigStore``; it replaces an earlier one of the same name.

    Hydra 1.4 must be asked to do so, and 1.3 cannot be asked.
    """
    more: dict[str, Any] = {} if IS_13 else {"replace": True}
    ConfigStore.instance().store(**entry, **more)


def loader_of(sources: Iterable[tuple[str, str]]) -> ConfigLoader:
    """A loader over these (provider, path) pairs only; earlier ones have precedence."""
    path = ConfigSearchPathImpl()
    for provider, place in sources:
        path.append(provider, place)
    return ConfigLoaderImpl(path)


def group_test(
    loader: ConfigLoader, config_name: str, overrides: Sequence[str]
) -> Callable[[str], bool]:
    """A function that says whether a key names a config group, also of ``hydra.searchpath``.

    The public ``get_group_options`` can say so, but reads all sources again at each call: 31 ms
    for each key of a trial (n=12, 2026-11).
    """
    assert isinstance(loader, ConfigLoaderImpl)  # Hydra has no other
    _, repository = loader._parse_overrides_and_create_caching_repo(config_name, list(overrides))
    return repository.group_exists


def apply_values(values: Sequence[Override], config: DictConfig) -> None:
    """Set values in a composed config as Hydra does, with ``+``, ``~`` and types."""
    ConfigLoaderImpl._apply_overrides_to_config(list(values), config)


def name_after(task: Sequence[Override], config: DictConfig) -> None:
    """Record in a composed config the overrides of the application's own keys."""
    job = config.hydra.job
    config.hydra.overrides.task = [override.input_line for override in task]
    if hasattr(hydra_loader, "get_overrides_dirname"):  # since 1.4 it is a resolver, which follows
        job.override_dirname = hydra_loader.get_overrides_dirname(
            list(task),
            kv_sep=job.config.override_dirname.kv_sep,
            item_sep=job.config.override_dirname.item_sep,
            exclude_keys=job.config.override_dirname.exclude_keys,
        )


@contextmanager
def before_folders(look: Callable[[Path], None]) -> Iterator[None]:
    """Inside the block, call ``look(folder)`` when a run's folder is known and not created yet.

    Hydra has no hook there, but sets its ``HydraConfig``, which holds the folder.
    """
    original = HydraConfig.set_config

    def set_config(self: HydraConfig, cfg: DictConfig) -> None:
        original(self, cfg)
        if (folder := OmegaConf.select(cfg, "hydra.runtime.output_dir")) is not None:
            look(Path(folder))

    HydraConfig.set_config = set_config  # type: ignore[method-assign]
    try:
        yield
    finally:
        HydraConfig.set_config = original  # type: ignore[method-assign]


@contextmanager
def groups_listed_quickly() -> Iterator[None]:
    """Inside the block, Hydra 1.3 lists the options of groups from the sources that it has.

    By itself it copies all sources for each group, 113 times and 0.9 s for one ``--help``
    (2026-11). 1.4 does so no more.
    """
    listed = ConfigLoaderImpl.get_group_options

    def options(
        self: ConfigLoaderImpl,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        if config_name is None and not overrides:  # neither of which would add a source
            return self.repository.get_group_options(group_name, results_filter)
        return listed(self, group_name, results_filter, config_name, overrides)

    if IS_13:
        ConfigLoaderImpl.get_group_options = options  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.get_group_options = listed  # type: ignore[method-assign]


def for_another_process(context: HydraContext) -> dict[str, Any]:
    """The parts of ``context`` that another process needs, by name.

    Its loader and callbacks belong to this process. Since Hydra 1.4 the rest is the targets that
    the application allows to be instantiated.
    """
    of_this = ("config_loader", "callbacks")
    return {f.name: getattr(context, f.name) for f in fields(context) if f.name not in of_this}


def fresh_context(config: DictConfig, more: Mapping[str, Any]) -> HydraContext:
    """A context in another process; ``more`` is what ``for_another_process`` returned."""
    loader = ConfigLoaderImpl(create_config_search_path(None))
    return HydraContext(config_loader=loader, callbacks=Callbacks(config), **more)


def callbacks_of(config: DictConfig) -> Any:
    """The callbacks that a composed config names, for a ``HydraContext``."""
    return Callbacks(config)


def without_callbacks(context: HydraContext) -> HydraContext:
    """A context for a job that is not the application's: a worker."""
    return replace(context, callbacks=Callbacks())


def choice_among(key: Override, values: list[Any]) -> Override:
    """An override of ``key`` that chooses among these values.

    Hydra's grammar cannot write all of them: ``choice(null,1)`` is an error, and ``null`` alone is
    a fixed value.
    """
    return replace(
        key,
        value_type=ValueType.CHOICE_SWEEP,
        _value=ChoiceSweep(list=values),
        input_line=f"{key.get_key_element()}={values}",
    )


def error_of(ended: JobReturn) -> BaseException | None:
    """What the task raised, or None.

    The public ``return_value`` prints a line of its own and raises it.
    """
    if ended.status is JobStatus.COMPLETED:
        return None
    error = ended._return_value
    assert isinstance(error, BaseException)
    return error


def root_of(node: DictConfig) -> Any:
    """The whole config that a node is part of."""
    return node._get_root()
