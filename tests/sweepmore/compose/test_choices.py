"""``GROUP=?`` lists a group's options with a line each, from any folder, and runs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import mock

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType

from sweepmore.compose.choices import asked_group, choice_lines, first_sentence
from sweepmore.compose.hydra_internals import IS_13, VERSION_BASE, groups_listed_quickly
from tests.support.helpers import ROOT


@pytest.mark.parametrize(
    ("words", "group"),
    [
        (["-m", "sweeps=?"], "sweeps"),
        (["a=1", "+hydra/sweeper/sampler=?"], "hydra/sweeper/sampler"),
        (["a=1", "b=??", "c=what?"], None),
    ],
)
def test_what_is_asked_for(words: list[str], group: str | None) -> None:
    assert asked_group(words) == group


def test_the_line_is_the_first_sentence_of_the_first_comment(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("# @package _global_\n# What it\n# is, e.g. this. More.\nx: 1 # no\n")
    assert first_sentence(file) == "What it is, e.g. this."
    (tmp_path / "long.yaml").write_text("x: 1\n")
    assert choice_lines(["long", "a"], [tmp_path]) == ["a     What it is, e.g. this.", "long"]
    assert choice_lines(["a"], [tmp_path], 15) == ["a  What it …"]


def test_help_lists_the_same_options_without_copying_all_sources_for_each_group() -> None:
    kinds = (ObjectType.CONFIG, ObjectType.GROUP)
    groups = ["", "model", "optim", "hydra", "hydra/sweeper", "hydra/sweeper/sampler", "nothing"]
    with hydra.initialize_config_dir(str(ROOT / "conf"), **VERSION_BASE):
        loader = GlobalHydra.instance().config_loader()

        def listed() -> list[list[str]]:
            return [loader.get_group_options(group, kind) for group in groups for kind in kinds]

        slowly = listed()
        with groups_listed_quickly(), mock.patch("copy.deepcopy", side_effect=AssertionError):
            quickly = listed() if IS_13 else slowly  # 1.4 copies as long as nothing is composed
        assert quickly == slowly
        assert slowly[4] == ["adamw", "sgd"]


@pytest.mark.parametrize("words", [["-m", "sweeps=?"], ["experiment=?"], ["model=?"], ["data=?"]])
def test_each_option_has_a_line_that_fits(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    group = words[-1].removesuffix("=?")
    folder = ROOT / "sweeps" if group == "sweeps" else ROOT / "conf" / group
    assert [line.split()[0] for line in lines] == sorted(p.stem for p in folder.glob("*.yaml"))
    assert all(len(line.split()) > 2 and "…" not in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_another_group_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "modl=?"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no config group modl." in done.stderr
    assert "Did you mean model?" in done.stderr
