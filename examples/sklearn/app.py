"""Sweep another library's classifier, and prune it fold by fold.

    python app.py -m

config.yaml defines the search. Each fold's error is reported, so a bad setting stops
before it trains on all five folds.
"""

from statistics import fmean

import hydra
from omegaconf import DictConfig
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold

from sweepmore.trial import current_trial


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(config: DictConfig) -> float:
    """Return the mean error over the folds."""
    x, y = load_breast_cancer(return_X_y=True)
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
