"""The first ten minutes: every command runs, fits a screen and says what comes next."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.helpers import ROOT, script_of

# A usual terminal window on a laptop.
ROWS, COLUMNS = 40, 100
# What makes the sweep and the confirmation seconds long; all else is as the page has it.
SHORTER = {
    "sweeps=minute": "sweeps=minute hydra.sweeper.n_trials=3",
    "top=3 seeds=4": "top=2 seeds=2",
}


minutes = script_of(ROOT / "tools" / "first_minutes.py")


def test_the_page_has_these_commands_in_this_order() -> None:
    text = minutes.PAGE.read_text(encoding="utf-8")
    section = text[text.index(minutes.BEGIN) : text.index(minutes.END)]
    assert tuple(re.findall(r"^\$ (.*)$", section, re.MULTILINE)) == minutes.COMMANDS
    assert "/tmp" not in section


@pytest.mark.slow
def test_each_command_fits_a_screen_and_says_what_comes_next(tmp_path: Path) -> None:
    commands = list(minutes.COMMANDS)
    for long, short in SHORTER.items():
        commands = [command.replace(long, short) for command in commands]
    steps = list(minutes.run(commands, tmp_path))
    for step in steps:
        shown = "\n".join(step.lines)
        assert step.exit_code == 0, shown
        assert sum(1 + len(line) // COLUMNS for line in step.lines) <= ROWS, shown
        assert "warning" not in shown
        assert str(Path(sys.executable).parent) not in shown
        assert re.search(r"python \w+\.py|^next +sweepmore report", step.lines[-1]), shown
    assert any(line.startswith("commit the receipt: git add") for line in steps[-1].lines)
    assert len(list((tmp_path / "sweeps" / "looks").iterdir())) == 1
    assert not list((ROOT / "sweeps" / "looks").glob(f"*{fingerprint(steps[-1].lines)}*"))


def fingerprint(lines: tuple[str, ...]) -> str:
    (found,) = re.findall(r"fingerprint ([0-9a-f]{32})", "\n".join(lines))
    return str(found)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("step 1/9\nstep 2/9\ndone\n", ["step 2/9", "done"]),
        ("a\n1/60 done · 2\n60/60 done\nb", ["a", "60/60 done", "b"]),
        ("", []),
    ],
)
def test_of_lines_rewritten_in_place_the_last_is_shown(printed: str, shown: list[str]) -> None:
    assert minutes.on_a_terminal(printed) == shown
