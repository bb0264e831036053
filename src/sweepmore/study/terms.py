"""What two values must have in common to be compared: data, metric and budget."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sweepmore.errors import StudyError
from sweepmore.study.application import Application

# The variable by which a challenge tells the command that it starts which terms hold, as JSON.
TERMS_VARIABLE = "SWEEPMORE_TERMS"


@dataclass(frozen=True)
class Terms:
    """The terms of a value.

    ``data`` is what the application's ``identity`` says, ``metric`` the objective with its
    direction, and ``budget`` the settings that the application has registered as its budget.
    """

    data: Any = None
    metric: str = ""
    budget: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, question: Mapping[str, Any], application: Application, params: Mapping[str, Any]
    ) -> Self:
        """The terms of a study with this question, for a trial with ``params``."""
        settings = {**question["config"], **_fixed(question["space"]), **params}
        directions = question["direction"]
        direction = directions if isinstance(directions, str) else directions[0]
        name = application.objectives[0] if application.objectives else "objective"
        budget = {key: settings.get(key) for key in application.budget}
        return cls(question["identity"], f"{direction} {name}", budget)

    def written(self) -> str:
        """The terms as JSON."""
        return json.dumps(asdict(self))

    def against(self, other: Terms) -> list[str]:
        """A line for each term in which ``other`` differs: ``optim.steps: 200 → 400``."""
        mine, theirs = (
            {"data": each.data, "metric": each.metric, **each.budget} for each in (self, other)
        )
        return [
            f"{key}: {_shown(mine.get(key))} → {_shown(theirs.get(key))}"
            for key in (mine | theirs)
            if mine.get(key) != theirs.get(key)
        ]


def check_terms(question: Mapping[str, Any], application: Application) -> None:
    """Raise StudyError where this command is part of a challenge and is on other terms."""
    if TERMS_VARIABLE not in os.environ:
        return
    champion = Terms(**json.loads(os.environ[TERMS_VARIABLE]))
    if changed := champion.against(Terms.of(question, application, {})):
        raise StudyError(
            "The challenger is on other terms than the champion; the champion's → its own:\n    "
            + "\n    ".join(changed),
            value=changed,
            cure="Challenge on the champion's terms. For other terms, confirm a study of its own.",
        )


def _fixed(space: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings that a search has one value for, such as those of a champion that runs again."""
    choices = {key: each.get("attributes", {}).get("choices", ()) for key, each in space.items()}
    return {key: values[0] for key, values in choices.items() if len(values) == 1}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
