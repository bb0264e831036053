"""Applications of the stock Optuna plugin: one word is changed, and the rest of them works."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from sweepmore.runs.finding import find_trial
from sweepmore.runs.names import safe_name
from sweepmore.study.attributes import stored
from tests.support.stock_example import HEAD, SPHERE_CONFIG, TAIL, example
from tests.support.sweep_apps import PATIENCE, App, errors, refusal, until

TPE = {"_target_": "optuna.samplers.TPESampler"}

pytestmark = pytest.mark.system


class TestSampler:
    def test_a_seed_without_a_name_is_of_tpe(self, tmp_path: Path) -> None:
        """The stock plugin's example, and its command line."""
        app = example(tmp_path)
        keys = [f"hydra.sweeper.sampler.{key}" for key in ("seed=124", "multivariate=false")]
        typed = (*keys, ":study_name=typed")
        unseeded = ("hydra.sweeper.sampler.seed=null", ":study_name=unseeded", ":n_trials=null")
        lines = ((), typed, unseeded)
        ended = app.each(*lines)
        for line in lines:
            assert ended[line].returncode == 0, errors(ended[line])
        assert "sampler tpe" in ended[()].stdout
        assert "sampler grid" in ended[unseeded].stdout
        asked = stored(app.study("sphere"))["question"]["sampler"]
        assert asked == {**TPE, "seed": 123}
        asked = stored(app.study("typed"))["question"]["sampler"]
        assert asked == {**TPE, "seed": 124, "multivariate": False}
        assert len(app.trials("sphere")) == len(app.trials("typed")) == 6
        again = (":study_name=again",)
        assert app.each(again)[again].returncode == 0
        points = {
            name: [t.params for t in app.trials(name)] for name in ("sphere", "again", "typed")
        }
        assert points["sphere"] == points["again"] != points["typed"]


def test_trial_pruned_prunes(tmp_path: Path) -> None:
    """Of Optuna's own users: also in a trial that has reported nothing, and in one of repeats."""
    code = """
def main(cfg: DictConfig) -> float:
    if cfg.reports:
        current_trial().report(0, cfg.x)
    if cfg.x > 1:
        raise optuna.TrialPruned("a bad one")
    return cfg.x
"""
    app = example(tmp_path, code, TestObjective.CONFIG + "seed: 0\nreports: false\n")
    words = ("x=0,1,2,3", ":max_failure_rate=0")
    lines = {
        "plain": (*words, ":study_name=plain"),
        "reports": (*words, "reports=true", ":study_name=reports"),
        "repeats": (*words, ":repeats={seed: [1, 2]}", ":study_name=repeats"),
    }
    ended = app.each(*lines.values())
    for name, line in lines.items():
        assert ended[line].returncode == 0, errors(ended[line])
        states = [(t.state, t.user_attrs["status"]) for t in app.trials(name)]
        assert states == [(TrialState.COMPLETE, "ok")] * 2 + [(TrialState.PRUNED, "pruned")] * 2


def test_trial_pruned_of_a_worker_that_stops_is_handed_back(tmp_path: Path) -> None:
    """The report's answer is the same: only the worker knows why it said stop."""
    code = """
def main(cfg: DictConfig) -> float:
    for step in range(10**9):
        if current_trial().report(step, cfg.x):
            raise optuna.TrialPruned()
        open("begun", "w").close()
"""
    app = example(tmp_path, code, TestObjective.CONFIG)
    with app.started("x=1", ":study_name=s") as process:
        until((tmp_path / "begun").exists)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, out + err
    assert "1 of them begun; to continue" in out
    assert [t.state for t in app.trials()] == [TrialState.FAIL, TrialState.WAITING]


