"""Contracts that every sampler and every pruner keeps, by its config node alone; no mocks."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from omegaconf import OmegaConf
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import TrialState

from sweepmore.compose.samplers import (
    DEPRECATED,
    PRUNERS,
    SAMPLERS,
    SEEDS,
    Stream,
    build_pruner,
    build_sampler,
)
from sweepmore.compose.space import Space
from sweepmore.compose.space_syntax import parse_space
from sweepmore.errors import ConfigError

MIXED = parse_space(["lr=tag(log, interval(1e-4, 1))", "n=range(8, 65, 8)", "act=tanh,relu,gelu"])
DISCRETE = parse_space(["p=range(0, 2, 0.25)", "n=range(8, 65, 8)", "act=tanh,relu,gelu"])
EXHAUSTIVE = ("grid", "bruteforce")  # intervals of floats have no grid
SHARED = ("qmc",)  # one sequence: every worker has the same seed
SINGLE_OBJECTIVE = ("cmaes",)

pytestmark = pytest.mark.filterwarnings("error")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def space_for(name: str) -> Space:
    return DISCRETE if name in EXHAUSTIVE else MIXED


def sampler(name: str, *, worker: int = 0, trials_so_far: int = 0, seed: int = 7) -> BaseSampler:
    return build_sampler(
        SAMPLERS[name],
        space_for(name),
        worker=worker,
        trials_so_far=trials_so_far,
        base_seed=seed,
    )


def run(study: Study, space: Space, n: int, objectives: int = 1) -> list[dict[str, Any]]:
    """Ask and tell, as a worker does: never inside ``Study.optimize``."""
    for _ in range(n):
        trial = study.ask(space.searched)
        loss = abs(float(trial.params["n"]) - 30) + len(trial.params["act"])
        study.tell(trial, [loss, -loss][:objectives] if objectives > 1 else loss)
    return [trial.params for trial in study.trials]


def first_points(name: str, n: int = 3, **stream: int) -> list[dict[str, Any]]:
    return run(optuna.create_study(sampler=sampler(name, **stream)), space_for(name), n)


@pytest.mark.parametrize("name", SAMPLERS)
class TestEverySampler:
    def test_a_study_runs_to_its_end_inside_the_space(self, name: str) -> None:
        space = space_for(name)
        study = optuna.create_study(sampler=sampler(name))
        run(study, space, 5)
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
        for trial in study.trials:
            assert trial.distributions == space.searched
            for parameter in space.parameters:
                value = trial.params[parameter.name]
                if parameter.members is None:
                    assert 1e-4 <= value <= 1
                else:
                    assert value in parameter.members
                assert parameter.override(value).startswith(f"{parameter.name}=")

    def test_past_its_startup_a_float_range_keeps_to_hydras_members(self, name: str) -> None:
        study = optuna.create_study(sampler=sampler(name))
        members = DISCRETE.parameters[0].members
        assert members == (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
        assert {params["p"] for params in run(study, DISCRETE, 14)} <= set(members)

    def test_the_same_seed_repeats_the_points(self, name: str) -> None:
        assert first_points(name) == first_points(name)
        assert first_points(name, worker=2) == first_points(name, worker=2)

    def test_another_seed_gives_other_points(self, name: str) -> None:
        assert first_points(name, n=1) != first_points(name, n=1, seed=8)

    def test_workers_and_restarts_differ_unless_they_share_a_sequence(self, name: str) -> None:
        begins = [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2)]
        points = [
            str(first_points(name, n=1, worker=worker, trials_so_far=trials)[0])
            for worker, trials in begins
        ]
        assert len(set(points)) == (1 if name in SHARED else len(begins))

    def test_workers_of_one_study_do_not_repeat_each_other(self, name: str) -> None:
        study = optuna.create_study(sampler=sampler(name))
        for worker in (0, 1, 2, 0, 1, 2):
            study.sampler = sampler(name, worker=worker, trials_so_far=len(study.trials))
            run(study, space_for(name), 1)
        points = [str(trial.params) for trial in study.trials]
        assert len(set(points)) == len(points)

    def test_a_seed_in_the_config_goes_before_the_studys(self, name: str) -> None:
        node = OmegaConf.create({**SAMPLERS[name], "seed": 0})
        given = build_sampler(node, space_for(name), worker=0, trials_so_far=0, base_seed=7)
        points = run(optuna.create_study(sampler=given), space_for(name), 2)
        assert points == first_points(name, n=2, seed=0) != first_points(name, n=2)

    def test_several_objectives(self, name: str) -> None:
        study = optuna.create_study(sampler=sampler(name), directions=["minimize", "maximize"])
        if name in SINGLE_OBJECTIVE:
            with pytest.raises(ValueError, match=r"multi-objective.*CmaEsSampler cannot"):
                run(study, space_for(name), 3, objectives=2)
        else:
            assert len(run(study, space_for(name), 12, objectives=2)) == 12

    def test_needs_no_seed(self, name: str) -> None:
        made = build_sampler(name, space_for(name), worker=0, trials_so_far=0, base_seed=None)
        assert run(optuna.create_study(sampler=made), space_for(name), 1)

    def test_a_misspelt_argument_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigError) as e:
            build({**SAMPLERS[name], "sede": 1})
        assert e.value.value == "sede"
        assert e.value.problem.endswith("has no argument sede. Did you mean seed?")


def build(node: Any, space: Space = DISCRETE) -> BaseSampler:
    return build_sampler(node, space, worker=0, trials_so_far=0, base_seed=0)


class TestExhaustive:
    @pytest.mark.parametrize("name", EXHAUSTIVE)
    def test_an_interval_of_floats_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match="An interval of floats has no grid: lr"):
            build(SAMPLERS[name], MIXED)

    def test_the_stock_grid_node(self) -> None:
        assert build({"_target_": "optuna.samplers.GridSampler", "_partial_": True})

    def test_the_enqueued_points_come_in_order(self) -> None:
        space = parse_space(["n=1,2,3", "act=tanh,relu"])
        study = optuna.create_study(sampler=build("grid", space))
        for point in space.grid():
            study.enqueue_trial(point)
        assert run(study, space, space.size) == list(space.grid())

    def test_a_lost_point_is_made_up_for_and_the_end_is_no_error(self) -> None:
        space = parse_space(["n=1,2,3", "act=tanh,relu"])
        study = optuna.create_study(sampler=build("grid", space))
        *most, lost = space.grid()
        for point in most:
            study.enqueue_trial(point)
        assert run(study, space, space.size)[-1] == lost

    def test_a_trial_that_died_before_its_suggestions_spoils_nothing(self) -> None:
        space = parse_space(["n=range(0,4)", "act=tanh,relu"])
        study = optuna.create_study(sampler=build("bruteforce", space))
        for suggested in ({}, {"n": 1}):
            trial = study.ask({n: d for n, d in space.searched.items() if n in suggested})
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        points = run(study, space, space.size)[2:]
        assert sorted(map(str, points)) == sorted(map(str, space.grid()))

    def test_bruteforce_visits_every_point_once_and_stays_on_the_grid_after(self) -> None:
        space = parse_space(["n=range(0,4)", "act=tanh,relu"])
        study = optuna.create_study(sampler=build("bruteforce", space))
        points = run(study, space, space.size + 2)
        grid = sorted(map(str, space.grid()))
        assert sorted(map(str, points[: space.size])) == grid
        assert all(str(point) in grid for point in points)


class TestSeeds:
    def test_derived_as_documented(self) -> None:
        words = np.random.SeedSequence((7, 2, 30)).generate_state(1)
        assert Stream(7, 2, 30).seed("TPESampler", None) == int(words[0])
        assert Stream(7, 2, 30).seed("QMCSampler", None) == 7
        assert Stream(None, 2, 30).seed("TPESampler", None) is None

    def test_zero_is_a_seed(self) -> None:
        assert Stream(7, 1, 0).seed("QMCSampler", 0) == 0

    def test_no_two_streams_alike(self) -> None:
        seeds = {
            Stream(base, worker, trials).seed("TPESampler", None)
            for base in range(4)
            for worker in range(16)
            for trials in range(64)
        }
        assert len(seeds) == 4 * 16 * 64
        assert all(seed in SEEDS for seed in seeds)

    @pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "one", True])
    def test_no_seed(self, seed: Any) -> None:
        with pytest.raises(ConfigError) as e:
            build({**SAMPLERS["tpe"], "seed": seed})
        assert e.value.problem == f"{seed!r} is not a valid seed for TPESampler."


# As hydra-optuna-sweeper 1.2 and 1.3 compose them (hydra_plugins/hydra_optuna_sweeper/config.py).
STOCK: dict[str, dict[str, Any]] = {
    "tpe": {
        "consider_prior": True,
        "prior_weight": 1.0,
        "consider_magic_clip": True,
        "consider_endpoints": False,
        "n_startup_trials": 10,
        "n_ei_candidates": 24,
        "multivariate": False,
        "warn_independent_sampling": True,
    },
    "cmaes": {
        "x0": None,
        "sigma0": None,
        "independent_sampler": None,
        "warn_independent_sampling": True,
        "consider_pruned_trials": False,
        "restart_strategy": None,
        "inc_popsize": 2,
        "use_separable_cma": False,
        "source_trials": None,
    },
    "nsgaii": {
        "population_size": 50,
        "mutation_prob": None,
        "crossover_prob": 0.9,
        "swapping_prob": 0.5,
        "constraints_func": None,
    },
}


class TestStockArguments:
    @pytest.mark.parametrize("name", STOCK)
    def test_a_stock_node_works_with_one_warning_at_most(self, name: str) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made = build({**SAMPLERS[name], **STOCK[name], "seed": 1}, MIXED)
            run(optuna.create_study(sampler=made), MIXED, 3)
        dropped = [key for key in STOCK[name] if key in DEPRECATED.get(type(made).__name__, ())]
        texts = [str(warning.message) for warning in caught]
        if dropped:
            (text,) = texts
            assert text.startswith(f"{type(made).__name__} ignores {', '.join(dropped)}: ")
            assert [warning.filename for warning in caught] == [__file__]
        else:
            assert texts == []

    @pytest.mark.parametrize(
        ("kind", "argument"),
        [(kind, name) for kind, names in DEPRECATED.items() for name in sorted(names)],
    )
    def test_optuna_itself_deprecates_what_is_dropped(self, kind: str, argument: str) -> None:
        sample = {"x0": {"x": 0.0}, "weights": np.ones, "gamma": len, "inc_popsize": 2}
        with pytest.warns(FutureWarning, match="deprecated"):
            getattr(optuna.samplers, kind)(**{argument: sample.get(argument, 1.0)})

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_nothing_else_that_a_node_sets_is_deprecated(self, name: str) -> None:
        kind = getattr(optuna.samplers, SAMPLERS[name]["_target_"].rpartition(".")[2])
        accepted = inspect.signature(kind).parameters
        assert set(SAMPLERS[name]) == {"_target_", "seed"}
        assert DEPRECATED.get(kind.__name__, frozenset()) <= set(accepted)


class TestTargets:
    @pytest.mark.parametrize(
        ("node", "problem"),
        [
            ("tpee", "There is no sampler tpee. Did you mean tpe?"),
            (
                {"_target_": "optuna.samplers.TPESamplr"},
                "_target_ optuna.samplers.TPESamplr cannot be imported: module 'optuna.samplers'"
                " has no attribute 'TPESamplr'. Did you mean optuna.samplers.TPESampler?",
            ),
            (
                {"_target_": "optuna.samplers.MOTPESampler"},
                "_target_ optuna.samplers.MOTPESampler cannot be imported: module 'optuna.samplers'"
                " has no attribute 'MOTPESampler'. Did you mean optuna.samplers.TPESampler?",
            ),
            (
                {"_target_": "no_such_package.Sampler"},
                "_target_ no_such_package.Sampler cannot be imported: No module named"
                " 'no_such_package'.",
            ),
            ({"seed": 1}, "sampler={'seed': 1} has no _target_."),
            (
                {"_target_": "optuna.pruners.MedianPruner"},
                "_target_ optuna.pruners.MedianPruner is not a subclass of BaseSampler.",
            ),
            ({"_target_": "os.system"}, "_target_ os.system is not a subclass of BaseSampler."),
        ],
    )
    def test_refused_with_this_message(self, node: Any, problem: str) -> None:
        with pytest.raises(ConfigError) as e:
            build(node)
        assert e.value.problem == problem

    def test_what_optuna_refuses_is_a_config_error(self) -> None:
        with pytest.raises(ConfigError, match=r"NSGAIISampler refuses .*population_size.*greater"):
            build({**SAMPLERS["nsgaii"], "population_size": 1})

    def test_a_class_of_the_users_own(self) -> None:
        made = build({"_target_": f"{__name__}.Middle", "shift": 0.25})
        assert isinstance(made, Middle)
        assert made.shift == 0.25

    def test_nodes_inside_nodes(self) -> None:
        gp = build(
            {**SAMPLERS["gp"], "independent_sampler": "random", "n_startup_trials": 1}, MIXED
        )
        assert run(optuna.create_study(sampler=gp), MIXED, 3)
        crossover = {"_target_": "optuna.samplers.nsgaii.BLXAlphaCrossover", "alpha": 0.4}
        nsga = build({**SAMPLERS["nsgaii"], "crossover": crossover, "population_size": 2}, MIXED)
        assert run(optuna.create_study(sampler=nsga), MIXED, 5)
        with pytest.raises(ConfigError, match=r"no argument alfa\. Did you mean alpha"):
            build({**SAMPLERS["nsgaii"], "crossover": {**crossover, "alfa": 1}})

    @pytest.mark.parametrize(
        ("name", "package"),
        [("gp", "torch"), ("cmaes", "cmaes"), ("qmc", "scipy"), ("gp", "scipy")],
    )
    def test_a_missing_package(
        self, name: str, package: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)  # Python's own way of "not installed"
        with pytest.raises(ConfigError) as e:
            build(SAMPLERS[name])
        assert e.value.value == [package]
        assert e.value.problem.endswith(f"Sampler needs {package}.")
        assert e.value.cure == f"Run: pip install {package}"

    def test_importing_the_nodes_does_not_import_optuna(self) -> None:
        code = "import sys, sweepmore.compose.samplers; sys.exit('optuna' in sys.modules)"
        path = next(entry for entry in sys.path if entry.endswith("src"))
        assert (
            subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}).returncode == 0
        )


class Middle(RandomSampler):
    """A user's own sampler with an argument of its own."""

    def __init__(self, shift: float, seed: int | None = None) -> None:
        super().__init__(seed)
        self.shift = shift


