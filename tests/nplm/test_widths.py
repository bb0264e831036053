"""Searches among nets of one size: every suggestion fits, and the next wider net would not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict
from optuna.distributions import BaseDistribution

from nplm.app import for_hydra
from nplm.app.widths import suggest_width
from nplm.building import size_of
from nplm.config import Own, from_hydra
from sweepmore.compose.cli import ROOT_VARIABLE
from sweepmore.compose.composing import composing, resolved
from sweepmore.compose.hydra_internals import VERSION_BASE
from sweepmore.compose.question import call
from sweepmore.compose.space_syntax import parse_space
from sweepmore.errors import ConfigError
from tests.support.helpers import ROOT

SEARCHES = sorted(path.stem for path in (ROOT / "sweeps" / "architectures").glob("*.yaml"))
SIZES = {"12k": 12_000, "300k": 300_000}
DRAWS = 4
V = 27  # of names.txt and of given_names alike


@pytest.fixture(autouse=True)
def rooted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(ROOT))
    for_hydra.register()
    GlobalHydra.instance().clear()


def composed(*words: str) -> DictConfig:
    with composing(), initialize_config_dir(str(ROOT / "conf"), **VERSION_BASE):
        return compose("config", overrides=list(words), return_hydra_config=True)


def with_values(config: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """The application's part of a config, with these settings."""
    copied = config.copy()
    with open_dict(copied):
        copied.pop("hydra", None)
    for key, value in values.items():
        OmegaConf.update(copied, key, value)
    return copied


def drawn(space: dict[str, BaseDistribution], seed: int) -> optuna.Trial:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    return study.ask(space)


def test_each_architecture_is_searched_at_both_sizes() -> None:
    wanted = [f"{name}-{size}" for name in ("gru", "mlp", "transformer", "wavenet")
              for size in SIZES]  # fmt: skip
    assert sorted(wanted) == SEARCHES


@pytest.mark.parametrize("search", SEARCHES)
def test_a_trial_has_the_widest_net_within_the_limit(search: str) -> None:
    """On other data of the same alphabet, which everybody has."""
    base = composed(f"sweeps=architectures/{search}", "data=given_names")
    sweeper, most = base.hydra.sweeper, SIZES[search.rpartition("-")[2]]
    space = parse_space([], sweeper.params).searched
    for seed in range(DRAWS):
        trial = drawn(space, seed)
        config = with_values(base, trial.params)
        before = {*trial.params}
        call(sweeper.custom_search_space, config, trial)
        (key,) = {*trial.params} - before
        model = from_hydra(resolved(config)).model
        step = model.settings.get("heads", 1) if isinstance(model, Own) else 1
        for more, fits in ((0, True), (step, False)):
            wide = with_values(config, {key: trial.params[key] + more})
            parameters = size_of(from_hydra(resolved(wide)).model, V)
            assert (parameters <= most) is fits, (parameters, trial.params)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["model.emb=64"], "Even with model.hidden=1 the net has more than 300 parameters"),
        (["model=ngram"], "has no width"),
        (["model=own", "model.target=a.B"], "has no width"),
    ],
)
def test_what_has_no_width_that_fits_is_refused(words: list[str], problem: str) -> None:
    config = with_values(composed(*words), {})
    with pytest.raises(ConfigError, match=problem):
        suggest_width(config, drawn({}, 0), 300)
