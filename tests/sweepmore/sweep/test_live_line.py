"""The live line of a sweep on terminals of several widths: a bar, and the time left."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console

from sweepmore.study.view import view
from sweepmore.sweep.live_line import Shown


def study() -> optuna.Study:
    """Five of twenty trials, two of them pruned, with a long name for the one setting."""
    made = optuna.create_study()
    for slot in range(5):
        state = TrialState.PRUNED if slot in (1, 2) else TrialState.COMPLETE
        made.add_trial(
            create_trial(
                state=state,
                value=None if state is TrialState.PRUNED else 2.0 + slot,
                params={"optim.learning_rate_of_the_head": 0.0123},
                distributions={"optim.learning_rate_of_the_head": FloatDistribution(0, 1)},
                user_attrs={"slot": slot, "root": slot},
            )
        )
    return made


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (140, "best 2.0000 (trial 0: optim.learning_rate_of_the_head=0.0123)"),
        (80, "best 2.0000 (trial 0)"),
        (52, "best 2.0000"),
    ],
)
def test_a_narrow_terminal_shows_less_of_the_best(width: int, shown: str) -> None:
    asked: Any = SimpleNamespace(n_trials=20, settings=SimpleNamespace(repeats=None))
    line = Shown(cast(Any, asked), workers=2)
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    console.print(line.bar(view(study()), width))
    text = out.getvalue()
    assert text.startswith("━━━")
    assert "5/20 done · 2 pruned" in text
    assert shown in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
