"""A changed question is gone on with only where Optuna can."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepmore.question import ask, barred
from sweepmore.space import parse_space
from tests.sweep_apps import App


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
    from omegaconf import OmegaConf

    old, new = (
        ask(parse_space([word]).searched, OmegaConf.create({}), {}, None, ())
        for word in (before, after)
    )
    assert barred(old, new) == keys


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
        assert "no other choices" in done[words].stderr
    assert "on_change=continue" in done[wider].stderr
    assert len(app.trials()) == 2
