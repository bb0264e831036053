"""Crews: the workers that one parent has started as jobs of a launcher, by the crew's name.

The parent may reach them through the study alone.
"""

from __future__ import annotations

import optuna

from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.slots import fail, retry
from sweepmore.study.view import view

# So many requests to stop are kept: workers read theirs within seconds.
STOPPING_KEPT = 20


def give_back(study: optuna.Study, crew: str) -> None:
    """Enqueue the trials of a crew again whose workers are out of reach, and end them."""
    for attempt in view(study).running:
        if attempt.attrs.crew == crew:
            retry(study, attempt)
            fail(study, attempt.number, "handed_back")


def ask_to_stop(study: optuna.Study, crew: str) -> None:
    """Ask the workers of a crew to hand their trials back and end.

    Another parent that asks at the same moment may overwrite the request, so repeat it.
    """
    asked = StudyAttributes.of(study).stopping
    if crew not in asked:
        StudyAttributes(stopping=(*asked[1 - STOPPING_KEPT :], crew)).write(study)


def is_asked_to_stop(study: optuna.Study, crew: str) -> bool:
    """Whether the workers of this crew shall end."""
    return crew in StudyAttributes.of(study).stopping
