"""``optimization_results.yaml``, as the stock Optuna plugin leaves it for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import QuotedString
from omegaconf import OmegaConf

from sweepmore.compose.overrides import read_overrides
from sweepmore.compose.space import Space
from sweepmore.runs.files import write_atomic
from sweepmore.study.view import StudyView

FILE = "optimization_results.yaml"


def write_results(seen: StudyView, space: Space, *folders: Path) -> None:
    """In each folder, which is made where it is missing; nothing where no trial is complete."""
    if not seen.ranked:
        return
    text = OmegaConf.to_yaml(OmegaConf.create(results(seen, space)))
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / FILE, text)


def results(seen: StudyView, space: Space) -> dict[str, Any]:
    """The best trial; of several objectives all that no other trial beats."""
    if len(seen.directions) > 1:
        solutions = [
            {"params": _typed(one.params, space), "values": list(one.values or ())}
            for one in sorted(seen.front, key=lambda attempt: attempt.root)
        ]
        return {"name": "optuna", "solutions": solutions}
    best = seen.ranked[0]
    params, value = _typed(best.params, space), (best.values or (None,))[0]
    return {"name": "optuna", "best_params": params, "best_value": value}


def _typed(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Flat, with dotted keys; a list or a dict as itself, which Optuna holds as its text."""
    texts = {one.name: one for one in space.parameters if one.as_text}
    return {
        name: _unquoted(read_overrides([texts[name].override(value)], {})[0].value())
        if name in texts
        else value
        for name, value in params.items()
    }


def _unquoted(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, Mapping):
        return {_unquoted(key): _unquoted(item) for key, item in value.items()}
    return [_unquoted(item) for item in value] if isinstance(value, list) else value
