"""A changed question is gone on with only where Optuna can."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sweepmore.compose.question import agreed, ask, barred
from sweepmore.compose.space_syntax import parse_space
from sweepmore.study.attributes import stored
from tests.support.sweep_apps import App


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        ("x=1,2", "x=1,3", ["x"]),
        ("x=1,2", "x=2,1", ["x"]),
        ("x=1,2", "x=1,2", []),
        ("x=1,2", "x=interval(1,2)", ["x"]),
        ("x=range(0,4)", "x=interval(0.0,4.0)", ["x"]),
        ("x=interval(0.0,4.0)", "x=interval(1.0,9.0)", []),
        ("x=range(0,4)", "x=range(0,9)", []),
        ("x=1,2", "y=1,3", []),
        ("x=1,2", "x=1,1.0", ["x"]),
    ],
)
def test_what_optuna_takes(before: str, after: str, keys: list[str]) -> None:
    old, new = (
        ask(parse_space([word]).searched, OmegaConf.create({}), {}, None, ())
        for word in (before, after)
    )
    assert barred(old, new) == keys


@pytest.mark.system
def test_it_is_refused_before_any_trial(tmp_path: Path) -> None:
    app = App.copied(tmp_path)
    named = ":study_name=s"
    first, asked, offered, wider = (
        ("x=1,2", named),
        ("x=1,3", named, ":on_change=continue"),
        ("x=1,3", named),
        ("x=1,2", "y=2", named),
    )
    done = app.each(first, asked, offered, wider)
    assert done[first].returncode == 0
    for words in (asked, offered):
        assert done[words].returncode == 2
        assert "on_change=continue" not in done[words].stderr
        assert "allows neither other choices" in done[words].stderr
    assert "on_change=continue" in done[wider].stderr
    assert len(app.trials()) == 2


def test_what_only_a_trial_can_resolve_stands_as_it_is_written() -> None:
    """Hydra's basic sweeper runs it; the question is the same whatever is searched first."""
    config = {
        "lr": "???",
        "name": "run-${lr}",
        "deep": {"list": ["${lr}", "${new}", "${n}"]},
        "n": 3,
        "twice": "${n}",
    }
    space = parse_space(["lr=1,2", "+new=1,2"]).searched
    question = ask(space, OmegaConf.create(config), {}, None, ())
    assert question["config"] == {
        "name": "run-${lr}",
        "deep.list": ["${lr}", "${new}", 3],
        "n": 3,
        "twice": 3,
    }


@pytest.mark.system
def test_a_missing_value_that_is_searched(tmp_path: Path) -> None:
    app = App.copied(tmp_path)
    path = app.folder / "conf" / "config.yaml"
    missing = path.read_text().replace("x: 0.0", "x: ???").replace("seed: 0", "seed: ???")
    missing = missing.replace("model: small", "model: ???")
    path.write_text(missing + "name: run-${x}\nunread: ${oc.env:NOT_SET}\n")
    words = ("x=1,2", "model=small,large", ":repeats={seed: [3]}", ":identity=hooks.asked_for")
    heard = ("+hydra.callbacks.events._target_=hooks.Events", ":n_jobs=2", ":study_name=heard")
    for line in ((*words, ":study_name=s"), (*words, *heard)):
        app.ok(*line)
    assert len(app.trials()) == len(app.trials("heard")) == 4
    told = stored(app.study())["question"]["identity"]
    assert told == [{"x": 1, "seed": 3}, {"x": 2, "seed": 3}]


def test_an_identity_is_one_where_all_points_have_the_same() -> None:
    assert agreed([]) is None
    assert agreed([{"a": 1, "b": [2]}, {"b": [2], "a": 1}]) == {"a": 1, "b": [2]}
    assert agreed([None, None]) is None
    assert agreed([{"a": 2}, {"a": 1}]) == agreed([{"a": 1}, {"a": 2}, {"a": 1}])
