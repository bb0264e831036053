"""The confirmed winner of a study, and how its number is told."""

from __future__ import annotations

from typing import Literal

import optuna

from sweepmore.study.attributes import StudyAttributes, Winner
from sweepmore.wording import plural, plus_minus


def seeds_of(winner: Winner) -> str:
    """Which seeds gave the mean of a winner's record: final ones, else those that chose it (a
    record from before there were final ones, or of a single configuration)."""
    kind = "fresh seed" if winner.final is None else "final seed"
    return plural(winner.seeds, kind)


def reported(winner: Winner) -> str:
    """The mean of a winner's record with its interval and the seeds that gave it; where the same
    seeds chose the winner, it says so, with the cure."""
    among = len(winner.rows)
    over = seeds_of(winner)
    if winner.final is None and among > 1:
        over += f", which also chose it among {among}: confirm.py adds final ones"
    return f"{plus_minus(winner.mean, winner.half_width)} (95 %, over {over})"


# What a page says where ``tested`` is "another".
TESTED_BEFORE = "the look at test was of an earlier winner: the present one has not been tested"


def tested(confirmed: StudyAttributes) -> Literal["winner", "another"] | None:
    """Whose look at test a confirmation holds: its winner's, or an earlier one's that a later round
    has replaced. A look whose run was not kept counts as the winner's."""
    if confirmed.test is None:
        return None
    run, winner = confirmed.tested_run, confirmed.winner
    return "winner" if run is None or winner is None or run == str(winner.run) else "another"


def keep_tested_run(confirmed: optuna.Study) -> None:
    """Before another winner is named: an older version kept the number of a look alone."""
    before = StudyAttributes.of(confirmed)
    if before.test is not None and before.tested_run is None and before.winner is not None:
        StudyAttributes(tested_run=str(before.winner.run)).keep(confirmed)
