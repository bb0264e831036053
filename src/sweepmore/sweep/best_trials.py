"""The list of a study's best trials, as a sweep's end and ``sweepmore show`` print it."""

from __future__ import annotations

from sweepmore.consoles import stdout_console
from sweepmore.study.attempts import Attempt, key_of, words
from sweepmore.study.attributes import Winner
from sweepmore.study.view import SHOWN, StudyView
from sweepmore.study.winners import standing_of
from sweepmore.sweep.live_line import value_of
from sweepmore.sweep.noise_words import tied_mark
from sweepmore.wording import fitted


def print_best(seen: StudyView, least: float | None, winner: Winner | None = None) -> Attempt:
    """Print the best trials, the answer in bold on a terminal, and return the first.

    The answer is the first, until fresh seeds have named a ``winner``: then they say which it is,
    and what is tied. With several objectives the rows are the whole front, which has no best.
    ``least`` is the smallest difference that is not chance; None where the noise is unknown.
    """
    console = stdout_console()
    many = len(seen.directions) > 1
    rows = (seen.front if many else seen.ranked[:SHOWN])[: 2 * SHOWN]
    confirmed = {} if winner is None else standings(winner)
    values = [
        value_of(attempt)
        + (confirmed.get(key_of(attempt.params), "") or tied_mark(attempt, rows[0], least))
        for attempt in rows
    ]
    console.print("no trial beats these in every objective:" if many else "the best:")
    confirmed_key = None if winner is None else key_of(winner.params)
    answer = (
        rows[0]
        if winner is None
        else next((attempt for attempt in rows if key_of(attempt.params) == confirmed_key), None)
    )
    for attempt, value in zip(rows, values):
        start = f"  trial {attempt.root:>4}  {value.ljust(max(map(len, values)))}  "
        style = "bold" if attempt is answer and not many else None
        line = fitted(f"{start}{words(attempt.params)}", len(start))
        console.print(line, style=style, soft_wrap=True)
    return rows[0]


def standings(winner: Winner) -> dict[str, str]:
    """Return what fresh seeds said of each configuration, as a mark behind its value."""
    return {key_of(row.params): f" ({standing_of(row, winner)})" for row in winner.rows}