class TestResults:
    """``optimization_results.yaml``: what the stock plugin's tests read."""

    CODE = """
def main(cfg: DictConfig):
    return (cfg.a.x, -cfg.a.x) if cfg.two else cfg.a.x
"""
    CONFIG = """
defaults:
  - override hydra/sweeper: sweepmore
a: {x: 0, note: null}
two: false
"""

    def test_lie_in_the_studys_folder_and_in_a_sweep_dir_that_is_set(self, tmp_path: Path) -> None:
        app = example(tmp_path, self.CODE, self.CONFIG)
        many = "a.x=3,1.5,2"
        typed = (
            "a.x=3,1.5",
            "a.note=[1,{k:'2'}],null",
            ":study_name=typed",
            "hydra.sweep.dir=typed",
        )
        two = ("a.x=3,1", "two=true", ":study_name=two", ":direction=[minimize,minimize]",
               "hydra.sweep.dir=${oc.env:PLACE}/${now:%Y}")  # fmt: skip
        plain = (many, ":study_name=plain")
        lines = (plain, typed, two)
        ended = app.each(*lines, env={"PLACE": "two"})
        for line in lines:
            assert ended[line].returncode == 0, errors(ended[line])
        assert not (tmp_path / "multirun").exists()
        (year,) = (tmp_path / "two").iterdir()
        solutions = [{"params": {"a.x": x}, "values": [x, -x]} for x in (3.0, 1.0)]
        expected: dict[str, tuple[Path | None, dict[str, Any]]] = {
            "plain": (None, {"best_params": {"a.x": 1.5}, "best_value": 1.5}),
            "typed": (
                tmp_path / "typed",
                {"best_params": {"a.x": 1.5, "a.note": [1, {"k": "2"}]}, "best_value": 1.5},
            ),
            "two": (year, {"solutions": solutions}),
        }
        for name, (folder, found) in expected.items():
            places = [tmp_path / "outputs" / "studies" / name, *([folder] if folder else [])]
            for place in places:
                file = OmegaConf.load(place / "optimization_results.yaml")
                assert OmegaConf.to_container(file) == {"name": "optuna", **found}

    def test_are_not_written_without_a_complete_trial(self, tmp_path: Path) -> None:
        code = "\ndef main(cfg: DictConfig) -> float:\n    raise ValueError('never')\n"
        app = example(tmp_path, code, self.CONFIG)
        words = ("a.x=1", ":study_name=s")
        assert app.each(words)[words].returncode == 1
        assert not [*tmp_path.rglob("optimization_results.yaml")]
        assert not (tmp_path / "multirun").exists()

    def test_a_sweep_dir_that_cannot_be_resolved_is_one_message(self, tmp_path: Path) -> None:
        app = example(tmp_path, self.CODE, self.CONFIG)
        words = ("a.x=1,2", "hydra.sweep.dir=${oc.env:NOT_SET}")
        assert "Environment variable 'NOT_SET' not found." in refusal(app.each(words)[words])


class TestStorage:
    CONFIG = (
        SPHERE_CONFIG.replace("storage: null", "storage: ${stored}")
        + """
stored:
  _target_: optuna.storages.RDBStorage
  url: sqlite:///${oc.env:PLACE,mine.db}
  engine_kwargs: {connect_args: {timeout: 20}, echo: false}
"""
    )

    def test_a_node(self, tmp_path: Path) -> None:
        app = example(tmp_path, config=self.CONFIG)
        done = app.each((), env={"PLACE": "other.db"})[()]
        assert done.returncode == 0, errors(done)
        assert "storage  sqlite:///other.db" in done.stdout
        study = app.study("sphere", tmp_path / "other.db")
        assert len(study.get_trials()) == 6
        assert not app.database.exists()

    @pytest.mark.parametrize(
        ("word", "problem"),
        [
            ("+stored.heartbeat_interval=60", "storage.heartbeat_interval is not used here"),
            (
                "stored._target_=optuna.storages.JournalStorage",
                "is a optuna.storages.JournalStorage",
            ),
            ("~stored.url", "hydra.sweeper.storage has no URL"),
            ("+stored.engine_kwargs.connect_args.password=SECRET", "holds a password"),
            ("stored.url=postgresql://me:SECRET@host/x", "URL holds a password"),
            ("stored.engine_kwargs=3", "engine_kwargs holds no keys"),
            ("+stored.engine_kwargs.ech=1", "cannot be opened: Invalid argument"),
            ("stored=3", "hydra.sweeper.storage has no URL"),
        ],
    )
    def test_a_node_that_cannot_be(self, word: str, problem: str, tmp_path: Path) -> None:
        key = word.replace("stored", "hydra.sweeper.storage")
        node = self.CONFIG.partition("stored:\n")[2].replace("  ", "      ")
        config = SPHERE_CONFIG.replace("storage: null\n", f"storage:\n{node}")
        app = example(tmp_path, config=config)
        message = refusal(app.each((key,))[(key,)])
        assert problem in message
        assert "SECRET" not in message


