"""What a study depends on, against functions whose shares are known, and against fANOVA."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import create_trial

from sweepmore.statistics.importance import clipped, fence, shares
from sweepmore.study.view import StudyView, view

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-3, 1e-1, log=True),
    "hidden": CategoricalDistribution([50, 100, 200, 300]),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "flag": CategoricalDistribution([False, True]),
}
QUESTION = {name: json.loads(distribution_to_json(one)) for name, one in SPACE.items()}
Direction = Literal["minimize", "maximize"]
Function = Callable[[Mapping[str, Any]], float]


def draw(random: np.random.Generator) -> dict[str, Any]:
    return {
        "lr": float(10 ** random.uniform(-3, -1)),
        **{
            name: one.choices[random.integers(len(one.choices))]
            for name, one in SPACE.items()
            if isinstance(one, CategoricalDistribution)
        },
    }


def study_of(
    n: int, function: Function, seed: int, direction: Direction = "minimize"
) -> tuple[optuna.Study, StudyView]:
    """``n`` trials drawn uniformly."""
    random, study = np.random.default_rng(seed), optuna.create_study(direction=direction)
    for slot in range(n):
        params = draw(random)
        study.add_trial(create_trial(value=function(params), params=params, distributions=SPACE,
                                     user_attrs={"slot": slot}))  # fmt: skip
    return study, view(study)


def shares_of(seen: StudyView, question: Mapping[str, Any]) -> dict[str, float]:
    values = [(attempt.values or ())[0] for attempt in seen.ranked]
    params = [attempt.params for attempt in seen.ranked]
    return shares(params, values, seen.directions[0], question)


def place(params: Mapping[str, Any]) -> float:
    """Of lr in its range, uniform on [-1, 1]: variance 1/3."""
    return float(math.log10(params["lr"]) + 2)


def additive(noise: float, seed: int = 1) -> Function:
    """Variances: lr 9·4/45 = 0.8 (a parabola), hidden 1.25 (0, 1, 2, 3), flag 0.25, kind none."""
    random = np.random.default_rng(seed)
    levels = {50: 3.0, 100: 2.0, 200: 1.0, 300: 0.0}

    def value(params: Mapping[str, Any]) -> float:
        known = 3 * place(params) ** 2 + levels[params["hidden"]] + params["flag"]
        return float(known + noise * random.normal())

    return value


def test_known_shares_of_an_additive_function() -> None:
    total = 0.8 + 1.25 + 0.25 + 1.0
    found = shares_of(study_of(2000, additive(noise=1.0), seed=0)[1], QUESTION)
    wanted = {"lr": 0.8 / total, "hidden": 1.25 / total, "flag": 0.25 / total, "kind": 0.0}
    assert found == pytest.approx(wanted, abs=0.03)


def test_of_24_trials_the_average_is_as_true() -> None:
    """No number gains on a list, and no list of four on one of two."""
    total = 0.8 + 1.25 + 0.25 + 1.0
    wanted = {"lr": 0.8 / total, "hidden": 1.25 / total, "flag": 0.25 / total, "kind": 0.0}
    each = [
        shares_of(study_of(24, additive(1.0, seed), seed=1000 + seed)[1], QUESTION)
        for seed in range(150)
    ]
    mean = {name: float(np.mean([found[name] for found in each])) for name in SPACE}
    assert mean == pytest.approx(wanted, abs=0.04)


def test_pure_noise_explains_nothing_on_average() -> None:
    each = []
    for seed in range(150):
        random = np.random.default_rng(seed)
        seen = study_of(24, lambda _, random=random: float(random.normal()), seed=seed)[1]  # type: ignore[misc]
        each.append(shares_of(seen, QUESTION))
    for name in SPACE:
        assert abs(np.mean([found[name] for found in each])) < 0.03, name


def test_two_that_moved_together_share() -> None:
    """y is one of them, x its copy: nobody can say which of the two it was."""
    space: dict[str, BaseDistribution] = {name: FloatDistribution(0, 1) for name in "xy"}
    question = {name: json.loads(distribution_to_json(one)) for name, one in space.items()}
    study, random = optuna.create_study(), np.random.default_rng(0)
    for slot in range(50):
        one = float(random.uniform())
        study.add_trial(create_trial(value=one, params={"x": one, "y": one}, distributions=space,
                                     user_attrs={"slot": slot}))  # fmt: skip
    assert shares_of(view(study), question) == pytest.approx({"x": 0.5, "y": 0.5}, abs=1e-6)


def test_an_interaction_is_nobody_s() -> None:
    def product(params: Mapping[str, Any]) -> float:
        return place(params) * (1 if params["flag"] else -1)

    found = shares_of(study_of(1000, product, seed=3)[1], QUESTION)
    assert all(abs(share) < 0.03 for share in found.values())


@pytest.mark.system
def test_agrees_with_fanova() -> None:
    """Optuna's forest, without noise and with many trials, normalised as it is."""
    study, seen = study_of(400, additive(noise=0.0), seed=4)
    theirs = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    assert shares_of(seen, QUESTION) == pytest.approx(theirs, abs=0.06)


