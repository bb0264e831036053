"""What a study asks: frozen when it begins, compared when it goes on, explained when it differs.

The question is plain JSON in the study's attributes. The config sources are copied into the
study's folder, because Hydra reads them anew for every trial: an edit in mid-sweep would
otherwise change the later ones.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, distribution_to_json

from sweepmore.cli import dotted
from sweepmore.errors import ConfigError
from sweepmore.overrides import override_text

Question = Mapping[str, Any]


class _ReadOnce(CachingConfigRepository):
    """Config sources that never change, so nothing is read twice: Hydra copies the sources and
    parses their YAML anew for each job (benchmarks/overhead.py shows the rest)."""

    def __init__(self, delegate: IConfigRepository) -> None:
        super().__init__(delegate)
        self.initialized: bool = False

    def __deepcopy__(self, memo: object) -> _ReadOnce:
        return self

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Once: a job's search path is that of the first one."""
        if not self.initialized:
            super().initialize_sources(config_search_path)
            self.initialized = True

    def load_config(self, config_path: str) -> ConfigResult | None:
        return copy.deepcopy(super().load_config(config_path))  # composing changes it


@dataclass(frozen=True)
class FrozenConfig:
    """Copied config sources and the name of the primary one: composes as on the first day."""

    folder: Path
    config_name: str
    hydra_overrides: tuple[str, ...]

    @property
    def exists(self) -> bool:
        return (self.folder / "sources.json").exists()

    def loader(self) -> ConfigLoader:
        path = ConfigSearchPathImpl()
        for entry in self._entries():
            if not _is_searchpath(entry):
                path.append(str(entry["provider"]), self._place(entry))
        loader = ConfigLoaderImpl(path)
        loader.repository = _ReadOnce(loader.repository)  # type: ignore[assignment]  # the same interface
        return loader

    @property
    def search_path_override(self) -> str:
        """``hydra.searchpath`` with the copies of the folders that it named."""
        places = [self._place(entry) for entry in self._entries() if _is_searchpath(entry)]
        return f"hydra.searchpath={override_text(places)}"

    @property
    def main(self) -> Path:
        """The copy of the application's own config folder, for ``--config-path``."""
        return self.folder / str(
            next(e["copy"] for e in self._entries() if e["provider"] == "main")
        )

    def _entries(self) -> list[dict[str, str | None]]:
        return list(json.loads((self.folder / "sources.json").read_text()))

    def _place(self, entry: Mapping[str, str | None]) -> str:
        copied = entry["copy"]
        return str(entry["path"]) if copied is None else f"file://{self.folder / copied}"

    def compose(self, loader: ConfigLoader, overrides: Sequence[str]) -> DictConfig:
        """A job's config, Hydra's node included."""
        return loader.load_configuration(
            config_name=self.config_name,
            overrides=[*self.hydra_overrides, self.search_path_override, *overrides],
            run_mode=RunMode.RUN,
        )


def freeze(
    sources: Iterable[Mapping[str, str]],
    folder: Path,
    config_name: str,
    hydra_overrides: Sequence[str],
    skip: Path,
) -> FrozenConfig:
    """Copy each source (provider, path) that is a folder of YAML; ``skip`` is never copied.

    A folder that was frozen before is left as it is: a study that goes on keeps its sources.
    """
    frozen = FrozenConfig(folder, config_name, tuple(hydra_overrides))
    if frozen.exists:
        return frozen
    fresh = Path(tempfile.mkdtemp(prefix=".conf-", dir=folder.parent))
    fresh.chmod(0o755)  # mkdtemp's 0700 would hide it from one's own group
    entries = []
    for number, source in enumerate(sources):
        directory = _directory(source["path"])
        copied = None
        if directory is not None and source["provider"] != "hydra":
            copied = str(number)
            _copy_yaml(directory, fresh / copied, skip)
        entries.append({**source, "copy": copied})
    (fresh / "sources.json").write_text(json.dumps(entries, indent=2))
    try:
        fresh.rename(folder)  # whole or not at all: two parents may begin at once
    except OSError:
        shutil.rmtree(fresh)
        if not frozen.exists:
            raise
    return frozen


def _is_searchpath(entry: Mapping[str, str | None]) -> bool:
    """Hydra's name for the provider of a folder that ``hydra.searchpath`` brought."""
    return str(entry["provider"]).startswith("hydra.searchpath")


def _directory(path: str) -> Path | None:
    """The folder behind ``file://…`` or ``pkg://…``; None for sources that live in code."""
    scheme, _, rest = path.partition("://")
    if scheme == "file":
        return Path(rest)
    if scheme != "pkg":
        return None
    module, _, inside = rest.partition("/")
    origin = importlib.util.find_spec(module)
    if origin is None or not origin.submodule_search_locations:
        return None
    return Path(origin.submodule_search_locations[0]) / inside


