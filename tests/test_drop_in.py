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

from sweepmore.record import find_trial, safe_name
from tests.sweep_apps import PATIENCE, App, errors, refusal, until

HEAD = """
import os
from decimal import Decimal
from fractions import Fraction

import hydra
import numpy as np
import optuna
from omegaconf import DictConfig

from sweepmore.trial import current_trial

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
"""
TAIL = """
if __name__ == "__main__":
    main()
"""
# The stock plugin's first example, but for one word in its config.
SPHERE = """
def main(cfg: DictConfig) -> float:
    x: float = cfg.x
    y: float = cfg.y
    return x**2 + y**2
"""
SPHERE_CONFIG = """
defaults:
  - override hydra/sweeper: sweepmore

hydra:
  sweeper:
    sampler:
      seed: 123
    direction: minimize
    study_name: sphere
    storage: null
    n_trials: 6
    n_jobs: 1
    params:
      x: range(-5.5, 5.5, step=0.5)
      y: choice(-5, 0, 5)

x: 1
y: 1
z: 1
"""

pytestmark = pytest.mark.system


def example(folder: Path, code: str = SPHERE, config: str = SPHERE_CONFIG) -> App:
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_text(config)
    (folder / "example.py").write_text(HEAD + code + TAIL)
    return App(folder, script="example.py")


class TestSampler:
    def test_a_seed_without_a_name_is_of_tpe(self, tmp_path: Path) -> None:
        """The stock plugin's example, and its command line."""
        app = example(tmp_path)
        typed = ("hydra.sweeper.sampler.seed=124", ":study_name=typed")
        unseeded = ("hydra.sweeper.sampler.seed=null", ":study_name=unseeded", ":n_trials=null")
        lines = ((), typed, unseeded)
        ended = app.each(*lines)
        for line in lines:
            assert ended[line].returncode == 0, errors(ended[line])
        assert "sampler tpe" in ended[()].stdout
        assert "sampler grid" in ended[unseeded].stdout
        asked = app.study("sphere").user_attrs["question"]["sampler"]
        assert asked == {"_target_": "optuna.samplers.TPESampler", "seed": 123}
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
    assert "1 unfinished trial will begin again" in out
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

    def test_lie_in_both_folders_with_types(self, tmp_path: Path) -> None:
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
        dated, *more = (tmp_path / "multirun").rglob("optimization_results.yaml")
        assert not more
        (year,) = (tmp_path / "two").iterdir()
        solutions = [{"params": {"a.x": x}, "values": [x, -x]} for x in (3.0, 1.0)]
        expected: dict[str, tuple[Path, dict[str, Any]]] = {
            "plain": (dated.parent, {"best_params": {"a.x": 1.5}, "best_value": 1.5}),
            "typed": (
                tmp_path / "typed",
                {"best_params": {"a.x": 1.5, "a.note": [1, {"k": "2"}]}, "best_value": 1.5},
            ),
            "two": (year, {"solutions": solutions}),
        }
        for name, (folder, found) in expected.items():
            for place in (folder, tmp_path / "outputs" / "studies" / name):
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


class TestKeptTarget:
    """lightning-hydra-template's configs/hparams_search/mnist_optuna.yaml, but for one word."""

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
    n_trials: 4

    # choose Optuna hyperparameter sampler
    # you can choose bayesian sampler (tpe), random search (without optimization), grid sampler, etc
    # docs: https://optuna.readthedocs.io/en/stable/reference/samplers/index.html
    sampler:
      _target_: optuna.samplers.TPESampler
      seed: 1234
      n_startup_trials: 10 # number of random sampling runs before optimization starts

    # define hyperparameter search space
    params:
      model.optimizer.lr: interval(0.0001, 0.1)
      data.batch_size: choice(32, 64, 128, 256)
      model.net.lin1_size: choice(64, 128, 256)
"""
    CONFIG = """
defaults:
  - _self_
  - optional hparams_search: null

data: {batch_size: 64}
model: {optimizer: {lr: 0.001}, net: {lin1_size: 64}}
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

    LINE = "    _target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper\n"

    def app(self, folder: Path, search: str = SEARCH) -> App:
        app = example(folder, self.CODE, self.CONFIG)
        (folder / "conf" / "hparams_search").mkdir()
        (folder / "conf" / "hparams_search" / "mnist_optuna.yaml").write_text(search)
        return app

    def test_the_file_works_without_the_line(self, tmp_path: Path) -> None:
        assert self.LINE in self.SEARCH
        app = self.app(tmp_path, self.SEARCH.replace(self.LINE, ""))
        done = app.each(self.WORDS)[self.WORDS]
        assert done.returncode == 0, errors(done)
        (name,) = app.names()
        assert len(app.trials(name)) == 4
        assert "4 trials; maximize; sampler tpe" in done.stdout

    @pytest.mark.parametrize("installed", [False, True])
    def test_one_message_says_which_line_to_delete(self, installed: bool, tmp_path: Path) -> None:
        app = self.app(tmp_path)
        place = tmp_path / "installed" / "hydra_plugins" / "hydra_optuna_sweeper"
        place.mkdir(parents=True)
        if installed:
            (place / "__init__.py").touch()
            (place / "optuna_sweeper.py").write_text(self.STOCK)
        code = (tmp_path / "example.py").read_text()
        ours = "\nif __name__ == '__main__':\n    from sweepmore.cli import hydra_app\n"
        ours = code[: code.index("@hydra.main")] + self.CODE + ours + "    hydra_app(main)\n"
        (tmp_path / "example.py").write_text(ours)
        path = f"{tmp_path / 'installed'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        message = refusal(app.each(self.WORDS, env={"PYTHONPATH": path})[self.WORDS])
        assert "hydra.sweeper._target_ is the stock plugin's class" in message
        assert "Delete that line: `_target_: hydra_plugins.hydra_optuna_sweeper" in message

    def test_under_hydra_main_it_is_hydra_that_names_the_class(self, tmp_path: Path) -> None:
        """It looks the class up before anything of ours is asked."""
        done = self.app(tmp_path).each(self.WORDS)[self.WORDS]
        assert done.returncode == 1
        assert self.LINE.split()[1] in done.stderr
        assert not (tmp_path / "outputs").exists()


class TestObjective:
    """See test_values.py for all that is a number."""

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
