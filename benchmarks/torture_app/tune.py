"""Ray Tune as its documentation sets it up; run again, it restores.

https://docs.ray.io/en/latest/tune/tutorials/tune-fault-tolerance.html
"""

import os
from pathlib import Path

from objective import objective
from ray import tune
from ray.tune.search.optuna import OptunaSearch

FOLDER = Path(os.environ["TORTURE_FOLDER"])


def trainable(config):
    tune.report({"loss": objective(config["x"], config["y"])})


if __name__ == "__main__":
    place = str(FOLDER / "ray" / "torture")
    if tune.Tuner.can_restore(place):
        tuner = tune.Tuner.restore(place, trainable=trainable, resume_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={"x": tune.uniform(-1, 1), "y": tune.uniform(-1, 1)},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                search_alg=OptunaSearch(),
                num_samples=20,
                max_concurrent_trials=2,
            ),
            run_config=tune.RunConfig(
                name="torture",
                storage_path=str(FOLDER / "ray"),
                failure_config=tune.FailureConfig(max_failures=3),
            ),
        )
    tuner.fit()
