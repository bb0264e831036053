"""A value survives its text, by value and type, at every door that it passes."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from sweepmore.compose.overrides import read_overrides
from sweepmore.compose.settings import _enqueued
from sweepmore.compose.space_syntax import parse_space
from sweepmore.confirm.retrain import choices
from sweepmore.errors import ConfigError
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import TrialAttributes
from sweepmore.sweep.command_lines import rerun
from tests.support.sweep_apps import App

# What is typed, and the values that it means.
AWKWARD: list[tuple[str, list[Any]]] = [
    ("null,1.0", [None, 1.0]),
    ("null,false,0", [None, False, 0]),
    ("true,1,1.0,'1'", [True, 1, 1.0, "1"]),
    ("'true','null',a", ["true", "null", "a"]),
    ("'',a", ["", "a"]),
    ("' a ','b,c'", [" a ", "b,c"]),
    ("[1,2],[3,4]", [[1, 2], [3, 4]]),
    ("[null,'1',1],[]", [[None, "1", 1], []]),
    ("{a:1},{a:null}", [{"a": 1}, {"a": None}]),
    ("1e-58,1.0", [1e-58, 1.0]),
    ("'é \\'x\\'',b", ["é 'x'", "b"]),
]


def same(a: Any, b: Any) -> bool:
    return repr(a) == repr(b)


@pytest.mark.parametrize(("text", "values"), AWKWARD)
class TestEveryDoor:
    def test_the_search(self, text: str, values: list[Any]) -> None:
        space = parse_space([f"x={text}"])
        for point, value in zip(space.grid(), values, strict=True):
            (word,) = space.overrides(point)
            assert same(read_overrides([word], {})[0].value(), value)

    def test_enqueue(self, text: str, values: list[Any]) -> None:
        space = parse_space([f"x={text}"])
        held = list(_enqueued([{"x": value} for value in values], space))
        assert list(map(repr, held)) == list(map(repr, space.grid()))

    def test_the_printed_command(self, text: str, values: list[Any]) -> None:
        space = parse_space([f"x={text}"])
        for point, value in zip(space.grid(), values, strict=True):
            command = {"script": ["app.py"], "words": []}
            asked = cast(Any, SimpleNamespace(space=space, command=command))
            word = shlex.split(rerun(asked, cast(Any, SimpleNamespace(params=point))))[-1]
            assert same(OverridesParser.create().parse_override(word).value(), value)

    @pytest.mark.parametrize("number", [1, None])
    def test_a_confirmation(
        self, text: str, values: list[Any], number: int | None, tmp_path: Path
    ) -> None:
        """Of the first alone, and of all: its words are a search among them, its points theirs."""
        space = parse_space([f"x={text}"])
        chosen = []
        for at, point in enumerate(list(space.grid())[:number]):
            folder = tmp_path / str(at)
            folder.mkdir()
            (folder / "overrides.yaml").write_text(yaml.safe_dump(space.overrides(point)))
            chosen.append(SimpleNamespace(params=point, attrs=TrialAttributes(folder=folder)))
        words, points = choices(cast(list[Attempt], chosen), ["x"])
        again = searching(words)
        assert [repr(point["x"]) for point in points] == list(map(repr, values[:number]))
        held = list(_enqueued(points, again))
        read = [read_overrides(again.overrides(point), {})[0].value() for point in held]
        assert list(map(repr, read)) == list(map(repr, values[:number]))


def searching(words: list[str]) -> Any:
    """The space of a command with these words, some of which may be for hydra.sweeper.params."""
    (word,) = words
    override = OverridesParser.create().parse_override(word)
    if override.key_or_group == "hydra.sweeper.params":
        return parse_space([], cast(dict[str, Any], override.value()))
    return parse_space(words)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,2", True), ("range(0,3)", True), ("true,false", 1), ("1,2", "1"), ("'',a", None),
     ("interval(0,2)", True), ("[1,2],[3,4]", "[3,4]"), ("1,1.0", True)],
)  # fmt: skip
def test_another_type_is_refused(text: str, value: Any) -> None:
    with pytest.raises(ConfigError, match="is outside its range"):
        list(_enqueued([{"x": value}], parse_space([f"x={text}"])))


def test_a_whole_number_stands_for_a_float() -> None:
    assert list(_enqueued([{"x": 1}], parse_space(["x=1.0,2.0"]))) == [{"x": 1.0}]
    assert list(_enqueued([{"x": 1}], parse_space(["x=interval(0,2)"]))) == [{"x": 1}]


@pytest.mark.system
def test_one_sweep_of_them_all(tmp_path: Path) -> None:
    app = App.copied(tmp_path)
    lines = [
        ("does=result", f"+extra={text}", f":study_name=s{at}", "x=1")
        for at, (text, _) in enumerate(AWKWARD)
    ]
    for done in app.each(*lines).values():
        assert done.returncode == 0, done.stdout + done.stderr
    seen = iter(app.seen())
    for at, (_, values) in enumerate(AWKWARD):
        with (app.folder / f"outputs/studies/s{at}/trials.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row, value in zip(rows, values, strict=True):
            assert next(seen)["extra"] == repr(value)
            assert same(read_overrides([f"x={row['extra']}"], {})[0].value(), value)
