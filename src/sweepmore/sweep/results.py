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


def write_results(snapshot: StudyView, space: Space, *folders: Path) -> None:
    """Write the file into each folder.

    Nothing is written when no trial is complete.
    """
    if not snapshot.ranked:
        return
    text = OmegaConf.to_yaml(OmegaConf.create(results(snapshot, space)))
    for folder in folders:
        write_atomic(folder / FILE, text)


def results(snapshot: StudyView, space: Space) -> dict[str, Any]:
    """Return the best trial, or all trials that no other one beats in every objective.

    The keys are those of the stock Optuna plugin.
    """
    if len(snapshot.directions) > 1:
        solutions = [
            {"params": _typed(attempt.params, space), "values": list(attempt.values or ())}
            for attempt in sorted(snapshot.front, key=lambda attempt: attempt.root)
        ]
        return {"name": "optuna", "solutions": solutions}
    best = snapshot.ranked[0]
    params, value = _typed(best.params, space), (best.values or (None,))[0]
    return {"name": "optuna", "best_params": params, "best_value": value}


def _typed(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return the parameters, with lists and dicts restored from the text that Optuna holds."""
    texts = {parameter.name: parameter for parameter in space.parameters if parameter.as_text}
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
