"""What is called an effect, on searches whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import scipy.stats

from sweepmore.statistics.effects import LEVEL, Effect, effects

Params = dict[str, Any]
SPACE: Mapping[str, Mapping[str, Any]] = {
    "lr": {"attributes": {"low": 1e-3, "high": 1.0, "log": True}},
    "n": {"attributes": {"low": 1, "high": 9}},
    "act": {"attributes": {"choices": ["relu", "tanh", "gelu"]}},
}


def searched(value: Callable[[Params], float], trials: int, noise: float, seed: int) -> Any:
    random = np.random.default_rng(seed)
    params = [
        {
            "lr": float(10 ** random.uniform(-3, 0)),
            "n": int(random.integers(1, 10)),
            "act": str(random.choice(["relu", "tanh", "gelu"])),
        }
        for _ in range(trials)
    ]
    return params, [value(one) + float(random.normal(0, noise)) for one in params]


def of(value: Callable[[Params], float], trials: int = 60, noise: float = 0.1, seed: int = 0,
       direction: str = "minimize") -> dict[str, Effect]:  # fmt: skip
    params, values = searched(value, trials, noise, seed)
    return effects(params, values, direction, SPACE)


def real(found: Mapping[str, Effect]) -> set[str]:
    return {name for name, effect in found.items() if effect.is_real}


@pytest.mark.parametrize("trials", [30, 200])
def test_without_an_effect_one_study_of_twenty_shows_one(trials: int) -> None:
    """Binomial: of 200 studies 10 at the level; 19 or fewer with a probability of 0.997."""
    false = sum(bool(real(of(lambda p: 0.0, trials, 1.0, seed))) for seed in range(200))
    assert 200 * LEVEL / 5 < false <= 19


def test_one_effect_is_found_and_no_other() -> None:
    found = of(lambda p: 2 + np.log10(p["lr"]))
    assert real(found) == {"lr"}
    assert found["lr"].where == "low"
    assert of(lambda p: 2 + np.log10(p["lr"]), direction="maximize")["lr"].where == "high"


def test_a_best_inside_the_range_is_found_there() -> None:
    found = of(lambda p: (np.log10(p["lr"]) + 1.5) ** 2)["lr"]
    assert (found.is_real, found.where) == (True, "inside")
    assert 0.01 < found.best < 0.1


def test_a_choice_has_its_best_member() -> None:
    found = of(lambda p: 1.0 * (p["act"] != "gelu"))
    assert real(found) == {"act"}
    assert (found["act"].where, found["act"].best) == ("choice", "gelu")
    levels = dict(zip(found["act"].x, found["act"].y))
    assert levels["relu"] - levels["gelu"] == pytest.approx(1.0, abs=0.1)


def test_only_members_that_are_worse_beyond_chance_are_called_so() -> None:
    """gelu and tanh are level, relu is far behind: neither of the first two is the best."""
    found = of(lambda p: 1.0 * (p["act"] == "relu"))["act"]
    assert found.is_real
    assert list(found.worse) == ["relu"]
    alone = of(lambda p: {"gelu": 0.0, "tanh": 1.0, "relu": 2.0}[p["act"]])["act"]
    assert (alone.best, sorted(alone.worse)) == ("gelu", ["relu", "tanh"])


def test_what_goes_along_with_a_cause_is_no_effect() -> None:
    """n is large where lr is small: by itself it would look like an effect."""
    random = np.random.default_rng(1)
    params, values = [], []
    for _ in range(80):
        lr = float(10 ** random.uniform(-3, 0))
        n = int(np.clip(round(5 - 2 * (np.log10(lr) + 1.5) + random.normal(0, 1)), 1, 9))
        params.append({"lr": lr, "n": n, "act": str(random.choice(["relu", "tanh", "gelu"]))})
        values.append(float(np.log10(lr)) + float(random.normal(0, 0.2)))
    alone = scipy.stats.pearsonr([p["n"] for p in params], values).pvalue
    assert alone < 1e-6
    assert real(effects(params, values, "minimize", SPACE)) == {"lr"}


def test_an_interaction_alone_shows_neither_part() -> None:
    """An additive model cannot see it, and claims nothing."""
    assert real(of(lambda p: float((p["n"] - 5) * (np.log10(p["lr"]) + 1.5)), 200)) == set()


def test_too_few_trials_or_one_value_say_nothing() -> None:
    assert of(lambda p: p["lr"], trials=9) == {}
    assert of(lambda p: 1.0, noise=0.0) == {}


@pytest.mark.parametrize("scale", [1e-61, 1.0, 1e13])
def test_a_perfect_fit_is_real_at_any_scale(scale: float) -> None:
    found = of(lambda p: scale * p["n"], noise=0.0)
    assert real(found) == {"n"}
    assert found["n"].y == pytest.approx([scale * n for n in found["n"].x])


def test_the_p_value_of_two_groups_by_hand() -> None:
    """HC3 of a difference of two means: each variance s² / (n - 1), where Welch has s² / n."""
    random = np.random.default_rng(0)
    groups = {"a": random.normal(0, 1, 12), "b": random.normal(0.8, 3, 20)}
    params = [{"act": name} for name, values in groups.items() for _ in values]
    values = [float(value) for group in groups.values() for value in group]
    variance = sum(float(group.var(ddof=1)) / (len(group) - 1) for group in groups.values())
    t = float(groups["a"].mean() - groups["b"].mean()) / variance**0.5
    ours = effects(params, values, "minimize", {"act": {"attributes": {"choices": ["a", "b"]}}})
    assert ours["act"].p == pytest.approx(2 * scipy.stats.t.sf(abs(t), 30))
