"""The trials of a sweep as a strip: one coloured character for each slot of its budget.

The characters differ, too, so that the strip can be read without colours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from optuna.trial import TrialState
from rich.text import Text

from sweepmore.study.attempts import Attempt
from sweepmore.study.view import StudyView


@dataclass(frozen=True)
class Kind:
    """How a slot stands: its character, the word for it, and the style of both."""

    mark: str
    word: str
    style: str


BEST: Final = Kind("★", "best", "bold green")
COMPLETE: Final = Kind("■", "complete", "cyan")
RUNNING: Final = Kind("▸", "running", "blue")
PRUNED: Final = Kind("□", "pruned", "cyan")
FAILED: Final = Kind("×", "failed", "bold red")
DIVERGED: Final = Kind("∞", "diverged", "yellow")
GIVEN_UP: Final = Kind("†", "given up", "red")
WAITING: Final = Kind("·", "waiting", "bright_black")
# What the legend counts: how many are complete is clear from how many are done.
LEGEND: Final = (RUNNING, PRUNED, FAILED, DIVERGED, GIVEN_UP)
# Stands for the slots that have no room.
MORE: Final = Text("…", WAITING.style)


def kinds_of(snapshot: StudyView) -> Mapping[int, Kind]:
    """Return how each slot stands that has a trial: by the attempt that counts, or by the last.

    With several objectives no trial is the best.
    """
    attempts: dict[int, Attempt] = {}
    for attempt in snapshot.attempts:
        if attempt.slot not in attempts or not attempts[attempt.slot].counts:
            attempts[attempt.slot] = attempt
    given_up = set(snapshot.given_up)
    kinds = {
        slot: GIVEN_UP if slot in given_up else _kind(attempt) for slot, attempt in attempts.items()
    }
    if snapshot.ranked and len(snapshot.directions) == 1:
        kinds[snapshot.ranked[0].slot] = BEST
    return kinds


def _kind(attempt: Attempt) -> Kind:
    if attempt.infeasible:
        return DIVERGED
    states = {
        TrialState.COMPLETE: COMPLETE,
        TrialState.PRUNED: PRUNED,
        TrialState.RUNNING: RUNNING,
        TrialState.FAIL: FAILED if attempt.counts else WAITING,  # its retry is about to be enqueued
    }
    return states.get(attempt.state, WAITING)


def strip(kinds: Mapping[int, Kind], n_trials: int, width: int) -> Text:
    """Draw the slots of a budget in at most ``width`` columns.

    Where they do not fit, the strip ends with the last slot that has begun, so that the latest
    trials are always in sight.
    """
    total = max([n_trials, *(slot + 1 for slot in kinds)])
    if total <= width:
        return _cells(kinds, 0, total)
    begun = max((slot + 1 for slot, kind in kinds.items() if kind is not WAITING), default=0)
    if begun < width:
        return _cells(kinds, 0, width - 1) + MORE
    return MORE + _cells(kinds, begun - width + 1, begun)


def _cells(kinds: Mapping[int, Kind], first: int, end: int) -> Text:
    shown = (kinds.get(slot, WAITING) for slot in range(first, end))
    return Text.assemble(*((kind.mark, kind.style) for kind in shown))


def legend(kinds: Mapping[int, Kind], *, short: bool = False) -> Text:
    """Write what the characters mean and how often each appears; ``short`` leaves out the words."""
    counts = Counter(kinds.values())
    parts = [
        Text(f"{kind.mark} {counts[kind]:,}{'' if short else f' {kind.word}'}", kind.style)
        for kind in LEGEND
        if counts[kind]
    ]
    return Text("  ").join(parts)
