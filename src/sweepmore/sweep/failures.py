"""The failures of a sweep: each reason once, and the errors that end a sweep because of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sweepmore.errors import StudyError
from sweepmore.study.attempts import Attempt
from sweepmore.study.view import StudyView
from sweepmore.wording import plural, shown_path

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep


def print_failures(snapshot: StudyView) -> None:
    """Print the most frequent reasons, each once and with the file that holds its traceback."""
    for text, count, example in by_reason(snapshot):
        # whom the kernel has killed left no file
        file = None if example.attrs.traceback is None else example.attrs.folder
        where = "" if file is None else f" ({shown_path(file / 'error.txt')})"
        print(f"failed:  {count} × {text.splitlines()[0]}{where}")


def print_crowded(snapshot: StudyView) -> None:
    """Print how many trials ran out of memory beside others, and what to do about it."""
    if crowded := [a for a in snapshot.attempts if a.reason == "out_of_memory" and not a.counts]:
        placed = crowded[-1].attrs.placed or {}
        larger = f"placement={{gpu: {2 / placed['workers']:g}}}" if placed.get("gpus") else ""
        print(
            f"memory:  {plural(len(crowded), 'trial')} ran out of memory beside others, and ran "
            "again alone: shares were too small"
        )
        print(f"         next time: {f'hydra.sweeper.{larger}' if larger else 'fewer workers'}")


def by_reason(snapshot: StudyView) -> list[tuple[str, int, Attempt]]:
    """Return the three most frequent errors: text, count, and the first trial that had it."""
    errors = Counter(a.attrs.error or "unknown" for a in snapshot.failed)
    first = {a.attrs.error or "unknown": a for a in reversed(snapshot.failed)}
    return [(text, count, first[text]) for text, count in errors.most_common(3)]


# What to do about the budget of a sweep that its failures have ended.
_STAY = (
    "The failed trials still count: raise hydra.sweeper.n_trials by as many, or start anew "
    "with another hydra.sweeper.study_name."
)


def no_objective(attempt: Attempt) -> StudyError:
    """The error for a sweep that ends because a task returned no number.

    One such trial is enough: the next ones would return none either.
    """
    problem, _, cure = (attempt.attrs.error or "").partition("\n  ")
    return StudyError(
        f"Trial {attempt.root} has no objective, and the next ones would have none: {problem}",
        value=attempt.root,
        cure=f"{cure} Then rerun the same command to run the remaining trials. {_STAY}",
    )


def failures(snapshot: StudyView, failed: int, finished: int, asked: Sweep) -> StudyError:
    """The error for a sweep in which too many trials failed; identical failures appear once.

    Its exit code is 1 and not 2: the settings were right, the work failed.
    """
    blocks = []
    for text, count, example in by_reason(snapshot):
        trace = (example.attrs.traceback or text).strip()
        lines = trace.split("\n") if trace != text else []
        blocks.append("\n".join([f"{count} × {text}", *(f"    {line}" for line in lines)]))
    problem = f"{failed} of {plural(finished, 'trial')} failed, more than "
    problem += f"hydra.sweeper.max_failure_rate={asked.settings.max_failure_rate:g} allows:"
    error = StudyError(
        problem + "\n" + "\n".join(blocks),
        value=failed / max(1, finished),
        cure=f"Fix the cause, then rerun the same command to run the remaining trials. {_STAY}",
    )
    error.exit_code = 1  # the settings were right, the work failed
    return error