def curve(trial: optuna.Trial, losses: Sequence[float]) -> int | None:
    """Reports step by step; the step at which the pruner stops it, None if it never does."""
    for step, loss in enumerate(losses):
        trial.report(loss, step)
        if trial.should_prune():
            return step
    return None


GOOD = [1 / (step + 1) for step in range(27)]
BAD = [10.0 + step / 10 for step in range(27)]
NODES: dict[str, Any] = {**PRUNERS, "threshold": {**PRUNERS["threshold"], "upper": 5.0}}
JUDGE_ALONE = ("patient", "threshold")  # by its own curve: no other trial is needed


@pytest.mark.parametrize("name", PRUNERS)
class TestEveryPruner:
    def study(self, name: str) -> Study:
        sampler = RandomSampler(seed=0)
        return optuna.create_study(
            study_name="pruning", pruner=build_pruner(NODES[name]), sampler=sampler
        )

    def finished(self, name: str) -> Study:
        """Eight good trials told complete, slightly apart; the median waits for five."""
        study = self.study(name)
        for number in range(8):
            trial = study.ask()
            losses = [loss * (1 + number / 100) for loss in GOOD]
            for step, loss in enumerate(losses):
                trial.report(loss, step)
                trial.should_prune()  # successive halving notes its rungs here
            study.tell(trial, losses[-1])
        return study

    def test_a_good_first_trial_goes_on(self, name: str) -> None:
        study = self.study(name)
        assert curve(study.ask(), GOOD) is None

    def test_a_bad_first_trial_goes_on_unless_it_is_judged_alone(self, name: str) -> None:
        stopped = curve(self.study(name).ask(), BAD)
        expected = {"threshold": 0, "patient": 4}  # above 5.0 at once; 3 + 1 steps without better
        assert stopped == expected.get(name)
        assert (stopped is not None) == (name in JUDGE_ALONE)

    def test_a_clearly_bad_curve_is_stopped_early(self, name: str) -> None:
        stopped = curve(self.finished(name).ask(), BAD)
        if name == "none":
            assert stopped is None
        else:
            assert stopped is not None
            assert stopped < len(BAD) - 1

    def test_the_best_curve_so_far_goes_on(self, name: str) -> None:
        assert curve(self.finished(name).ask(), [loss / 2 for loss in GOOD]) is None

    def test_a_misspelt_argument_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match="has no argument n_warmup_stepz") as e:
            build_pruner({**NODES[name], "n_warmup_stepz": 3})
        assert e.value.value == "n_warmup_stepz"