class TestNames:
    """Of studies as Optuna allows them; their folders are safe, and no two share one."""

    NAMES = ("MNIST_v1", "mnist_v1", "mnist/tpe", "mnist-tpe", "été 2026")

    def test_each_has_its_folder(self, tmp_path: Path) -> None:
        app = example(tmp_path)
        lines = [(f":study_name='{name}'", ":n_trials=1") for name in self.NAMES]
        for done in app.each(*lines, *lines).values():
            assert done.returncode == 0, errors(done)
        assert app.names() == {*self.NAMES}
        studies = tmp_path / "outputs" / "studies"
        folders = {name: Path(app.trials(name)[0].user_attrs["folder"]) for name in self.NAMES}
        for name, folder in folders.items():
            assert folder.is_dir()
            assert folder.parent == studies / safe_name(name)
            (folder / "config.yaml").touch()  # as an application's own record
            assert find_trial(name, 0, tmp_path / "outputs") == folder
        assert len({str(folder).lower() for folder in folders.values()}) == len(self.NAMES)
        assert safe_name("mnist-tpe") == "mnist-tpe"
        assert safe_name("mnist/tpe.confirm") == safe_name("mnist/tpe") + ".confirm"


class TestDry:
    """``dry=true`` judges exactly as the real run does, and changes nothing."""

    def test_says_what_the_real_run_says(self, tmp_path: Path) -> None:
        app = example(tmp_path)
        (begun,) = app.each(()).values()
        assert begun.returncode == 0, errors(begun)
        foreign = optuna.create_study(study_name="foreign", storage=f"sqlite:///{app.database}")
        foreign.tell(foreign.ask(), 1.0)
        (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 9)
        refused = {
            ("z=2", ":study_name=sphere"): "asks another question",
            (":study_name=foreign",): "was not made by sweepmore",
            (":storage=sqlite:///text.db",): "cannot be opened",
        }
        lines = [words for line in refused for words in (line, (*line, ":dry=true"))]
        ended = app.each(*lines, ("z=2", ":dry=true"))
        for line, problem in refused.items():
            real, dry = (refusal(ended[words]) for words in (line, (*line, ":dry=true")))
            assert problem in real
            assert dry == real
        assert "study    sphere-2 (sphere asks" in ended["z=2", ":dry=true"].stdout
        assert app.names() == {"sphere", "foreign"}

    def test_shows_what_has_been_done(self, tmp_path: Path) -> None:
        app = example(tmp_path)
        more = (":n_trials=9", ":dry=true")
        new = (":storage=sqlite:///new.db", ":dry=true")
        _, done, fresh = app.each((), more, new).values()
        assert "study    sphere, 6 of 9 trials done before" in done.stdout, errors(done)
        assert len(app.trials("sphere")) == 6
        assert "study    sphere\n" in fresh.stdout, errors(fresh)
        assert not (tmp_path / "new.db").exists()


# lightning-hydra-template's configs/hparams_search/mnist_optuna.yaml, but for one word.
SEARCH = """
# @package _global_

# example hyperparameter optimization of some experiment with Optuna:
# python train.py -m hparams_search=mnist_optuna experiment=example

defaults:
  - override /hydra/sweeper: sweepmore

# choose metric which will be optimized by Optuna
# make sure this is the correct name of some metric logged in lightning module!
optimized_metric: "val/acc_best"

# here we define Optuna hyperparameter search
# it optimizes for value returned from function with @hydra.main decorator
# docs: https://hydra.cc/docs/next/plugins/optuna_sweeper
hydra:
  mode: "MULTIRUN" # set hydra to multirun by default if this config is attached

  sweeper:
    _target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper

    # storage URL to persist optimization results
    # for example, you can use SQLite if you set 'sqlite:///example.db'
    storage: null

    # name of the study to persist optimization results
    study_name: null

    # number of parallel workers
    n_jobs: 1

    # 'minimize' or 'maximize' the objective
    direction: maximize

    # total number of runs that will be executed
    n_trials: 20

    # choose Optuna hyperparameter sampler
    # you can choose bayesian sampler (tpe), random search (without optimization), grid sampler, and others
    # docs: https://optuna.readthedocs.io/en/stable/reference/samplers.html
    sampler:
      _target_: optuna.samplers.TPESampler
      seed: 1234
      n_startup_trials: 10 # number of random sampling runs before optimization starts

    # define hyperparameter search space
    params:
      model.optimizer.lr: interval(0.0001, 0.1)
      data.batch_size: choice(32, 64, 128, 256)
      model.net.lin1_size: choice(64, 128, 256)
      model.net.lin2_size: choice(64, 128, 256)
      model.net.lin3_size: choice(32, 64, 128, 256)
"""  # noqa: E501  # as it is there
# The line of it that has to go where the stock plugin is installed.
KEPT = "    _target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper\n"


