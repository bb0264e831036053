"""``hydra.sweeper``: whatever is given to a key is taken, or one message names both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweepmore.compose.settings import own_sampler
from sweepmore.errors import ConfigError
from tests.support.composed import check_setting
from tests.support.sweep_apps import App, Words, refusal

WRONG: dict[str, list[Any]] = {
    "enqueue": [5, [1, 2], {"a": 1}, [[1]], "text", True, [{1: 2}]],
    "sampler": [0.1, ["tpe"], {"a": 1}, "nothing", True],
    "pruner": [3, ["median"], {"a": 1}, "text", True],
    "params": [5, [1], "text", True, {1: 2}, {"x": {"a": 1}}, {"x": []}],
    "repeats": [5, {"seed": 5}, [1], "text", {"seed": []}],
    "direction": [5, [], None, [5], [["minimize"]], {"a": 1}, "maximise"],
    "storage": [5, [], {"a": 1}, True],
    "study_name": [5, [], {"a": 1}, True],
    "custom_search_space": [5, [], "text", "json", "json.nothing", "", "."],
    "identity": [[], 5, "json.nothing", "", "json.decoder", "..a"],
    "question_ignore": [5, [5], None, "text", {"a": 1}, [["a"]]],
    "outputs": [[1], 5, None, {"a": 1}],
    "keep": [5, None, ["all"], {"a": 1}],
    "max_failure_rate": ["x", None, [], float("nan"), 2, -1, True, 10**400],
    "seed": ["x", -1, 1.5, [], True, 2**32],
    "dry": [5, None, "x", []],
    "n_trials": [1.5, 0, "x", [], True],
    "n_jobs": [None, 0, "x", 1.5, 99_999, "Auto", True],
    "placement": [
        5,
        [],
        "text",
        True,
        {"gpu": 0},
        {"gpu": 1.5},
        {"gpu": "x"},
        {"gpu": [1]},
        {"gpus": 1},
        {"cpu": 0},
        {"cpu": 0.5},
        {"cpu": True},
        {1: 2},
    ],
    "max_retries": ["x", None, -1, []],
    "on_change": ["x", None, [], 5],
    "nosuch": [5],
}
WRONG["enqueue"] += [[{"model.emb": value}] for value in (None, [1], {"a": 1}, "a", 10**400, 9)]


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, values in WRONG.items() for value in values],
    ids=lambda value: str(value)[:20],
)
def test_a_value_of_a_wrong_kind_is_refused_with_key_value_and_cure(
    key: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        check_setting(key, value)
    assert key in refused.value.problem.lower() or key == "params"  # there its own keys are named
    assert refused.value.cure
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("n_trials", 1.5, "n_trials=1.5 is not a whole number.\n  Write digits only, such as 10."),
        ("n_trials", True, "n_trials=true is not a whole number.\n  Write digits only"),
        ("max_failure_rate", "x", "max_failure_rate=x is not a number.\n  Write it as 10, 0.1 or"),
        ("max_failure_rate", 10**400, "is not a finite number.\n  Neither nan nor an infinity"),
        ("dry", 5, "dry=5 is not true or false.\n  Write one of these two words, without quotes."),
        ("outputs", 5, "outputs=5 is not a text.\n  Put it in quotes: 'hydra.sweeper.outputs="),
        ("keep", 5, "keep=5 is not one of all, best.\n  Choose one of them."),
        ("keep", "bets", "keep=bets is not one of all, best.\n  Did you mean best?"),
        (
            "params",
            5,
            "params=5 is not a group of keys.\n  Set its keys one by one: hydra.sweeper.",
        ),
        ("question_ignore", 5, "question_ignore=5 is not a list.\n  Write it in brackets: hydra.s"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_cure_says_more_than_the_problem(key: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_setting(key, value)
    assert said in str(refused.value)


RANDOM = {"_target_": "optuna.samplers.RandomSampler"}
TPE = {"_target_": "optuna.samplers.TPESampler", "seed": None}


@pytest.mark.parametrize(
    ("sampler", "choice", "read_as"),
    [
        ({**RANDOM, "seed": None}, "auto", RANDOM),  # a class of a file, merged over auto
        ({**RANDOM, "seed": 0}, "auto", {**RANDOM, "seed": 0}),
        ({**RANDOM, "seed": None}, "random", {**RANDOM, "seed": None}),  # as it always was
        ({"_target_": "auto", "seed": None}, "auto", {"_target_": "auto", "seed": None}),
        ({**RANDOM, "seed": None, "multivariate": None}, "auto", RANDOM),  # a key of the stock's
        ({**RANDOM, "seed": 1, "mine": None}, "auto", {**RANDOM, "seed": 1, "mine": None}),
        (
            {**TPE, "multivariate": None, "n_startup_trials": 5},
            "tpe",
            {**TPE, "n_startup_trials": 5},
        ),
        ("tpe", None, "tpe"),
        (None, None, None),
    ],
)
def test_what_options_declare_is_no_setting_of_a_sampler(
    sampler: Any, choice: str | None, read_as: Any
) -> None:
    assert own_sampler(sampler, choice) == read_as


# Where Hydra reads the words, and composes for what is repeated.
LINES: tuple[Words, ...] = (("x=1,2", ":repeats={nosuch:[1,2]}"),)


def test_a_refused_search_creates_nothing(tmp_path: Path) -> None:
    app = App.copied(tmp_path)
    before = {path for path in app.folder.rglob("*") if path.name != "__pycache__"}
    for words, done in app.each(*LINES).items():
        assert refusal(done).startswith("error: "), words
        assert len(done.stderr.splitlines()) > 1, words
    after = {path for path in app.folder.rglob("*") if "__pycache__" not in path.parts}
    assert after == before
