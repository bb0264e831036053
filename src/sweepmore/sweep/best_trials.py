"""The list of a study's best trials, as a sweep's end and ``sweepmore show`` print it."""

from __future__ import annotations

from rich.console import Console

from sweepmore.study.attempts import Attempt, words
from sweepmore.study.view import SHOWN, StudyView
from sweepmore.sweep.live_line import value_of
from sweepmore.sweep.noise_words import tied_mark


def print_best(seen: StudyView, least: float | None) -> Attempt:
    """Print the best trials, the first in bold on a terminal, and return the first.

    With several objectives these are the whole front, which has no best. ``least`` is the smallest
    difference that is not chance; None where the noise is unknown.
    """
    console = Console(highlight=False, markup=False)
    many = len(seen.directions) > 1
    rows = seen.front if many else seen.ranked[:SHOWN]
    console.print("no trial beats these in every objective:" if many else "the best:")
    for attempt in rows[: 2 * SHOWN]:
        value = f"{value_of(attempt)}{tied_mark(attempt, rows[0], least)}"
        line = f"  trial {attempt.root:>4}  {value}  {words(attempt.params)}"
        style = "bold" if attempt is rows[0] and not many else None
        console.print(line, style=style, soft_wrap=True)
    return rows[0]
