"""What a sweep prints at its end: the best few, what is tied, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from sweepmore.compose.overrides import override_text
from sweepmore.runs.names import ending
from sweepmore.study.attempts import Attempt, run_of, words
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.edges import at_edge
from sweepmore.study.noise import known_noise
from sweepmore.study.view import SHOWN, StudyView, view
from sweepmore.sweep.command_lines import command_line, of_application, of_script, rerun
from sweepmore.sweep.failures import print_failures
from sweepmore.sweep.live_line import value_of
from sweepmore.sweep.noise_words import least_difference, noise_line, tied_mark
from sweepmore.sweep.trials_csv import write_csv
from sweepmore.wording import duration, plural, shown_path

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep
    from sweepmore.sweep.context import StudyContext


def closing(
    asked: Sweep, study: optuna.Study, shared: StudyContext, elapsed: float, stopped: bool
) -> None:
    """The best few, which of them are tied, what to mistrust, and what to do next; of a sweep
    that was ``stopped`` that is said elsewhere. Writes ``trials.csv`` as well."""
    seen = view(study)
    _print_counts(seen, asked, shared.since, elapsed)
    print_failures(seen)
    write_csv(seen, shared.folder / "trials.csv", StudyAttributes.of(study).as_text)
    confirms = ending(study.study_name)  # confirm.py has its own table
    if not seen.ranked or confirms:
        return
    best = _print_best(seen, asked, study)
    run = "" if len(seen.directions) > 1 else f"; the best: {shown_path(run_of(best))}"
    print(f"folder:  {shown_path(shared.folder)}{run}")
    if not stopped:
        _print_next(seen, asked, study, best)


def _print_counts(seen: StudyView, asked: Sweep, since: float, elapsed: float) -> None:
    """How many trials ended how; ``since`` is when this start began, ``elapsed`` its seconds."""
    pruned, failed = seen.count(TrialState.PRUNED), len(seen.failed)
    print(
        f"{len(seen.counted)} of {plural(asked.n_trials, 'trial')} done"
        f"{_lately(seen, since)} {duration(elapsed)}: "
        f"{seen.count(TrialState.COMPLETE)} complete, {pruned} pruned, {failed} failed"
    )
    if seen.given_up:
        print(
            f"given up after {plural(asked.settings.max_retries, 'retry', 'retries')}: "
            f"slots {seen.given_up}"
        )
    if seen.infeasible:
        share = len(seen.infeasible) / max(1, len(seen.counted))
        print(f"diverged: {len(seen.infeasible)} ({share:.0%} of the trials)")


def _print_best(seen: StudyView, asked: Sweep, study: optuna.Study) -> Attempt:
    """The best few and how far they can be told apart; returns the first."""
    many = len(seen.directions) > 1
    rows = seen.front if many else seen.ranked[:SHOWN]
    print("no trial beats these in every objective:" if many else "the best:")
    noise = None if many else known_noise(study)
    least = None if noise is None else least_difference(asked, noise)
    for attempt in rows[: 2 * SHOWN]:
        value = f"{value_of(attempt)}{tied_mark(attempt, rows[0], least)}"
        print(f"  trial {attempt.root:>4}  {value}  {words(attempt.params)}")
    print(noise_line(noise, asked, study.study_name))
    for line in at_edge(rows[0].params, asked.space.searched):
        print(f"note: among the best, {line}: look beyond it")
    return rows[0]


def _print_next(seen: StudyView, asked: Sweep, study: optuna.Study, best: Attempt) -> None:
    """The commands that go on from here: the best once more, more trials, what looks at them."""
    print(f"again:   {rerun(asked, best)}")
    if len(seen.counted) >= asked.n_trials and not asked.gridded:
        more, named = asked.command, asked.settings.study_name
        if not named:  # another unnamed study of this question may come first
            name = f"hydra.sweeper.study_name={override_text(study.study_name)}"
            more = {**more, "words": [*more["words"], name]}
        print(f"more:    {command_line(more, 2 * asked.n_trials, here=True)}")
        fresh = "another hydra.sweeper.study_name" if named else "the same command"
        print(f"         {fresh} starts afresh")
    many = len(seen.directions) > 1
    confirm = None if many else of_script("confirm.py", asked, study.study_name)
    if ways := [way for way in (confirm, of_application(asked, study)) if way is not None]:
        print(f"next:    {' · '.join(ways)}")


def _lately(seen: StudyView, since: float) -> str:
    """``in``, or how many trials this start added to those of earlier ones: ``, 15 more in``."""
    new = [attempt for attempt in seen.counted if attempt.last_sign >= since]
    if len(new) == len(seen.counted):
        return " in"
    return f", {len(new) or 'no'} more in"
