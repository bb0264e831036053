"""Sweep another library's classifier, and prune it fold by fold.

    python app.py -m
    sweepmore confirm last
    python look.py last

config.yaml defines the search. Each fold's error is reported, so a bad setting stops
before it trains on all five folds. rows.py holds rows out, at which look.py looks once.
"""

from statistics import fmean

import hydra
from omegaconf import DictConfig
from rows import search_rows
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold

from sweepmore import current_trial


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(config: DictConfig) -> float:
    """Return the mean error over the folds."""
    x, y = search_rows()
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=config.seed)
    trial, errors = current_trial(), []
    for fold, (train, dev) in enumerate(folds.split(x, y)):
        model = HistGradientBoostingClassifier(**config.model, random_state=config.seed)
        errors.append(1 - model.fit(x[train], y[train]).score(x[dev], y[dev]))
        if trial is not None and trial.report(fold, fmean(errors)):
            break
    return fmean(errors)


if __name__ == "__main__":
    main()