class TestKeptTarget:
    """It is ours where the stock plugin is not installed; elsewhere one message is about it."""

    CONFIG = """
defaults:
  - _self_
  - optional hparams_search: null

data: {batch_size: 64}
model: {optimizer: {lr: 0.001}, net: {lin1_size: 64, lin2_size: 64, lin3_size: 64}}
optimized_metric: null
"""
    CODE = """
def main(cfg: DictConfig) -> float:
    return cfg.model.optimizer.lr * cfg.data.batch_size
"""
    # The stock plugin as far as Hydra sees it: its class takes none of our keys.
    STOCK = """
from hydra.plugins.sweeper import Sweeper

class OptunaSweeper(Sweeper):
    def __init__(self, sampler, direction, storage, study_name, n_trials, n_jobs, params):
        pass

    def setup(self, **given): ...

    def sweep(self, arguments): ...
"""
    WORDS = ("hparams_search=mnist_optuna",)

    def app(self, folder: Path) -> App:
        app = example(folder, self.CODE, self.CONFIG)
        (folder / "conf" / "hparams_search").mkdir()
        (folder / "conf" / "hparams_search" / "mnist_optuna.yaml").write_text(SEARCH)
        return app

    def installed(self, folder: Path) -> dict[str, str]:
        """The environment of a process in which the stock plugin is installed."""
        place = folder / "installed" / "hydra_plugins" / "hydra_optuna_sweeper"
        place.mkdir(parents=True)
        (place / "__init__.py").touch()
        (place / "optuna_sweeper.py").write_text(self.STOCK)
        path = (str(folder / "installed"), os.environ.get("PYTHONPATH", ""))
        return {"PYTHONPATH": os.pathsep.join(path)}

    def test_one_word_is_changed_where_the_stock_plugin_is_not_installed(
        self, tmp_path: Path
    ) -> None:
        app = self.app(tmp_path)
        words = (*self.WORDS, ":n_trials=3", ":study_name=s")
        done = app.each(words)[words]
        assert done.returncode == 0, errors(done)
        assert len(app.trials("s")) == 3

    def test_one_message_says_which_line_to_delete(self, tmp_path: Path) -> None:
        app = self.app(tmp_path)
        code = (tmp_path / "example.py").read_text()
        ours = "\nif __name__ == '__main__':\n    from sweepmore.compose.cli import hydra_app\n"
        ours = code[: code.index("@hydra.main")] + self.CODE + ours + "    hydra_app(main)\n"
        (tmp_path / "example.py").write_text(ours)
        message = refusal(app.each(self.WORDS, env=self.installed(tmp_path))[self.WORDS])
        assert "hydra.sweeper._target_ is the stock plugin's class" in message
        assert "Delete that line: `_target_: hydra_plugins.hydra_optuna_sweeper" in message

    def test_under_hydra_main_it_is_hydra_that_names_the_class(self, tmp_path: Path) -> None:
        """It builds the class before anything of ours is asked."""
        app = self.app(tmp_path)
        done = app.each(self.WORDS, env=self.installed(tmp_path))[self.WORDS]
        assert done.returncode == 1
        assert KEPT.split(".")[-1].strip() in done.stderr
        assert not (tmp_path / "outputs").exists()


