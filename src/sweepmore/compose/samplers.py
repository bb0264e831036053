"""Optuna's samplers and pruners from Hydra config nodes, seeded for each worker.

A node is what the stock hydra-optuna-sweeper takes: ``_target_`` and arguments. Only arguments that
were given reach Optuna, so that its own defaults apply (since 5.0 multivariate TPE with constant
liar); the stock plugin passed others. Importing this module does not import Optuna. Samplers and
pruners are built from nodes in the same way, hence one file.
"""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepmore.errors import ConfigError, did_you_mean
from sweepmore.importing import imported

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from sweepmore.compose.space import Space

Node = Mapping[str, Any]

SAMPLERS: Mapping[str, Node] = {
    "tpe": {"_target_": "optuna.samplers.TPESampler", "seed": None},
    "random": {"_target_": "optuna.samplers.RandomSampler", "seed": None},
    "gp": {"_target_": "optuna.samplers.GPSampler", "seed": None},
    "cmaes": {"_target_": "optuna.samplers.CmaEsSampler", "seed": None},
    "qmc": {"_target_": "optuna.samplers.QMCSampler", "seed": None},
    "nsgaii": {"_target_": "optuna.samplers.NSGAIISampler", "seed": None},
    "grid": {"_target_": "optuna.samplers.GridSampler", "seed": None},
    "bruteforce": {"_target_": "optuna.samplers.BruteForceSampler", "seed": None},
}

# Further keys of the stock plugin's options (config.py of its 1.4.0rc3), so that Hydra accepts
# hydra.sweeper.sampler.KEY=VALUE without a plus here, too. Null means that it is not given.
_TPE = (
    "consider_prior", "prior_weight", "consider_magic_clip", "consider_endpoints",
    "n_startup_trials", "n_ei_candidates", "multivariate", "warn_independent_sampling",
)  # fmt: skip
_APART = ("independent_sampler", "warn_independent_sampling")
STOCK_KEYS: Mapping[str, tuple[str, ...]] = {
    "auto": _TPE,
    "tpe": _TPE,
    "cmaes": ("x0", "sigma0", *_APART, "consider_pruned_trials", "restart_strategy", "inc_popsize",
              "use_separable_cma", "source_trials"),
    "nsgaii": ("population_size", "mutation_prob", "crossover_prob", "swapping_prob",
               "constraints_func"),
    "gp": (*_APART, "n_startup_trials", "deterministic_objective", "constraints_func"),
    "qmc": (*_APART, "qmc_type", "scramble", "warn_asynchronous_seeding"),
}  # fmt: skip

PRUNERS: Mapping[str, Node] = {
    "none": {"_target_": "optuna.pruners.NopPruner"},
    "median": {"_target_": "optuna.pruners.MedianPruner"},
    # Required, without a default; 25 is the example in Optuna's documentation: the best quarter
    # continues. (50 would be the median pruner.)
    "percentile": {"_target_": "optuna.pruners.PercentilePruner", "percentile": 25.0},
    "successive_halving": {"_target_": "optuna.pruners.SuccessiveHalvingPruner"},
    "hyperband": {"_target_": "optuna.pruners.HyperbandPruner"},
    # Required; 3 is the default of Lightning's EarlyStopping. Null: early stopping, no comparison.
    "patient": {"_target_": "optuna.pruners.PatientPruner", "wrapped_pruner": None, "patience": 3},
    # One of the two is required, and no value suits every loss.
    "threshold": {"_target_": "optuna.pruners.ThresholdPruner", "lower": None, "upper": None},
    "wilcoxon": {"_target_": "optuna.pruners.WilcoxonPruner"},
}

# Arguments that the stock plugin passes and Optuna has deprecated (4.3, 4.4 or 4.9) and removes in
# 6.0: the FutureWarnings in optuna/samplers/_tpe/sampler.py and _cmaes.py of 5.0.0.
DEPRECATED: Mapping[str, frozenset[str]] = {
    "TPESampler": frozenset(
        {
            "consider_prior",
            "prior_weight",
            "consider_magic_clip",
            "consider_endpoints",
            "gamma",
            "weights",
            "warn_independent_sampling",
        }
    ),
    "CmaEsSampler": frozenset({"restart_strategy", "inc_popsize", "x0", "sigma0"}),
}

# Packages that Optuna imports only when the first trial is sampled or pruned ("optional" in its
# metadata).
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "GPSampler": ("torch", "scipy"),
    "CmaEsSampler": ("cmaes",),
    "QMCSampler": ("scipy",),
    "WilcoxonPruner": ("scipy",),
}

ONE_SEQUENCE = ("QMCSampler",)  # workers draw from one sequence, so they share one seed
HYDRA_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_")
SEEDS = range(2**32)  # what numpy.random.RandomState takes, which Optuna's samplers use


@dataclass(frozen=True)
class Stream:
    """Which random numbers a sampler draws: workers, even restarted, never repeat each other."""

    base_seed: int | None = None
    worker: int = 0
    trials_so_far: int = 0

    def seed(self, sampler: str, configured: object) -> int | None:
        """The seed of a sampler; None lets Optuna draw one.

        A seed in the config has precedence over the study's. Raises ConfigError on an invalid one.
        """
        base = self.base_seed if configured is None else configured
        if base is None:
            return None
        if not isinstance(base, int) or isinstance(base, bool) or base not in SEEDS:
            raise ConfigError(
                f"{base!r} is not a valid seed for {sampler}.",
                value=base,
                cure="Give an integer from 0 to 2**32 - 1, or null.",
            )
        return base if sampler in ONE_SEQUENCE else self._derived(base)

    def _derived(self, base: int) -> int:
        import numpy as np

        words = np.random.SeedSequence((base, self.worker, self.trials_so_far)).generate_state(1)
        return int(words[0])


