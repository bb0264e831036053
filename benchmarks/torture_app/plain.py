"""Plain Optuna as its documentation sets it up; ``python plain.py`` is one worker of two.

The study is created before, once, as the tutorial does.

https://optuna.readthedocs.io/en/stable/tutorial/10_key_features/004_distributed.html and
https://optuna.readthedocs.io/en/stable/reference/generated/optuna.study.MaxTrialsCallback.html
"""

from __future__ import annotations

import os

import optuna
from objective import objective
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState


def suggested(trial: optuna.Trial) -> float:
    return objective(trial.suggest_float("x", -1, 1), trial.suggest_float("y", -1, 1))


if __name__ == "__main__":
    study = optuna.load_study(
        study_name="torture",
        storage=f"sqlite:///{os.environ['TORTURE_FOLDER']}/studies.db",
    )
    enough = MaxTrialsCallback(20, states=(TrialState.COMPLETE, TrialState.FAIL))
    study.optimize(suggested, callbacks=[enough], catch=(RuntimeError,))
