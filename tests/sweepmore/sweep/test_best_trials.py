"""The list of the best trials: which of them is the answer."""

from __future__ import annotations

import sys

import pytest

from sweepmore.study.verdict import found_in
from sweepmore.sweep.best_trials import print_best
from tests.support.made_studies import made_study, name_winner


@pytest.mark.parametrize(("winner", "bold"), [(None, 1), (2, 2), (1, 1)])
def test_bold_is_the_winner_once_there_is_one(
    winner: int | None,
    bold: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two trials have the parameters of the first: one of them at most is bold."""
    study = made_study([([3.0], {"n": 2}), ([1.0], {"n": 3}), ([1.5], {"n": 4}), ([1.1], {"n": 3})])
    if winner is not None:
        name_winner(study, winner, 1.2, 0.1)
    found = found_in(study)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    first = print_best(found.seen, None, found.winner)
    assert first.root == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "\x1b[1m" in line]
    assert [int(line.split("trial")[1].split()[0]) for line in lines] == [bold]