def build_sampler(
    config: Node | str,
    space: Space,
    *,
    worker: int,
    trials_so_far: int,
    base_seed: int | None,
) -> BaseSampler:
    """A fresh sampler for one worker; the caller draws ``base_seed`` once for each study.

    For a grid the caller enqueues the points, and the sampler only carries them. Asked for one
    more, it takes a point of the grid that nobody has, which makes up for a lost one. Raises
    ConfigError on an unknown sampler, argument or seed, and where a package is missing.
    """
    from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler

    from sweepmore.storage.optuna_internals import exhaustive_sampler

    node = _named(config, SAMPLERS, "sampler")
    kind = _class(node, BaseSampler)
    if kind in (BruteForceSampler, GridSampler):
        _ = space.size  # refuses intervals of floats
        kind = exhaustive_sampler(frozenset(space.searched))
    sampler: BaseSampler = _instantiate(kind, node, Stream(base_seed, worker, trials_so_far))
    return sampler


def build_pruner(config: Node | str | None) -> BasePruner:
    """A pruner; None means no pruning. Raises ConfigError on an unknown pruner or argument."""
    from optuna.pruners import BasePruner

    node = _named(config or "none", PRUNERS, "pruner")
    pruner: BasePruner = _instantiate(_class(node, BasePruner), node, Stream())
    return pruner


def _named(config: Node | str, table: Mapping[str, Node], what: str) -> Node:
    if isinstance(config, Mapping):
        if "_target_" not in config:
            cure = f"Add _target_ with the path of a class, or use one of {', '.join(table)}."
            raise ConfigError(f"{what}={dict(config)} has no _target_.", value=config, cure=cure)
        return config
    if not isinstance(config, str) or config not in table:
        raise ConfigError(
            f"There is no {what} {config}.{did_you_mean(str(config), table)}",
            value=config,
            cure=f"Use one of {', '.join(table)}, or give a node with _target_.",
        )
    return table[config]


def _parts() -> tuple[type, ...]:
    """The classes that an argument's node may name; nothing else is built from a config."""
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.samplers.nsgaii import BaseCrossover

    return BaseSampler, BasePruner, BaseCrossover


def _class(node: Node, *bases: type) -> type:
    """The class that ``_target_`` names: an importable subclass of one of ``bases``."""
    target = str(node.get("_target_"))
    try:
        kind = imported(target)
    except ImportError as error:
        targets = [str(option["_target_"]) for option in (*SAMPLERS.values(), *PRUNERS.values())]
        raise ConfigError(
            f"_target_ {target} cannot be imported: {error}.{did_you_mean(target, targets)}",
            value=target,
            cure="Give the dotted path of a class, such as optuna.samplers.TPESampler.",
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, bases)):
        names = " or ".join(base.__name__ for base in bases)
        problem = f"_target_ {target} is not a subclass of {names}."
        raise ConfigError(problem, value=target, cure="Use one of Optuna's, or your own subclass.")
    return kind


def _instantiate(kind: type, node: Node, stream: Stream) -> Any:
    from optuna.exceptions import ExperimentalWarning

    _require_packages(kind.__name__)
    arguments = {name: _nested(name, value, stream) for name, value in _given(kind, node).items()}
    if "seed" in inspect.signature(kind).parameters:
        arguments["seed"] = stream.seed(kind.__name__, arguments.get("seed"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # whoever names it wants it
            return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{kind.__name__} refuses {arguments}: {error}",
            value=arguments,
            cure=f"Its arguments are {', '.join(inspect.signature(kind).parameters)}.",
        ) from error


def _require_packages(kind: str) -> None:
    missing = [name for name in PACKAGES.get(kind, ()) if importlib.util.find_spec(name) is None]
    if missing:
        problem = f"{kind} needs {' and '.join(missing)}."
        raise ConfigError(problem, value=missing, cure=f"Run: pip install {' '.join(missing)}")


def _given(kind: type, node: Node) -> dict[str, Any]:
    """The node's arguments; deprecated ones are dropped with one warning.

    A null seed is not given: a node that a config merges into the default one inherits it. Raises
    ConfigError on an unknown argument.
    """
    given = {name: value for name, value in node.items() if name not in HYDRA_KEYS}
    if given.get("seed") is None:
        given.pop("seed", None)
    dropped = [name for name in given if name in DEPRECATED.get(kind.__name__, ())]
    if dropped:
        names = ", ".join(dropped)
        text = f"{kind.__name__} ignores {names}: deprecated in Optuna 5, removed in 6."
        warnings.warn(text, FutureWarning, stacklevel=4)
    accepted = inspect.signature(kind).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    for name in given:
        if name not in accepted and not takes_any and name not in dropped:
            problem = f"{kind.__name__} has no argument {name}.{did_you_mean(name, accepted)}"
            cure = f"Its arguments are {', '.join(accepted) or 'none'}."
            raise ConfigError(problem, value=name, cure=cure)
    return {name: value for name, value in given.items() if name not in dropped}


def _nested(name: str, value: Any, stream: Stream) -> Any:
    """An argument's value; a node (a wrapped pruner, a crossover) is built by the same rules."""
    tables = {"wrapped_pruner": PRUNERS, "independent_sampler": SAMPLERS}
    if isinstance(value, str) and name in tables:
        value = _named(value, tables[name], name)
    if isinstance(value, Mapping) and "_target_" in value:
        return _instantiate(_class(value, *_parts()), value, stream)
    return value
