"""How noisy one run is, as a study's repeats or its confirmation tell."""

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
    """Standard error of a trial's mean over its repeats, pooled over trials; None without repeats.

    The root of the mean of s²/k over trials with k ≥ 2 repeats of standard deviation s.
    """
    errors = [
        a.attrs.std**2 / len(a.attrs.repeats)
        for a in ranked
        if a.attrs.std is not None and a.attrs.repeats is not None and len(a.attrs.repeats) > 1
    ]
    return math.sqrt(sum(errors) / len(errors)) if errors else None


# Of a noise that an older confirm.py measured: by its default of 8 seeds.
_OLD_FREEDOM = 7


def known_noise(study: optuna.Study) -> Noise | None:
    """As the repeats of the best tell it, else the confirmation, else ``confirm.py noise=true``.

    A bad setting is noisier than a good one, so the best are asked.
    """
    confirmed = confirmation_of(study)
    found = _pooled(view(study).ranked[:SHOWN])
    if found is None and confirmed is not None:
        found = _pooled(view(confirmed).ranked)
    kept = StudyAttributes.of(study)
    if found is None and kept.noise is not None:
        freedom = _OLD_FREEDOM if kept.noise_freedom is None else kept.noise_freedom
        found = Noise(kept.noise, freedom)
    return found


def _pooled(trials: Sequence[Attempt]) -> Noise | None:
    """Over the repeats of each; None without repeats."""
    known = [
        (a.attrs.std, len(a.attrs.repeats or ()) - 1) for a in trials if a.attrs.std is not None
    ]
    if not known:
        return None
    freedom = sum(each for _, each in known)
    return Noise(math.sqrt(sum(each * std**2 for std, each in known) / freedom), freedom)
