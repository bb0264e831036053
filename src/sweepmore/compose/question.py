"""What a study asks: compared when it goes on, explained when it differs.

The question is plain JSON in the study's attributes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)

from sweepmore.compose.composing import resolved
from sweepmore.compose.frozen import NOT_SOURCES
from sweepmore.errors import ConfigError
from sweepmore.importing import imported
from sweepmore.typed import dotted

Question = Mapping[str, Any]


def ask(
    space: Mapping[str, BaseDistribution],
    config: DictConfig,
    settings: Mapping[str, Any],
    identity: Callable[[], Any] | None,
    ignore: Sequence[str],
) -> Question:
    """The question as JSON: search space, settings of the search, fixed config, identity.

    ``config`` is composed without the searched overrides; keys that are searched or begin with
    one of ``ignore`` do not matter. ``identity`` tells what else does (a data fingerprint, say);
    it is asked last, when all of ``config`` has been resolved.
    """
    config = _steady(config)
    fixed = {
        key: value
        for key, value in dotted(resolved(config)).items()
        if not _begins(key, [*space, *ignore, "hydra"])
    }
    found = {
        "space": {name: json.loads(distribution_to_json(d)) for name, d in space.items()},
        **settings,
        "config": fixed,
        "identity": identity() if identity else None,
    }
    return dict(json.loads(json.dumps(found, default=str)))


def identify(path: str, config: DictConfig) -> Any:
    """What the application's function says of a config; it may refuse one."""
    return call(path, _steady(config))


def agreed(answers: Iterable[Any]) -> Any:
    """The one answer; where several differ all of these, in whatever order they came; or None."""
    texts = sorted({json.dumps(answer, sort_keys=True, default=str) for answer in answers})
    found = [json.loads(text) for text in texts]
    return found[0] if len(found) == 1 else found or None


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
    return _left_open(steady)


def _left_open(config: DictConfig) -> DictConfig:
    """What cannot be resolved without the searched values stands as it is written: Hydra, too,
    resolves it in the trial that reads it, if one does."""

    def kept(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: kept(item, f"{path}.{key}".strip(".")) for key, item in value.items()}
        if isinstance(value, list):
            return [kept(item, f"{path}[{at}]") for at, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            try:
                OmegaConf.select(config, path)
            except OmegaConfBaseException:
                return _ANY.sub(r"\\\g<0>", value)
        return value

    opened = OmegaConf.create(kept(OmegaConf.to_container(config, resolve=False), ""))
    assert isinstance(opened, DictConfig)
    return opened


_ANY = re.compile(r"(?<!\\)\$\{")
# An interpolation that only a run can resolve; a backslash before it makes it text.
_OF_ONE_RUN = re.compile(r"\$\{(?=(?:hydra|now):)")


def _begins(key: str, prefixes: Iterable[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def call(path: str, *arguments: Any) -> Any:
    """Call the function at a dotted path; ConfigError where there is none."""
    return function_at(path)(*arguments)


def function_at(path: str, key: str = "") -> Callable[..., Any]:
    """``key`` is the setting whose value the path is, for the message."""
    try:
        function = imported(path)
        if not callable(function):
            raise ImportError(f"it is a {type(function).__name__}")
    except ImportError as error:
        said = f"{key}={path}" if key else path
        cure = "Give package.module.function, importable from here."
        raise ConfigError(f"{said} is not a function: {error}.", value=path, cure=cure) from error
    return cast(Callable[..., Any], function)


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


def barred(old: Question, new: Question) -> list[str]:
    """The searched keys that no study can go on with: Optuna takes another range of the same kind
    for a parameter, but no other kind and no other choices."""
    before, after = old["space"], new["space"]
    return [name for name in before if name in after and not fits(before[name], after[name])]


def fits(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether Optuna takes both of these distributions, as plain JSON, for one parameter."""
    old, new = (json_to_distribution(json.dumps(one)) for one in (before, after))
    try:
        check_distribution_compatibility(old, new)
    except ValueError:
        return False
    return True


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
        inside[:] = sorted(n for n in inside if n[0] != "." and n not in NOT_SOURCES)
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder, name)
                seen.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return seen.hexdigest()[:8]
