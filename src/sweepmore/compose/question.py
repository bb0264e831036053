"""What a study asks: compared when the study continues, and explained where it differs.

The question is plain JSON among the study's attributes.
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

    ``config`` is composed without the searched overrides. Keys that are searched, or begin with
    one of ``ignore``, are left out. ``identity`` returns what else matters (a data fingerprint,
    say); it is called last, when all of ``config`` has been resolved. Raises ConfigError where
    that is impossible.
    """
    config = _steady(config)
    fixed = {
        key: value
        for key, value in dotted(resolved(config)).items()
        if not _begins(key, [*space, *ignore, "hydra"])
    }
    question = {
        "space": {name: json.loads(distribution_to_json(d)) for name, d in space.items()},
        **settings,
        "config": fixed,
        "identity": identity() if identity else None,
    }
    return dict(json.loads(json.dumps(question, default=str)))


def identify(path: str, config: DictConfig) -> Any:
    """What the application's function at ``path`` says about a config; it may raise."""
    return call(path, _steady(config))


def agreed(answers: Iterable[Any]) -> Any:
    """The common answer; all different ones, sorted, where they differ; None without any."""
    texts = sorted({json.dumps(answer, sort_keys=True, default=str) for answer in answers})
    distinct = [json.loads(text) for text in texts]
    return distinct[0] if len(distinct) == 1 else distinct or None


def _steady(config: DictConfig) -> DictConfig:
    """``config``, in which what differs from run to run stays as it is written.

    That is ``${hydra:…}``, which no run has resolved yet, and ``${now:…}``.
    """

    def escaped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: escaped(item) for key, item in value.items()}
        if isinstance(value, list):
            return [escaped(item) for item in value]
        return _OF_ONE_RUN.sub(r"\\\g<0>", value) if isinstance(value, str) else value

    steady = OmegaConf.create(escaped(OmegaConf.to_container(config, resolve=False)))
    assert isinstance(steady, DictConfig)
    return _left_open(steady)


def _left_open(config: DictConfig) -> DictConfig:
    """``config``, in which what needs the searched values stays as it is written.

    Hydra, too, resolves it only in the trial that reads it.
    """

    def escaped(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: escaped(item, f"{path}.{key}".strip(".")) for key, item in value.items()}
        if isinstance(value, list):
            return [escaped(item, f"{path}[{at}]") for at, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            try:
                OmegaConf.select(config, path)
            except OmegaConfBaseException:
                return _ANY.sub(r"\\\g<0>", value)
        return value

    opened = OmegaConf.create(escaped(OmegaConf.to_container(config, resolve=False), ""))
    assert isinstance(opened, DictConfig)
    return opened


_ANY = re.compile(r"(?<!\\)\$\{")
# An interpolation that only a run can resolve; a backslash before it makes it text.
_OF_ONE_RUN = re.compile(r"\$\{(?=(?:hydra|now):)")


def _begins(key: str, prefixes: Iterable[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def call(path: str, *arguments: Any) -> Any:
    """Call the function at a dotted path. Raises ConfigError where there is none."""
    return function_at(path)(*arguments)


def function_at(path: str, key: str = "") -> Callable[..., Any]:
    """The function at a dotted path. Raises ConfigError where there is none.

    ``key`` is the setting that holds the path, for the message.
    """
    try:
        function = imported(path)
        if not callable(function):
            raise ImportError(f"it is a {type(function).__name__}")
    except ImportError as error:
        setting = f"{key}={path}" if key else path
        cure = "Give package.module.function, importable from here."
        raise ConfigError(
            f"{setting} is not a function: {error}.", value=path, cure=cure
        ) from error
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
    """The searched keys whose change no study can continue with.

    Optuna accepts another range of the same kind for a parameter, but neither another kind nor
    other choices.
    """
    before, after = old["space"], new["space"]
    return [name for name in before if name in after and not fits(before[name], after[name])]


def fits(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether Optuna accepts both distributions, as plain JSON, for one parameter."""
    old, new = (json_to_distribution(json.dumps(each)) for each in (before, after))
    try:
        check_distribution_compatibility(old, new)
    except ValueError:
        return False
    return True


def _lines(question: Question) -> dict[str, Any]:
    """The question as a flat mapping; distributions stay whole, config keys lose ``config.``"""
    flat: dict[str, Any] = {}
    for key, value in question.items():
        if key == "config":
            flat |= value
        elif key == "space":
            flat |= {f"space of {name}": space for name, space in value.items()}
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
    """Eight hex digits over the Python sources below ``root`` that are not hidden or installed."""
    sources = hashlib.sha256()
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(n for n in inside if n[0] != "." and n not in NOT_SOURCES)
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder, name)
                sources.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return sources.hexdigest()[:8]
