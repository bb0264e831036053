"""Which differences between trials exceed the noise of a search, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna

from sweepmore.statistics.intervals import Noise, told_apart_from
from sweepmore.study.attempts import Attempt, runs_each
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.noise import known_noise
from sweepmore.study.seeds import seed_key
from sweepmore.sweep.command_lines import of_verb
from sweepmore.wording import plural

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep


def told_apart_line(asked: Sweep, study: optuna.Study | None) -> list[str]:
    """The preview's line on which differences the budget can show.

    Empty for a study that has not begun, because its noise is unknown, and for several objectives,
    which have no single noise.
    """
    noise = None if study is None else known_noise(study)
    if noise is None or len(asked.settings.directions) > 1:
        return []
    return [f"apart    {differences(asked, noise)}; one run's sd is {noise.deviation:.2g}"]


def differences(asked: Sweep, noise: Noise) -> str:
    """Say which differences between trials are more than noise."""
    least = least_difference(asked, noise)
    return (
        f"among {plural(asked.n_trials, 'trial')}, differences of {least:.2g} or more "
        "can be told apart"
    )


def least_difference(asked: Sweep, noise: Noise) -> float:
    """The smallest difference, in the objective's unit, that the whole budget can show."""
    return told_apart_from(noise, asked.n_trials, runs_each(asked.settings.repeats))


def confirm_line(asked: Sweep, study: optuna.Study, *options: str) -> str | None:
    """Write the command that trains the best with fresh seeds; None where nothing has a seed."""
    if seed_key(StudyAttributes.of(study).question) is None:
        return None
    return of_verb("confirm", asked, study.study_name, *options)


def tied_mark(attempt: Attempt, best: Attempt, least: float | None) -> str:
    """Return " (tied)" when a trial's difference to the best is smaller than ``least``."""
    if least is None or attempt is best:
        return ""
    gap = abs((attempt.values or (0.0,))[0] - (best.values or (0.0,))[0])
    return " (tied)" if gap < least else ""


def noise_line(noise: Noise | None, asked: Sweep, study: optuna.Study) -> str:
    """Say how large the noise among the best trials is, or how to find out."""
    if len(asked.settings.directions) > 1:
        return "noise: compare repeated runs before you choose among them"
    if noise is None:
        confirm = confirm_line(asked, study, "--noise")
        cure = "hydra.sweeper.repeats runs each with several seeds"
        if confirm is not None:
            cure = f"{confirm} tells which are tied"
        return f"noise: unknown from one run each; {cure}"
    error = noise.deviation / runs_each(asked.settings.repeats) ** 0.5
    return (
        f"noise: a value's standard error is {error:.2g}\n"
        f"       {differences(asked, noise)}; smaller ones are marked (tied)"
    )