def test_maximizing_is_minimizing_of_the_negative() -> None:
    function, again = additive(noise=0.5), additive(noise=0.5)  # each draws the same noise
    low = shares_of(study_of(60, function, seed=5)[1], QUESTION)
    high = shares_of(study_of(60, lambda params: -again(params), 5, "maximize")[1], QUESTION)
    assert low == pytest.approx(high)


def test_a_few_very_bad_trials_are_not_all_there_is() -> None:
    plain, random = additive(noise=0.2), np.random.default_rng(6)

    def exploding(params: Mapping[str, Any]) -> float:
        return plain(params) + (1e6 if random.uniform() < 0.02 else 0.0)

    found = shares_of(study_of(400, exploding, seed=6)[1], QUESTION)
    assert found["hidden"] == pytest.approx(1.25 / 2.34, abs=0.15)


def test_the_fence_by_hand() -> None:
    """Quartiles of 1 to 7 are 2 and 6: the fence is 6 + 3·4."""
    values = [1.0, 2, 3, 4, 5, 6, 7]
    assert fence(values) == 18
    assert fence([1.0]) == math.inf
    low = [*values, 100.0]
    assert clipped(low, "minimize").max() == fence(low) < 100
    high = [-value for value in low]
    assert clipped(high, "maximize").min() == -fence(low)


@pytest.mark.parametrize("n", [9, 12])
def test_too_few_trials_tell_nothing(n: int) -> None:
    """9 are fewer than ten; 12 are not twice the 7 columns of a line and three lists."""
    assert shares_of(study_of(n, additive(1.0), seed=7)[1], QUESTION) == {}


def test_equal_values_and_missing_parameters() -> None:
    assert shares_of(study_of(20, lambda _: 1.0, seed=8)[1], QUESTION) == {}
    seen = study_of(20, additive(1.0), seed=8)[1]
    more = {**QUESTION, "n": json.loads(distribution_to_json(IntDistribution(1, 9)))}
    assert set(shares_of(seen, more)) == set(SPACE)


def test_many_parameters_take_a_moment_only() -> None:
    space: dict[str, BaseDistribution] = {f"p{k}": FloatDistribution(0, 1) for k in range(12)}
    question = {name: json.loads(distribution_to_json(one)) for name, one in space.items()}
    study, random = optuna.create_study(), np.random.default_rng(9)
    for slot in range(100):
        params = {name: float(random.uniform()) for name in space}
        study.add_trial(create_trial(value=2 * params["p3"] + params["p7"], params=params,
                                     distributions=space, user_attrs={"slot": slot}))  # fmt: skip
    found = shares_of(view(study), question)
    assert found["p3"] == pytest.approx(0.8, abs=0.1)
    assert found["p7"] == pytest.approx(0.2, abs=0.1)
    assert sorted(found, key=found.__getitem__)[-2:] == ["p7", "p3"]
