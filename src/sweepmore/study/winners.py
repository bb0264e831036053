"""The confirmed winner of a study, and how its number is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import optuna

from sweepmore.statistics.intervals import Interval, unpaired
from sweepmore.study.attempts import key_of
from sweepmore.study.attributes import StudyAttributes, Winner, WinnerRow
from sweepmore.study.view import StudyView
from sweepmore.wording import decimals, plural, plus_minus


def seeds_of(winner: Winner) -> str:
    """Which seeds the mean of a winner's record is over, such as ``8 final seeds``.

    A record from before there were final seeds, or of a single configuration, has the fresh seeds
    that chose it.
    """
    kind = "fresh seed" if winner.final is None else "final seed"
    return plural(winner.seeds, kind)


def reported(winner: Winner) -> str:
    """The mean of a winner's record, its interval, and the seeds that gave it.

    Where the same seeds chose the winner, the text says so, and what to do.
    """
    candidates = len(winner.rows)
    over = seeds_of(winner)
    if winner.final is None and candidates > 1:
        over += f", which also chose it among {candidates}: sweepmore confirm adds final ones"
    return f"{plus_minus(winner.mean, winner.half_width)} (95 %, over {over})"


def standing_of(row: WinnerRow, winner: Winner) -> Literal["winner", "tied", "worse"]:
    """What fresh seeds say of a configuration."""
    if key_of(row.params) == key_of(winner.params):
        return "winner"
    return "tied" if row.tied else "worse"


def contradicted(winner: Winner, sign: float) -> str:
    """Say that the final seeds gave a worse mean than those that chose the winner; empty if not.

    ``sign`` is 1 where a lower value is better, else -1. A difference within Welch's interval is
    no contradiction: the seeds that chose a winner flatter it a little.
    """
    row = next((row for row in winner.rows if row.trial == winner.trial), None)
    if winner.final is None or row is None:
        return ""
    chosen, final = Interval(row.mean, row.half_width), Interval(winner.mean, winner.half_width)
    gap = unpaired(final, winner.seeds, chosen, winner.seeds)
    if gap.includes_zero or sign * gap.mean < 0:
        return ""
    return (
        f"the final seeds give {decimals(winner.mean)}, worse than the {decimals(row.mean)} of the "
        "seeds that chose the winner: it may owe its place to luck"
    )


# What a page says where ``tested`` is "another".
TESTED_BEFORE = "the look at test was of an earlier winner: the present one has not been tested"


def tested(confirmed: StudyAttributes) -> Literal["winner", "another"] | None:
    """Whose test result a confirmation holds: its winner's, an earlier winner's, or none.

    A later round may have replaced the winner that was tested. A result whose run was not stored
    counts as the winner's.
    """
    if confirmed.test is None:
        return None
    run, winner = confirmed.tested_run, confirmed.winner
    return "winner" if run is None or winner is None or run == str(winner.run) else "another"


def keep_tested_run(confirmed: optuna.Study) -> None:
    """Store which run was tested, before another winner is named.

    An older version stored only the number of its test.
    """
    before = StudyAttributes.of(confirmed)
    if before.test is not None and before.tested_run is None and before.winner is not None:
        StudyAttributes(tested_run=str(before.winner.run)).write(confirmed)


def as_searched(winner: Winner, search: StudyView) -> Winner:
    """Return a winner's record with the trial numbers of the search, not of the confirmation."""
    numbers = {key_of(attempt.params): attempt.root for attempt in reversed(search.ranked)}

    def renumbered(row: WinnerRow) -> WinnerRow:
        return replace(row, trial=numbers.get(key_of(row.params), row.trial))

    trial = numbers.get(key_of(winner.params), winner.trial)
    return replace(winner, trial=trial, rows=tuple(map(renumbered, winner.rows)))
