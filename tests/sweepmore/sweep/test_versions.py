"""Which study a command means: by its name, its question, and what the study holds."""

from __future__ import annotations

import signal
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tests.support.stock_example import example
from tests.support.sweep_apps import PATIENCE, App, errors, refusal, slots_of, until

pytestmark = pytest.mark.system


def test_unnamed_is_one_study_a_question_until_it_is_full(tmp_path: Path) -> None:
    app = App.copied(tmp_path)
    grid, more = ("x=1,2"), ("x=interval(0,1)", ":n_trials=1")
    (first,) = app.each((grid,)).values()
    (name,) = app.names()
    assert f"study    {name}\n" in first.stdout, errors(first)
    (again,) = app.each((grid,)).values()
    assert f"study    {name}-2 ({name} is full)\n" in again.stdout, errors(again)
    grown = (*more[:1], ":n_trials=3")
    begun, continued, third = [
        *app.each(more, grown).values(),
        *app.each((*grown, ":dry=true")).values(),
    ]
    (other,) = app.names() - {name, f"{name}-2"}
    assert f"study    {other}\n" in begun.stdout, errors(begun)
    assert f"study    {other}, 1 of 3 trials done before\n" in continued.stdout, errors(continued)
    assert f"study    {other}-2 ({other} is full)\n" in third.stdout, errors(third)
    assert {n: len(app.trials(n)) for n in app.names()} == {name: 2, f"{name}-2": 2, other: 3}


def test_unnamed_goes_on_unfinished_and_is_joined_live(tmp_path: Path) -> None:
    app = App.copied(tmp_path)
    words = ("x=interval(0,1)", ":n_trials=2", "does=gated")
    with app.started(*words) as process:
        until(lambda: app.seen())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    (name,) = app.names()
    with app.started(*words) as one, app.started(*words) as two:
        until(lambda: len(app.running(name)) == 2)
        app.open_gate()
        for process in (one, two):
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, out + err
    assert app.names() == {name}
    assert slots_of(app.trials(name)) == [0, 1]


def test_a_name_in_a_file_is_of_each_question_there(tmp_path: Path) -> None:
    """The stock documentation's second command, after its first."""
    app = example(tmp_path)
    second = ("x=interval(-5.0, 5.0)", "y=interval(0, 10)")
    named = (*second, ":study_name=sphere")
    strict = (*second, ":on_change=refuse")
    first, other, twice, told, refused = [
        *app.each((), second).values(), *app.each(second, named, strict).values()
    ]  # fmt: skip
    assert "study    sphere\n" in first.stdout, errors(first)
    assert "study    sphere-2 (sphere asks another question)\n" in other.stdout, errors(other)
    assert "study    sphere-2 (sphere asks another question), 6 of 6" in twice.stdout
    for message in (refusal(told), refusal(refused)):
        assert "The study sphere asks another question" in message
    assert {name: len(app.trials(name)) for name in app.names()} == {"sphere": 6, "sphere-2": 6}


def test_another_programs_study_can_be_gone_on_with(tmp_path: Path) -> None:
    app = App.copied(tmp_path)
    app.database.parent.mkdir()
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{app.database}")
    study.optimize(lambda t: t.suggest_float("x", 0, 4) + t.suggest_int("z", 0, 3), n_trials=5)
    words = ("x=interval(0,1)", ":study_name=s", ":n_trials=3")
    go_on = ":on_change=continue"
    other = ("x=range(0,4)", *words[1:], go_on)
    turned = (*words, ":direction=maximize", go_on)
    new = (*words, ":on_change=new", ":dry=true")
    refused, misfit, upside, beside, done = app.each(
        words, other, turned, new, (*words, go_on)
    ).values()
    assert "The study s was not made by sweepmore." in refusal(refused)
    assert "hydra.sweeper.on_change=continue" in refused.stderr
    assert "x was searched in FloatDistribution" in refusal(misfit)
    assert "its direction is minimize" in refusal(upside)
    for one in (misfit, upside):
        assert "on_change=continue" not in one.stderr
    assert "study    s-2 (s is another program's)\n" in beside.stdout, errors(beside)
    assert done.returncode == 0, errors(done)
    assert "the sampler learns from its 5 trials" in done.stderr
    assert "3 of 3 trials done" in done.stdout
    trials = app.trials()
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 8
    assert slots_of(trials[5:]) == [0, 1, 2]