class TestPrunerNodes:
    @pytest.mark.parametrize("config", [None, "none", {}, PRUNERS["none"]])
    def test_no_pruning(self, config: Any) -> None:
        assert type(build_pruner(config)) is optuna.pruners.NopPruner

    def test_a_threshold_needs_a_bound(self) -> None:
        with pytest.raises(ConfigError) as e:
            build_pruner("threshold")
        assert e.value.problem == (
            "ThresholdPruner refuses {'lower': None, 'upper': None}: Either lower or upper must be"
            " specified."
        )
        assert e.value.cure == ("Its arguments are lower, upper, n_warmup_steps, interval_steps.")

    def test_a_percentile_is_required_and_checked(self) -> None:
        with pytest.raises(
            ConfigError, match="missing 1 required positional argument: 'percentile'"
        ):
            build_pruner({"_target_": "optuna.pruners.PercentilePruner"})
        with pytest.raises(ConfigError, match="Percentile must be between 0 and 100"):
            build_pruner({**PRUNERS["percentile"], "percentile": 200})

    @pytest.mark.parametrize("wrapped", ["median", PRUNERS["median"]])
    def test_patience_around_another_pruner(self, wrapped: Any) -> None:
        pruner = build_pruner({**PRUNERS["patient"], "wrapped_pruner": wrapped})
        study = optuna.create_study(pruner=pruner)
        assert curve(study.ask(), BAD) is None  # the median has nothing to compare with

    @pytest.mark.parametrize(
        ("config", "problem"),
        [
            ("medain", "There is no pruner medain. Did you mean median?"),
            (
                {**PRUNERS["patient"], "wrapped_pruner": "medain"},
                "There is no wrapped_pruner medain. Did you mean median?",
            ),
            (
                SAMPLERS["tpe"],
                "_target_ optuna.samplers.TPESampler is not a subclass of BasePruner.",
            ),
        ],
    )
    def test_refused_with_this_message(self, config: Any, problem: str) -> None:
        with pytest.raises(ConfigError) as e:
            build_pruner(config)
        assert e.value.problem == problem

    def test_wilcoxon_needs_scipy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "scipy", None)
        with pytest.raises(ConfigError, match="WilcoxonPruner needs scipy"):
            build_pruner("wilcoxon")
