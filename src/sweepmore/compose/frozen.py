"""Config sources as they were when a study began, and composing from them quickly.

They are copied into the study's folder, because Hydra reads them again for every trial: an edit
during a sweep would otherwise change the later trials.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig

from sweepmore.compose.composing import composing
from sweepmore.compose.hydra_internals import apply_values, group_test, loader_of, name_after
from sweepmore.compose.overrides import override_text
from sweepmore.runs.files import make_whole

# Folders whose files are not an application's sources.
NOT_SOURCES = {"site-packages", "node_modules", "tests", "outputs", "__pycache__"}
# The flags that name a config folder, by Hydra's name for the folder's provider.
FLAGS = {"main": "config-path", "command-line": "config-dir"}


@dataclass
class Composer:
    """Composes the jobs of a study: the groups once, then each job's values over a copy.

    Hydra walks the defaults list and merges some forty files for every job, which takes 54 ms of a
    trial (benchmarks/overhead.py); jobs that choose the same options share all of that. ``fixed``
    are overrides of every job.
    """

    loader: ConfigLoader
    config_name: str
    fixed: Sequence[str]
    _composed: dict[tuple[str, ...], DictConfig] = field(default_factory=dict)

    @cached_property
    def _is_group(self) -> Callable[[str], bool]:
        return group_test(self.loader, self.config_name, self.fixed)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config that Hydra composes for a single run, including Hydra's own node.

        Raises ConfigError where Hydra refuses an override.
        """
        with composing():
            return self._compose(overrides)

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        words = [*self.fixed, *overrides]
        parsed = OverridesParser.create().parse_overrides(words)
        # what is not a plain value decides which files are merged: composed once for each choice
        values = [override for override in parsed if self._is_value(override)]
        shape = tuple(w for w, override in zip(words, parsed) if not self._is_value(override))
        if shape not in self._composed:
            self._composed[shape] = self.loader.load_configuration(
                self.config_name, overrides=list(shape), run_mode=RunMode.RUN
            )
        config = copy.deepcopy(self._composed[shape])
        apply_values(values, config)
        name_after([override for override in parsed if not override.is_hydra_override()], config)
        return config

    def _is_value(self, override: Override) -> bool:
        """Whether Hydra sets this override after composing; Hydra's own keys are composed."""
        if override.is_hydra_override():
            return False
        return not self._is_group(override.key_or_group) or isinstance(override.value(), dict)


@dataclass(frozen=True)
class FrozenConfig:
    """The copied config sources of a study, and the name of the primary config."""

    folder: Path
    config_name: str
    hydra_overrides: tuple[str, ...]

    @property
    def exists(self) -> bool:
        """Whether the sources have been copied."""
        return (self.folder / "sources.json").exists()

    def composer(self) -> Composer:
        """A composer over the copies."""
        sources = [
            (str(entry["provider"]), self._place(entry))
            for entry in self._entries()
            if not _is_searchpath(entry)
        ]
        fixed = [*self.hydra_overrides, self.search_path_override]
        return Composer(loader_of(sources), self.config_name, fixed)

    @property
    def search_path_override(self) -> str:
        """The override of ``hydra.searchpath`` that names the copies of its folders."""
        places = [self._place(entry) for entry in self._entries() if _is_searchpath(entry)]
        return f"hydra.searchpath={override_text(places)}"

    @property
    def flags(self) -> dict[str, str]:
        """Hydra's flags that name the copied config folders, by flag.

        These are the application's own and the one that was typed, where they exist: a config may
        be defined in code only.
        """
        return {
            FLAGS[str(entry["provider"])]: str(self.folder / entry["copy"])
            for entry in self._entries()
            if entry["provider"] in FLAGS and entry["copy"] is not None
        }

    def _entries(self) -> list[dict[str, str | None]]:
        return list(json.loads((self.folder / "sources.json").read_text()))

    def _place(self, entry: Mapping[str, str | None]) -> str:
        copied = entry["copy"]
        return str(entry["path"]) if copied is None else f"file://{self.folder / copied}"


def freeze(
    sources: Iterable[Mapping[str, str]],
    folder: Path,
    config_name: str,
    hydra_overrides: Sequence[str],
    skip: Path,
) -> FrozenConfig:
    """Copy each source (provider, path) that is a folder of YAML files; never ``skip``.

    A folder that was frozen before is left as it is: a study that continues keeps its sources.
    Raises OSError where the folder cannot be written.
    """
    frozen = FrozenConfig(folder, config_name, tuple(hydra_overrides))
    if frozen.exists:
        return frozen

    def fill(fresh: Path) -> None:
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
        make_whole(folder, fill)
    except OSError:  # another parent that started at the same time was first
        if not frozen.exists:
            raise
    return frozen


def _is_searchpath(entry: Mapping[str, str | None]) -> bool:
    """Whether the source came from ``hydra.searchpath``, by Hydra's name of its provider."""
    return str(entry["provider"]).startswith("hydra.searchpath")


def _directory(path: str) -> Path | None:
    """The folder that ``file://…`` or ``pkg://…`` names.

    None for a source that is defined in code, and for a missing folder, of which Hydra only warns.
    """
    scheme, _, rest = path.partition("://")
    folder = Path(rest) if scheme == "file" else _of_package(rest) if scheme == "pkg" else None
    return folder if folder is not None and folder.is_dir() else None


def _of_package(rest: str) -> Path | None:
    module, _, inside = rest.partition("/")
    try:
        origin = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a parent package is missing
        return None
    if origin is None or not origin.submodule_search_locations:
        return None
    return Path(origin.submodule_search_locations[0]) / inside


def _copy_yaml(source: Path, target: Path, skip: Path) -> None:
    """Copy all YAML files below ``source``, except in hidden folders and below ``skip``."""
    target.mkdir(parents=True, exist_ok=True)
    for child in sorted(source.iterdir()):
        if child.name.startswith(".") or child.name in NOT_SOURCES or child == skip:
            continue
        if child.is_dir():
            _copy_yaml(child, target / child.name, skip)
            if not any((target / child.name).iterdir()):
                (target / child.name).rmdir()
        elif child.suffix in (".yaml", ".yml"):
            shutil.copyfile(child, target / child.name)
