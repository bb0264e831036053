"""What a sweep prints at its end: the best trials, which of them are tied, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from sweepmore.runs.names import ending
from sweepmore.study.attempts import Attempt, run_of
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.edges import at_edge
from sweepmore.study.noise import known_noise
from sweepmore.study.verdict import found_in
from sweepmore.study.view import StudyView, view
from sweepmore.sweep.best_trials import print_best
from sweepmore.sweep.command_lines import command_for_more, of_application, of_verb, rerun
from sweepmore.sweep.failures import print_crowded, print_failures
from sweepmore.sweep.noise_words import confirm_line, least_difference, noise_line
from sweepmore.sweep.trials_csv import write_csv
from sweepmore.wording import duration, fitted, plural, shown_path

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep
    from sweepmore.sweep.context import StudyContext


def closing(
    asked: Sweep, study: optuna.Study, shared: StudyContext, elapsed: float, stopped: bool
) -> None:
    """Print how the sweep went, and write ``trials.csv`` to the study's folder.

    ``elapsed`` is the duration of this start in seconds. A sweep that was ``stopped`` gets no
    advice here, because its parent prints the command that continues it.
    """
    # What happened, with the table of all attempts for other programs.
    snapshot = view(study)
    _print_counts(snapshot, asked, shared.since, elapsed)
    print_failures(snapshot)
    print_crowded(snapshot)
    write_csv(snapshot, shared.folder / "trials.csv", StudyAttributes.of(study).as_text)
    confirms = ending(study.study_name)  # sweepmore confirm has its own table
    if not snapshot.ranked or confirms:
        return
    # What came of it. Several objectives have no best trial, and so no folder of the best.
    best = _print_best(snapshot, asked, study)
    run = "" if len(snapshot.directions) > 1 else f"; the best: {shown_path(run_of(best))}"
    print(f"folder:  {shown_path(shared.folder)}{run}")
    if not stopped:
        _print_next(snapshot, asked, study, best)


def _print_counts(snapshot: StudyView, asked: Sweep, since: float, elapsed: float) -> None:
    """Print how many trials ended in which way.

    ``since`` is when this start began (Unix time), and ``elapsed`` how long it took in seconds.
    """
    pruned, failed = snapshot.count(TrialState.PRUNED), len(snapshot.failed)
    print(
        f"{len(snapshot.counted)} of {plural(asked.n_trials, 'trial')} done"
        f"{_lately(snapshot, since)} {duration(elapsed)}: "
        f"{snapshot.count(TrialState.COMPLETE)} complete, {pruned} pruned, {failed} failed"
    )
    if snapshot.given_up:
        print(
            f"given up after {plural(asked.settings.max_retries, 'retry', 'retries')}: "
            f"slots {snapshot.given_up}"
        )
    if snapshot.infeasible:
        share = len(snapshot.infeasible) / max(1, len(snapshot.counted))
        print(f"diverged: {len(snapshot.infeasible)} ({share:.0%} of the trials)")


def _print_best(snapshot: StudyView, asked: Sweep, study: optuna.Study) -> Attempt:
    """Print the best trials and how large a difference the noise leaves; return the first."""
    # One noise cannot compare trials by several objectives.
    noise = known_noise(study) if len(snapshot.directions) == 1 else None
    least = None if noise is None else least_difference(asked, noise)
    best = print_best(snapshot, least, found_in(study).winner)
    print(noise_line(noise, asked, study))
    # A best value at the end of its range suggests that better ones lie outside.
    if edges := at_edge(best.params, asked.space.searched):
        print(fitted(f"note: {edges}", 6))
    return best


def _print_next(snapshot: StudyView, asked: Sweep, study: optuna.Study, best: Attempt) -> None:
    """Print the commands to go on with: rerun the best, run more trials, look at the results."""
    print(f"again:   {rerun(asked, best)}")
    if len(snapshot.counted) >= asked.n_trials and not asked.gridded:
        named = bool(asked.settings.study_name)
        total = 2 * asked.n_trials
        print(f"more:    {command_for_more(asked.command, study.study_name, total, not named)}")
        fresh = "another hydra.sweeper.study_name" if named else "the same command"
        print(f"         {fresh} starts a new study")
    many = len(snapshot.directions) > 1
    confirm = None if many else confirm_line(asked, study)
    report = of_verb("report", asked, study.study_name)
    if ways := [way for way in (confirm or report, of_application(asked, study)) if way]:
        print(f"next:    {' · '.join(ways)}")


def _lately(snapshot: StudyView, since: float) -> str:
    """Return " in", or how many trials this start added to earlier ones: ", 15 more in"."""
    new = [attempt for attempt in snapshot.counted if attempt.last_sign >= since]
    if len(new) == len(snapshot.counted):
        return " in"
    return f", {len(new) or 'no'} more in"
