"""The page "The story": its table is the committed study's, and its sentences follow from it."""

from __future__ import annotations

from tests.support.helpers import ROOT, script_of

story = script_of(ROOT / "tools" / "story.py")
PAGE = (ROOT / "docs" / "story.md").read_text(encoding="utf-8")
STEPS = story.read_steps()


def test_the_table_is_what_the_tool_writes() -> None:
    written = PAGE.split(story.BEGIN)[1].split(story.END)[0]
    assert written == story.table(STEPS), "run: python tools/story.py"


def test_the_sentences_follow_from_the_table() -> None:
    first, *_, short, long, big, decayed, dropped, _mixed = STEPS
    assert f"train gains {short.train - long.train:.3f}" in PAGE
    assert f"gains {big.dev - dropped.dev:.2f}" in PAGE
    assert first.dev > story.LECTURE
    assert decayed.dev > story.COUNTING > dropped.dev


def test_the_picture_shows_every_step_and_both_lines() -> None:
    (axes,) = story.draw_steps(STEPS).axes
    train, dev, *levels = axes.lines
    assert list(train.get_xdata()) == [step.train for step in STEPS]
    assert list(dev.get_xdata()) == [step.dev for step in STEPS]
    assert [line.get_xdata()[0] for line in levels] == [story.LECTURE, story.COUNTING]
    assert [label.get_text() for label in axes.get_yticklabels()] == [step.what for step in STEPS]
    shown = [text.get_text() for text in axes.texts]
    assert shown[: len(STEPS)] == [f"{step.dev:.3f}" for step in STEPS]


def test_a_step_that_loses_has_a_plus() -> None:
    better, worse = story.Step("a", 2.0, 0.1, 1.9, 1234), story.Step("b", 2.25, 0.2, 1.8, 5678)
    assert story.table([better, worse]).splitlines()[2:] == [
        "| a | 1,234 | 1.900 | 2.0000 ± 0.1000 |  |",
        "| b | 5,678 | 1.800 | 2.2500 ± 0.2000 | +0.250 |",
    ]
    assert story.table([worse, better]).endswith("| −0.250 |\n")
