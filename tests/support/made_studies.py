"""Studies in memory with known truth, as the sweeper would have left them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, IntDistribution, distribution_to_json
from optuna.trial import TrialState, create_trial

N: Mapping[str, BaseDistribution] = {"n": IntDistribution(1, 9)}
Rows = Sequence[tuple[Sequence[float] | None, Mapping[str, Any]]]


def made_study(
    rows: Rows,
    space: Mapping[str, BaseDistribution] = N,
    *,
    directions: Sequence[Literal["minimize", "maximize"]] = ("minimize",),
    name: str = "s",
    config: Mapping[str, Any] | None = None,
    repeats: Mapping[str, Sequence[int]] | None = None,
    states: Mapping[int, TrialState] | None = None,
) -> optuna.Study:
    """A study with a trial for each row of values and parameters; None as values is no value.

    ``states`` are those of trials that are not complete, by their number.
    """
    study = optuna.create_study(study_name=name, directions=list(directions))
    question = {
        "space": {key: json.loads(distribution_to_json(d)) for key, d in space.items()},
        "config": {"seed": 0} if config is None else config,
        "identity": None,
        "repeats": repeats,
    }
    study.set_user_attr("question", question)
    study.set_user_attr("command", {"script": ["app.py"], "fixed": [], "hydra": [], "words": []})
    for number, (values, params) in enumerate(rows):
        state = (states or {}).get(number, TrialState.COMPLETE)
        attrs = {"slot": number, "root": number, "attempt": 0, "folder": "gone"}
        if state is TrialState.FAIL:
            attrs["reason"] = "exception"
        trial = create_trial(
            state=state,
            values=None if values is None else list(values),
            params=dict(params),
            distributions={key: d for key, d in space.items() if key in params},
            user_attrs=attrs,
        )
        study.add_trial(trial)
    return study


def name_winner(
    study: optuna.Study,
    trial: int,
    mean: float,
    half: float,
    *,
    rows: Sequence[tuple[int, float, bool]] = (),
    seeds: int = 4,
) -> None:
    """As sweepmore confirm does. ``rows``: trial, mean under fresh seeds, whether it is tied."""
    params = {t.number: t.params for t in study.trials}
    values = {t.number: t.values[0] for t in study.trials if t.values}
    confirmed = optuna.create_study(study_name=f"{study.study_name}.confirm",
                                    storage=study._storage)  # fmt: skip
    about = [
        {"trial": root, "params": params[root], "searched": values[root], "mean": fresh,
         "half_width": half, "tied": tied}
        for root, fresh, tied in rows or [(trial, mean, True)]
    ]  # fmt: skip
    confirmed.set_user_attr("winner", {
        "study": confirmed.study_name, "trial": trial, "params": params[trial],
        "searched": values[trial], "mean": mean, "half_width": half,
        "selection_bias": values[trial] - mean, "run": str(Path("gone")), "seeds": seeds,
        "tied": sum(row["tied"] for row in about), "rows": about,
        "final": {"seeds": list(range(seeds)), "values": [mean] * seeds},
    })  # fmt: skip
