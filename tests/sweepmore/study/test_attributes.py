"""Where a study's attributes are kept, and that those of older versions are read."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from sweepmore.study.application import Application
from sweepmore.study.attributes import (
    OURS,
    Budget,
    FinalSeeds,
    StudyAttributes,
    SweepDir,
    Winner,
    WinnerRow,
    store,
    stored,
)

FULL = StudyAttributes(
    version=1,
    uid="a1b2c3",
    seed=7,
    command={"script": ["app.py"], "words": ["-m"]},
    as_text=("x", "y"),
    budget=Budget(3, True, 2),
    sweep_dir=SweepDir("${now}", "noon"),
    application=Application(name="flights"),
    leader={"pid": 1, "time": 2.5},
    noise=0.5,
    noise_freedom=3,
    winner=Winner(
        Path("run"), rows=(WinnerRow(0, {"x": 1}, 2.0, 2.1, 0.1, True),), final=FinalSeeds((4, 5)),
        searched=2.0, mean=2.1, half_width=0.1, selection_bias=-0.1,
    ),
    tested_run="run",
    test={"look": 1},
    note="text",
    question={"space": {}, "config": {"seed": 0}},
)  # fmt: skip


def as_an_older_version(attributes: StudyAttributes) -> optuna.Study:
    """Keeps them: as user attributes."""
    newer, older = optuna.create_study(), optuna.create_study()
    attributes.write(newer)
    for key, value in stored(newer).items():
        older.set_user_attr(key, value)
    return older


def test_all_is_kept_where_the_dashboard_does_not_show_it() -> None:
    study = optuna.create_study()
    FULL.write(study)
    assert StudyAttributes.of(study) == FULL
    assert study.user_attrs == {}
    assert all(key.startswith(OURS) for key in study._storage.get_study_system_attrs(0))


def test_an_older_study_is_read() -> None:
    assert StudyAttributes.of(as_an_older_version(FULL)) == FULL


def test_what_changes_leaves_the_old_place() -> None:
    study = as_an_older_version(FULL)
    StudyAttributes(budget=Budget(9, False), leader={}).write(study)
    now = StudyAttributes.of(study)
    assert (now.budget, now.leader) == (Budget(9, False), None)
    assert (now.question, now.winner) == (FULL.question, FULL.winner)
    assert (study.user_attrs["budget"], study.user_attrs["leader"]) == (None, None)


def test_a_users_attributes_are_not_taken_for_ours() -> None:
    """Once a study is introduced, whatever their names are."""
    study = optuna.create_study()
    FULL.write(study)
    study.set_user_attr("winner", "me")
    study.set_user_attr("noise", "low")
    assert StudyAttributes.of(study) == FULL


@pytest.mark.parametrize("key", ["dashboard:note_ver", "preferential"])
def test_other_programs_keep_theirs_beside_ours(key: str) -> None:
    study = optuna.create_study()
    study._storage.set_study_system_attr(study._study_id, key, 1)
    store(study, "uid", "a")
    assert stored(study) == {"uid": "a"}
