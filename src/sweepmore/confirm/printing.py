"""What ``sweepmore confirm`` prints: the noise, or a confirmation's table and its winner."""

from __future__ import annotations

from collections.abc import Sequence

from sweepmore.confirm.winner import Confirmation, Outcome, Row
from sweepmore.statistics.intervals import (
    Interval,
    Noise,
    smallest_difference,
    smallest_single,
    told_apart_from,
)
from sweepmore.study.attempts import Attempt, words
from sweepmore.study.attributes import Winner
from sweepmore.study.winners import contradicted, seeds_of
from sweepmore.wording import decimals, fitted, plural, plus_minus, shown_path


def print_noise(deviation: float, seeds: int, *, trials: int, beside: float) -> None:
    """Print one run's standard deviation over fresh seeds, and the differences that exceed it.

    ``deviation`` has the unit of the objective, and ``trials`` are those of the search. ``beside``
    is the mean of those runs; it decides how many digits are shown.
    """
    sd, smallest, single, among = (
        decimals(number, beside)
        for number in (
            deviation,
            smallest_difference(deviation, seeds),
            smallest_single(deviation),
            told_apart_from(Noise(deviation, seeds - 1), trials, 1),
        )
    )
    print(
        f"noise    one run's standard deviation is {sd} over {plural(seeds, 'fresh seed')}\n"
        f"         with {plural(seeds, 'seed')} each, differences of {smallest} or more can be "
        f"told apart; with one run each, of {single} or more\n"
        f"         among the best of {plural(trials, 'trial')}, which luck has picked, "
        f"of {among} or more"
    )


def print_outcome(outcome: Outcome, record: Winner) -> None:
    """Print the table of a confirmation, then the report of its winner.

    The settings may be long, so they appear below the table, which fits in 80 columns.
    """
    confirmation, final = outcome.confirmation, outcome.final
    # The table, best mean first; the arrow marks the winner, which need not be the first row.
    seeds = len(confirmation.winner.values)
    print(f"\nconfirmed: each mean is of the same {seeds} fresh seeds, ± its 95 % interval")
    print("tied: the paired difference to the best may be zero")
    print(" trial    search      fresh mean   behind the best         parameters  seconds")
    for row in confirmation.rows:
        print(_line(row, confirmation))
    for row in confirmation.rows:
        print(f"  trial {row.candidate.searched_root:>4}  {words(row.candidate.params)}")
    # The winner, with the mean of seeds that did not choose it.
    print(f"winner   {words(final.params)} ({standing(confirmation)})")
    apart = ", which did not choose it" if outcome.has_final_seeds else ""
    interval = plus_minus(record.mean, record.half_width)
    print(f"report   {interval} (95 %), over {seeds_of(record)}{apart}")
    # How much the search promised too much: the reason to confirm at all.
    if final.bias:
        than = "better" if confirmation.sign * final.bias < 0 else "worse"
        bias = decimals(abs(final.bias), final.searched)
        print(f"         the search showed {decimals(final.searched)}: {bias} {than}")
    if warning := contradicted(record, confirmation.sign):
        print(fitted(f"warning  {warning}"))
    # The run whose number is to be reported on test.
    print(f"folder   {shown_path(record.run)}")
    print(fitted(f"         the middle one of its {record.seeds} runs, with seed "
                 f"{record.seed}: typical, not the luckiest"))  # fmt: skip


def print_left_out(chosen: Sequence[Attempt], outcome: Outcome) -> None:
    """Print which of the ``chosen`` configurations have no row in the table, and why."""
    kept = [row.candidate.searched_root for row in outcome.confirmation.rows]
    for attempt in chosen:
        if attempt.root not in kept:
            print(f"left out {words(attempt.params)}: it failed or diverged under a fresh seed")


def standing(confirmation: Confirmation) -> str:
    """Say in a few words why this candidate won: alone, the simplest, or the best of the tied."""
    tied, winner = confirmation.tied, confirmation.winner
    if len(tied) == 1:
        return "alone at the top"
    if len({candidate.cost for candidate in tied}) == 1:
        return f"the best of {len(tied)} tied{', equally large' if winner.cost[0] else ''}"
    return f"the simplest of {len(tied)} tied"


def _line(row: Row, confirmation: Confirmation) -> str:
    candidate = row.candidate
    mark = "→" if candidate is confirmation.winner else " "
    size = f"{candidate.cost[0]:,.0f}" if candidate.cost[0] else "-"
    seconds = f"{candidate.seconds:.1f}" if candidate.seconds is not None else "-"
    gap, verdict = "", "best"
    if row is not confirmation.rows[0]:
        gap, verdict = told_apart(row.difference), "tied" if row.tied else "worse"
    return (
        f"{mark} {candidate.searched_root:>4}  {decimals(candidate.searched):>8}  "
        f"{plus_minus(candidate.mean, row.interval.half)}  {gap:<16}  {verdict:<5}  "
        f"{size:>10}  {seconds:>7}"
    )


def told_apart(difference: Interval) -> str:
    """Write a difference with its half-width, as ``+0.0123 ± 0.0040``.

    Four decimals are the rule; more are shown, up to eight, when rounding would move the end of
    the interval to the other side of zero and so contradict the verdict beside it.
    """
    if not 1e-3 <= max(abs(difference.mean), difference.half) < 1e5:
        return plus_minus(difference.mean, difference.half, sign="+")
    for digits in range(4, 9):
        mean, half = f"{difference.mean:+.{digits}f}", f"{difference.half:.{digits}f}"
        if (abs(float(mean)) <= float(half)) == difference.includes_zero:
            break
    return f"{mean} ± {half}"
