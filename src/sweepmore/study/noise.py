"""How noisy a single run is, measured by a study's repeats or its confirmation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna

from sweepmore.statistics.intervals import Noise
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.parts import confirmation_of
from sweepmore.study.view import SHOWN, view


def noise(ranked: Sequence[Attempt]) -> float | None:
    """The standard error of a trial's mean over its repeats, pooled over trials.

    It is the root of the mean of s²/k over trials with k ≥ 2 repeats of standard deviation s, in
    the unit of the objective; None without such trials.
    """
    errors = [
        a.attrs.std**2 / len(a.attrs.repeats)
        for a in ranked
        if a.attrs.std is not None and a.attrs.repeats is not None and len(a.attrs.repeats) > 1
    ]
    return math.sqrt(sum(errors) / len(errors)) if errors else None


# Degrees of freedom of a noise that an older version measured, by its default of 8 seeds.
_OLD_FREEDOM = 7


def known_noise(study: optuna.Study) -> Noise | None:
    """The noise of one run; None where nothing measured it.

    The repeats of the best trials come first, then the confirmation, then what
    ``sweepmore confirm --noise`` stored. Only the best trials count, because a bad setting is
    noisier than a good one.
    """
    confirmed = confirmation_of(study)
    estimate = _pooled(view(study).ranked[:SHOWN])
    if estimate is None and confirmed is not None:
        estimate = _pooled(view(confirmed).ranked)
    attributes = StudyAttributes.of(study)
    if estimate is None and attributes.noise is not None:
        freedom = attributes.noise_freedom
        estimate = Noise(attributes.noise, _OLD_FREEDOM if freedom is None else freedom)
    return estimate


def _pooled(trials: Sequence[Attempt]) -> Noise | None:
    """The noise pooled over the repeats of each trial; None without repeats."""
    repeated = [
        (a.attrs.std, len(a.attrs.repeats or ()) - 1) for a in trials if a.attrs.std is not None
    ]
    if not repeated:
        return None
    freedom = sum(each for _, each in repeated)
    return Noise(math.sqrt(sum(each * std**2 for std, each in repeated) / freedom), freedom)