class TestObjective:
    """See sweepmore/test_values.py for all that is a number."""

    CODE = """
def main(cfg: DictConfig):
    import torch
    made = {
        "torch": lambda: (torch.tensor([cfg.x], requires_grad=True) * 2).sum(),
        "numpy": lambda: np.float32(2 * cfg.x),
        "exact": lambda: Fraction(cfg.x) * 2,
        "text": lambda: str(cfg.x),
        "reports a text": lambda: current_trial().report(0, "0.5"),
        "reports": lambda: current_trial().report(np.int64(0), np.array([cfg.x])) or 2 * cfg.x,
    }
    return made[cfg.made]()
"""
    CONFIG = "defaults:\n  - override hydra/sweeper: sweepmore\nmade: torch\nx: 0\n"

    def test_is_any_real_number(self, tmp_path: Path) -> None:
        app = example(tmp_path, self.CODE, self.CONFIG)
        kinds = ("torch", "numpy", "exact", "reports")
        lines = {kind: ("x=1.0,2.0", f"made={kind}", f":study_name={kind}") for kind in kinds}
        ended = app.each(*lines.values())
        for kind in kinds:
            assert ended[lines[kind]].returncode == 0, errors(ended[lines[kind]])
            assert sorted(t.value or 0 for t in app.trials(kind)) == [2.0, 4.0]
        assert [t.intermediate_values for t in app.trials("reports")] == [{0: 1.0}, {0: 2.0}]

    @pytest.mark.parametrize("made", ["text", "reports a text"])
    def test_a_text_ends_the_sweep_at_the_first_trial(self, made: str, tmp_path: Path) -> None:
        app = example(tmp_path, self.CODE, self.CONFIG)
        words = ("x=range(0,30)", f"made={made}", ":study_name=s", ":max_failure_rate=1")
        message = refusal(app.each(words)[words])
        assert "Trial 0 has no objective" in message
        assert "a number: the objective" in message
        (finished,) = (t for t in app.trials() if t.state.is_finished())
        assert finished.state is TrialState.FAIL


def results(folder: Path) -> dict[str, Any]:
    """Of the one sweep in this folder of Hydra's."""
    (path,) = folder.rglob("optimization_results.yaml")
    found = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


class TestExamples:
    """The stock plugin's second and third, in its folders, but for one word in their configs; the
    first is SPHERE."""

    MULTI = """
def main(cfg: DictConfig):
    x: float = cfg.x
    y: float = cfg.y
    return 4 * x**2 + 4 * y**2, (x - 5) ** 2 + (y - 5) ** 2
"""
    MULTI_CONFIG = """
defaults:
  - override hydra/sweeper: sweepmore
  - override hydra/sweeper/sampler: nsgaii

hydra:
  sweeper:
    sampler:
      seed: 123
    direction: [minimize, minimize]
    study_name: multi-objective
    storage: null
    n_trials: 12
    n_jobs: 1
    params:
      x: range(0, 5, step=0.5)
      y: range(0, 3, step=0.5)

x: 1
y: 1
"""
    CUSTOM = """
def main(cfg: DictConfig) -> float:
    return cfg.w**2 + cfg.x**2 + cfg.y**2 + cfg.z**2


def configure(cfg: DictConfig, trial) -> None:
    x_value = trial.params["x"]
    trial.suggest_float(
        "z",
        x_value - cfg.max_z_difference_from_x,
        x_value + cfg.max_z_difference_from_x,
    )
    trial.suggest_float("+w", 0.0, 1.0)  # note +w here, not w as w is a new parameter
"""
    CUSTOM_CONFIG = """
defaults:
  - override hydra/sweeper: sweepmore

hydra:
  sweeper:
    sampler:
      seed: 123
    direction: minimize
    study_name: custom-search-space
    storage: null
    n_trials: 8
    n_jobs: 1

    params:
      x: range(-5.5, 5.5, 0.5)
      y: choice(-5, 0, 5)
    # `custom_search_space` should be a dotpath pointing to a
    # callable that provides search-space configuration logic:
    custom_search_space: custom-search-space-objective.configure

x: 1
y: 1
z: 100
max_z_difference_from_x: 0.5
"""

    def app(self, folder: Path, name: str, code: str, config: str) -> App:
        (folder / "example" / "conf").mkdir(parents=True)
        (folder / "example" / "conf" / "config.yaml").write_text(config)
        (folder / "example" / name).write_text(HEAD + code + TAIL)
        return App(folder, script=f"example/{name}")

    def test_several_objectives(self, tmp_path: Path) -> None:
        app = self.app(tmp_path, "multi-objective.py", self.MULTI, self.MULTI_CONFIG)
        typed = ("x=range(0, 5)", "y=range(0, 3)", ":study_name=typed", "hydra.sweep.dir=typed",
                 "hydra/sweeper/sampler=random", "hydra.job.chdir=True")  # fmt: skip
        plain = ("hydra.sweep.dir=plain",)
        ended = app.each(plain, typed, env={"PYTHONWARNINGS": "error"})  # as its own tests have it
        for line, name in ((plain, "multi-objective"), (typed, "typed")):
            assert ended[line].returncode == 0, errors(ended[line])
            assert len(app.trials(name)) == 12
        assert "minimize, minimize; sampler nsgaii" in ended[plain].stdout
        for name, step in (("plain", 0.5), ("typed", 1)):
            solutions = results(tmp_path / name)["solutions"]
            assert solutions
            for one in solutions:
                assert one["params"]["x"] % step == one["params"]["y"] % step == 0
                assert not any(
                    all(a <= b for a, b in zip(other["values"], one["values"]))
                    and other["values"] != one["values"]
                    for other in solutions
                )

    def test_a_custom_search_space(self, tmp_path: Path) -> None:
        script = "custom-search-space-objective.py"
        app = self.app(tmp_path, script, self.CUSTOM, self.CUSTOM_CONFIG)
        words = ("max_z_difference_from_x=0.3", "hydra.sweep.dir=swept", "hydra.job.chdir=True")
        done = app.each(words)[words]
        assert done.returncode == 0, errors(done)
        trials = app.trials("custom-search-space")
        assert len(trials) == 8
        assert all(abs(t.params["x"] - t.params["z"]) <= 0.3 for t in trials)
        found = results(tmp_path / "swept")
        assert set(found["best_params"]) == {"x", "y", "z", "+w"}
        assert found["best_value"] == pytest.approx(
            sum(v**2 for v in found["best_params"].values())
        )


