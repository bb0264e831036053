"""The counts of benchmarks/torture.py, on logs written by hand."""

from __future__ import annotations

import json

from benchmarks.torture_log import BEGIN, END, Counts, counts, replaced


def line(event: str, start: int, x: float, finite: bool = True) -> str:
    end = {"finite": finite} if event == "end" else {}
    return json.dumps({"event": event, "start": start, "x": x, "y": 0.0, **end}) + "\n"


def test_ended_lost_and_doubled_are_told_apart() -> None:
    log = line("start", 1, 0.1) + line("start", 2, 0.2) + line("end", 1, 0.1)
    log += line("end", 2, 0.2, finite=False) + line("start", 3, 0.3)
    log += line("start", 4, 0.1) + line("end", 4, 0.1)
    assert counts(log) == Counts(started=4, finished=2, doubled=1, lost=1)


def test_a_line_cut_off_is_not_counted() -> None:
    log = line("start", 1, 0.1) + line("end", 1, 0.1)[:-5]
    assert counts(log) == Counts(started=1, finished=0, doubled=0, lost=1)
    assert counts("") == Counts(0, 0, 0, 0)


def test_the_block_is_replaced_and_nothing_else() -> None:
    page = f"a\n{BEGIN}\nold\n{END}\nb {END}\n"
    assert replaced(page, "| new \\1 |\n") == f"a\n{BEGIN}\n| new \\1 |\n{END}\nb {END}\n"
    assert replaced("no block", "x") == "no block"