def _copy_yaml(source: Path, target: Path, skip: Path) -> None:
    """All YAML files below ``source`` except in hidden folders and below ``skip``."""
    target.mkdir(parents=True, exist_ok=True)
    for child in sorted(source.iterdir()):
        if child.name.startswith(".") or child.name in _NOT_SOURCES or child == skip:
            continue
        if child.is_dir():
            _copy_yaml(child, target / child.name, skip)
        elif child.suffix in (".yaml", ".yml"):
            shutil.copyfile(child, target / child.name)
    with_nothing = not any(target.iterdir())
    if with_nothing:
        target.rmdir()


def ask(
    space: Mapping[str, BaseDistribution],
    config: DictConfig,
    settings: Mapping[str, Any],
    identity: str | None,
    ignore: Sequence[str],
) -> Question:
    """The question as JSON: search space, settings of the search, fixed config, identity.

    ``config`` is composed without the searched overrides; keys that are searched or begin with
    one of ``ignore`` do not matter. ``identity`` is the dotted path of a function of the config
    that returns JSON (a data fingerprint, say).
    """
    config = _steady(config)
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    assert isinstance(plain, dict)
    fixed = {
        key: value
        for key, value in dotted(plain).items()
        if not _begins(key, [*space, *ignore, "hydra"])
    }
    found = {
        "space": {name: json.loads(distribution_to_json(d)) for name, d in space.items()},
        **settings,
        "config": fixed,
        "identity": identify(identity, config) if identity else None,
    }
    return dict(json.loads(json.dumps(found, default=str)))


def identify(path: str, config: DictConfig) -> Any:
    """What the application's function says of a config; it may refuse one."""
    return call(path, _steady(config))


def _steady(config: DictConfig) -> DictConfig:
    """What differs from run to run (``${hydra:…}``, which no run has resolved yet, and
    ``${now:…}``) stands as it is written."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept(item) for key, item in value.items()}
        if isinstance(value, list):
            return [kept(item) for item in value]
        return _OF_ONE_RUN.sub(r"\\\g<0>", value) if isinstance(value, str) else value

    steady = OmegaConf.create(kept(OmegaConf.to_container(config, resolve=False)))
    assert isinstance(steady, DictConfig)
    return steady


# An interpolation that only a run can resolve; a backslash before it makes it text.
_OF_ONE_RUN = re.compile(r"\$\{(?=(?:hydra|now):)")


def _begins(key: str, prefixes: Iterable[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def call(path: str, *arguments: Any) -> Any:
    """Call the function at a dotted path; ConfigError where there is none."""
    module, _, name = path.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        cure = "Give package.module.function, importable from here."
        raise ConfigError(f"{path} is not a function: {error}.", value=path, cure=cure) from error
    return function(*arguments)


def digest(question: Question) -> str:
    """Eight hex digits that name a question."""
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:8]


def changes(old: Question, new: Question) -> list[str]:
    """One line for each key that differs: ``optim.steps: 1000 → 2000``."""
    before, after = _lines(old), _lines(new)
    missing = object()
    return [
        f"{key}: {_shown(before.get(key, missing), missing)} → "
        f"{_shown(after.get(key, missing), missing)}"
        for key in sorted({*before, *after})
        if before.get(key, missing) != after.get(key, missing)
    ]


def _lines(question: Question) -> dict[str, Any]:
    """Flat; distributions stay whole, config keys lose their ``config.``"""
    flat: dict[str, Any] = {}
    for key, value in question.items():
        if key == "config":
            flat |= value
        elif key == "space":
            flat |= {f"space of {name}": one for name, one in value.items()}
        else:
            flat |= dotted({key: value})
    return flat


def _shown(value: Any, missing: object) -> str:
    if value is missing:
        return "(none)"
    if isinstance(value, Mapping) and set(value) == {"name", "attributes"}:
        inside = ", ".join(f"{k}={v}" for k, v in value["attributes"].items() if v)
        return f"{value['name'].removesuffix('Distribution')}({inside})"
    return json.dumps(value)


def code_hash(root: Path) -> str:
    """Eight hex digits over all Python sources below ``root``, hidden and installed ones aside."""
    seen = hashlib.sha256()
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(n for n in inside if n[0] != "." and n not in _NOT_SOURCES)
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder, name)
                seen.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return seen.hexdigest()[:8]


_NOT_SOURCES = {"site-packages", "node_modules", "tests", "outputs", "__pycache__"}