# What applications name in ``_target_``.
PARTS = """
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

@dataclass
class Optimizer:
    lr: float
    kind: Any = "sgd"
    clip: Optional[float] = None
    weight_decay: float = 0.0
    params: Any = None

@dataclass
class Data:
    batch_size: int

@dataclass
class Model:
    optimizer: partial
    net: Any

    def accuracy(self, data: Data) -> float:
        optimizer = self.optimizer(params=[self.net["lin1_size"]])
        assert optimizer.params in ([64], [128], [256])
        return optimizer.lr * data.batch_size
"""


class TestTemplate:
    """The lightning template: its search file, its folders, its objects built by Hydra."""

    CODE = """
import os
from pathlib import Path

import hydra
from hydra.utils import instantiate

os.environ["PROJECT_ROOT"] = str(Path(__file__).resolve().parent.parent)  # as rootutils does

@hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
def main(cfg):
    Path(cfg.paths.output_dir, "here.txt").write_text(os.getcwd())
    metrics = {"val/acc_best": instantiate(cfg.model).accuracy(instantiate(cfg.data))}
    return metrics[cfg.optimized_metric]

if __name__ == "__main__":
    main()
"""
    CONFIG = """
# @package _global_
defaults:
  - _self_
  - experiment: null
  - hparams_search: null
  - optional local: default

task_name: train
tags: ["dev"]
ckpt_path: null
seed: null
data: {_target_: parts.Data, batch_size: 64}
model:
  _target_: parts.Model
  optimizer: {_target_: parts.Optimizer, _partial_: true, lr: 0.001, weight_decay: 0.0}
  net: {_target_: builtins.dict, lin1_size: 64, lin2_size: 128, lin3_size: 64}
paths:
  root_dir: ${oc.env:PROJECT_ROOT}
  log_dir: ${paths.root_dir}/logs
  output_dir: ${hydra:runtime.output_dir}
  work_dir: ${hydra:runtime.cwd}
hydra:
  run:
    dir: ${paths.log_dir}/${task_name}/runs/${now:%Y-%m-%d}_${now:%H-%M-%S}
  sweep:
    dir: ${paths.log_dir}/${task_name}/multiruns/${now:%Y-%m-%d}_${now:%H-%M-%S}
    subdir: ${hydra.job.num}
  job_logging:
    handlers:
      file:
        filename: ${hydra.runtime.output_dir}/${task_name}.log
"""

    def test_the_search_file_works_without_the_line(self, tmp_path: Path) -> None:
        assert KEPT in SEARCH
        (tmp_path / "configs" / "hparams_search").mkdir(parents=True)
        (tmp_path / "configs" / "train.yaml").write_text(self.CONFIG)
        place = tmp_path / "configs" / "hparams_search" / "mnist_optuna.yaml"
        place.write_text(SEARCH.replace(KEPT, ""))
        (tmp_path / "src").mkdir()
        (tmp_path / "src" / "train.py").write_text(self.CODE)
        (tmp_path / "src" / "parts.py").write_text(PARTS)
        app = App(tmp_path, script="src/train.py")
        words = ("hparams_search=mnist_optuna", ":n_trials=4")
        moved = (*words, "hydra.job.chdir=true", "hydra.sweep.dir=moved", ":study_name=moved")
        ended = app.each(words, moved)
        for line in (words, moved):
            assert ended[line].returncode == 0, errors(ended[line])
            assert "4 trials; maximize; sampler tpe" in ended[line].stdout
        for name in app.names():
            trials = app.trials(name)
            assert len(trials) == 4
            for trial in trials:
                folder, params = Path(trial.user_attrs["folder"]), trial.params
                assert trial.value == params["model.optimizer.lr"] * params["data.batch_size"]
                stands = folder if name == "moved" else tmp_path
                assert (folder / "here.txt").read_text() == str(stands)
                assert (folder / "train.log").exists()
        for where in ("logs", "moved"):
            assert {*results(tmp_path / where)} == {"name", "best_params", "best_value"}


