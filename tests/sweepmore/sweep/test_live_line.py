"""The live view of a sweep: drawn for terminals of several widths, and on a real one."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from sweepmore.study.view import StudyView
from sweepmore.sweep.live_line import Shown, best_lines, short_names
from tests.support.attempts import attempt
from tests.support.screen import on_terminal
from tests.support.sweep_apps import App

PARAMS = {"optim.learning_rate_of_the_head": 0.0123, "model.hidden": 200}


def five_of_twenty(*directions: str) -> StudyView:
    """Five of twenty trials, two of them pruned."""
    trials = [
        attempt(slot, slot, "PRUNED")
        if slot in (1, 2)
        else attempt(slot, slot, values=(2.0 + slot,) * len(directions), params=PARAMS, seconds=6.0)
        for slot in range(5)
    ]
    return StudyView("s", directions, tuple(trials))


def shown(n_trials: int = 20, repeats: Mapping[str, Any] | None = None) -> Shown:
    asked: Any = SimpleNamespace(n_trials=n_trials, settings=SimpleNamespace(repeats=repeats))
    return Shown(cast(Any, asked), workers=2)


def drawn(seen: StudyView, width: int, live: Shown | None = None) -> list[str]:
    """Its lines, without colours; the rest of the bar is a colour only."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    console.print((live or shown()).lines(seen, width))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    return lines


def test_at_120_columns_all_is_in_three_lines() -> None:
    assert drawn(five_of_twenty("minimize"), 120) == [
        "━━━╸            5/20 done · 45 s left",
        "★□□■■···············  □ 2 pruned",
        "★ best 2.0000 · trial 0 · optim.learning_rate_of_the_head=0.0123 model.hidden=200",
    ]


def test_at_80_columns_the_settings_lose_their_groups() -> None:
    assert drawn(five_of_twenty("minimize"), 80)[2:] == [
        "★ best 2.0000 · trial 0 · learning_rate_of_the_head=0.0123 hidden=200"
    ]


def test_a_narrower_terminal_has_more_lines() -> None:
    assert drawn(five_of_twenty("minimize"), 50)[2:] == [
        "★ best 2.0000 · trial 0 ·",
        "  learning_rate_of_the_head=0.0123 hidden=200",
    ]


def test_everything_at_once_fits_in_80_columns() -> None:
    """Five kinds with three digits each, runs, a spread, and eight settings."""
    params = {f"model.setting_{name}": 0.000123456 for name in "abcdefgh"}
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("COMPLETE", {"values": (float("inf"),)}),
        ("PRUNED", {}),
        ("FAIL", {"reason": "exception"}),
        ("RUNNING", {}),
    ]
    trials = [attempt(slot, slot, kinds[slot % 4][0], **kinds[slot % 4][1]) for slot in range(800)]
    trials.append(attempt(800, 800, values=(2.0,), params=params, attrs={"std": 0.001},
                          seconds=60.0))  # fmt: skip
    seen = StudyView("s", ("minimize",), tuple(trials))
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    console.print(shown(1000, {"seed": [1, 2, 3]}).lines(seen, 80))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    counts = ["▸ 200 running", "□ 200 pruned", "× 200 failed", "∞ 200 diverged"]
    settings = [f"setting_{name}=0.000123" for name in "abcdefgh"]
    done = "601/1,000 done (1,803 of 3,000 runs) · 3:19 h left"
    for part in (done, *counts, "best 2.0000 (sd 0.0010) · trial 800", *settings):
        assert part in text, part


def test_several_objectives_have_no_best() -> None:
    line = drawn(five_of_twenty("minimize", "maximize"), 120)[2]
    assert line.startswith("best in the first objective 2.0000, 2.0000 · trial 0 · optim.")


def test_before_the_first_result_there_is_no_best() -> None:
    seen = StudyView("s", ("minimize",), (attempt(0, 0, "RUNNING"), attempt(1, 1, "WAITING")))
    assert drawn(seen, 80) == [
        "                0/20 done",
        "▸···················  ▸ 1 running",
    ]


def test_a_sweep_that_stops_says_so() -> None:
    live = shown()
    live.stopping = True
    assert drawn(five_of_twenty("minimize"), 80, live)[0].endswith(" 5/20 done · stopping")


def test_names_that_two_settings_share_keep_their_groups() -> None:
    params = {"a.lr": 1, "b.lr": 2, "model.emb": 3, "seed": 4}
    assert short_names(params) == {"a.lr": 1, "b.lr": 2, "emb": 3, "seed": 4}


def test_the_spread_goes_before_a_setting_does() -> None:
    best = attempt(0, 0, values=(2.0,), params={"model.emb": 3}, attrs={"std": 0.01})
    full = "★ best 2.0000 (sd 0.0100) · trial 0 · model.emb=3"
    assert best_lines(best, len(full)) == [full]
    assert best_lines(best, len(full) - 1) == [full.replace("model.", "")]
    assert best_lines(best, len(full) - 7) == ["★ best 2.0000 · trial 0 · emb=3"]


@pytest.mark.system
@pytest.mark.parametrize("columns", [80, 120])
def test_it_vanishes_from_a_terminal(app: App, columns: int) -> None:
    words = ("x=interval(0,1)", ":n_trials=3", ":study_name=s", ":n_jobs=2", "does=gated")
    with on_terminal(app.command(*words), app.folder, columns) as seen:
        seen.until(lambda text: "▸▸·  ▸ 2 running" in text)
        assert not seen.screen.is_cursor_shown
        app.open_gate(0)
        seen.until(lambda text: "1/3 done" in text and "★▸▸  ▸ 2 running" in text)
        seen.until(lambda text: "★ best 0." in text and " · trial 0 · x=0." in text)
        seen.press_ctrl_c()
        assert seen.end() == 130
    assert seen.screen.is_cursor_shown
    assert "stopped: 2 trials to go, 2 of them begun; to continue, rerun:" in seen.screen.text
    for left in ("━", "★", "▸", "stopping"):
        assert left not in seen.screen.text
    app.open_gate()
    with on_terminal(app.command(*words), app.folder, columns) as seen:
        assert seen.end() == 0
    assert seen.screen.is_cursor_shown
    assert "3 of 3 trials done, 2 more in " in seen.screen.text
    for left in ("━", "★", "▸"):
        assert left not in seen.screen.text