class TestStructured:
    """Configs of dataclasses alone, whose objects Hydra builds."""

    CODE = """
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, List, Optional

import hydra
from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from omegaconf import MISSING

class Kind(Enum):
    SGD = 1
    ADAM = 2

@dataclass
class Plain:
    _target_: str = "parts.Optimizer"
    lr: float = MISSING
    kind: Kind = Kind.SGD
    clip: Optional[float] = None

@dataclass
class Heavy(Plain):
    weight_decay: float = 0.5

@dataclass
class Config:
    defaults: List[Any] = field(
        default_factory=lambda: [
            "_self_", {"optim": "plain"}, {"override hydra/sweeper": "sweepmore"}
        ]
    )
    optim: Any = MISSING
    run_name: str = "lr-${optim.lr}"
    steps: List[int] = field(default_factory=lambda: [1, 2])

@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg):
    built = instantiate(cfg.optim)
    assert type(built.lr) is float and cfg.run_name == f"lr-{built.lr}"
    open("made.txt", "w").write(f"{built.kind} {built.clip} {built.weight_decay}")
    return built.lr + (built.clip or 0) + built.weight_decay

if __name__ == "__main__":
    store = ConfigStore.instance()
    store.store(name="config", node=Config)
    store.store(group="optim", name="plain", node=Plain)
    store.store(group="optim", name="heavy", node=Heavy)
    main()
"""

    def test_they_are_searched_and_built(self, tmp_path: Path) -> None:
        (tmp_path / "structured.py").write_text(self.CODE)
        (tmp_path / "parts.py").write_text(PARTS)
        app = App(tmp_path, script="structured.py")
        words = ("optim=plain,heavy", "optim.lr=1,2", "optim.kind=SGD,ADAM",
                 "optim.clip=null,0.25", "hydra.job.chdir=true", ":study_name=s")  # fmt: skip
        wrong = ("optim.lr=1,fast", ":study_name=wrong")
        ended = app.each(words, wrong)
        assert ended[words].returncode == 0, errors(ended[words])
        trials = app.trials()
        assert len(trials) == 16
        made = {(Path(t.user_attrs["folder"]) / "made.txt").read_text() for t in trials}
        assert {text.split()[0] for text in made} == {"Kind.SGD", "Kind.ADAM"}
        assert {tuple(text.split()[1:]) for text in made} == {
            (clip, decay) for clip in ("None", "0.25") for decay in ("0.0", "0.5")
        }
        assert min(t.value or 0 for t in trials) == 1
        assert "optim.lr=fast" in refusal(ended[wrong])
        assert app.names() == {"s"}


def test_the_joblib_launcher(tmp_path: Path) -> None:
    """With which the stock plugin ran in parallel."""
    app = example(tmp_path)
    out = app.ok("hydra/launcher=joblib", ":n_jobs=2", "hydra.sweep.dir=swept")
    assert "workers  2 by JoblibLauncher" in out
    assert len(app.trials("sphere")) == 6
    assert "best_value" in results(tmp_path / "swept")
