"""Whose fault it is: Hydra's refusals are messages, everybody else's exceptions are tracebacks."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.experimental.callback import Callback
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, InterpolationResolutionError

from nplm.app import for_hydra
from sweepmore.compose import cli
from sweepmore.compose.composing import composing, resolved
from sweepmore.compose.hydra_internals import IS_13, VERSION_BASE, register_resolver
from sweepmore.errors import ConfigError, DataError
from tests.support.helpers import ROOT

# Hydra 1.4 and OmegaConf 2.4, which reads YAML by libyaml, have other words
NO_NODE = r"^n=\[: expected the node" if IS_13 else r"^n=\[: did not find expected node"
# 1.3 wraps what the target raised; 1.4 passes it on
AS_INSTANTIATED = InstantiationException if IS_13 else json.JSONDecodeError
NO_PLUGIN = "Invalid plugin 'nothing'" if IS_13 else "Unknown plugin class : 'nothing'"


class Broken(Callback):
    """Hydra instantiates it before the task."""

    def __init__(self) -> None:
        json.loads("a bug of mine")


def broken(value: Any) -> Any:
    """A bug that is raised in the standard library's frames, below its own."""
    return json.loads(value)


def refusing(value: Any) -> Any:
    raise DataError(f"{value} is too much.", value=value, cure="Take less.")


@pytest.fixture(autouse=True)
def resolvers() -> Iterator[None]:
    for resolver in (broken, refusing):
        register_resolver(resolver.__name__, resolver)
    yield
    for resolver in (broken, refusing):
        OmegaConf.clear_resolver(resolver.__name__)


class TestRegion:
    @pytest.mark.parametrize(
        ("value", "says"),
        [
            ("${nowhere}", "Interpolation key 'nowhere' not found (in emb)."),
            ("${oc.env:NOWHERE}", "Environment variable 'NOWHERE' not found."),
            ("${nothing:1}", "Unsupported interpolation type nothing (in emb)."),
            ("${broken:1,2}", "TypeError raised while resolving interpolation"),  # of its arguments
        ],
    )
    def test_what_cannot_be_resolved_is_refused(self, value: str, says: str) -> None:
        with pytest.raises(ConfigError) as refused:
            resolved(OmegaConf.create({"emb": value}))
        assert refused.value.problem.startswith(says)

    def test_a_resolver_s_bug_is_raised_and_its_refusal_is_a_message(self) -> None:
        with pytest.raises(InterpolationResolutionError, match="JSONDecodeError"):
            resolved(OmegaConf.create({"key": "${broken:x}"}))
        with pytest.raises(DataError, match="7 is too much"):
            resolved(OmegaConf.create({"key": "${refusing:7}"}))

    def test_what_is_said_is_said_about_what_was_given(self) -> None:
        with pytest.raises(ConfigError, match=NO_NODE), composing("n=["):
            OmegaConf.from_cli(["n=["])

    def test_our_own_bug_is_raised_in_whatever_it_is_wrapped(self) -> None:
        with pytest.raises(ValueError, match="invalid literal"), composing():
            int("x")
        with pytest.raises(json.JSONDecodeError), composing():
            broken("x")

    def test_what_is_being_handled_already_is_not_looked_at(self) -> None:
        try:
            broken("x")
        except ValueError:
            with pytest.raises(ConfigError):
                resolved(OmegaConf.create({"key": "${nowhere}"}))

    def test_a_reader_that_left_is_not_the_configs_fault(self) -> None:
        class Pipe:
            def write(self, text: str) -> None:
                raise BrokenPipeError(32, "Broken pipe")

        with pytest.raises(BrokenPipeError), composing():
            OmegaConf.save(OmegaConf.create({"a": 1}), Pipe())  # type: ignore[arg-type]


NUMBERS = """
layers: [64, 32]
of_numbers: {0: 64, 1: 32}
nothing: null
"""


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("layers.0=7", None),
        ("layers.2=7", "There is no layers[2]: the list has 2 members, counted from 0."),
        ("layer.0=7", "Unknown key layer. Did you mean layers?"),
        ("nothing.0=7", "Unknown key nothing.0. Did you mean nothing?"),
        ("of_numbers.0=7", "of_numbers.0 cannot be overridden: its last part is a number there."
         if IS_13 else None),
        ("of_numbers={0:7}", None),
    ],
)  # fmt: skip
def test_a_member_of_a_list_is_set_and_one_that_cannot_be_is_no_misspelling(
    word: str, says: str | None, tmp_path: Path
) -> None:
    """Hydra 1.3 looks for the text 0 among keys that are numbers."""
    (tmp_path / "config.yaml").write_text(NUMBERS)
    with initialize_config_dir(str(tmp_path), **VERSION_BASE):
        if says is None:
            config = compose("config", [word])
            assert 7 in (config.layers[0], config.of_numbers[0])
        else:
            with pytest.raises(ConfigError) as refused, composing():
                compose("config", [word])
            assert refused.value.problem == says


@pytest.mark.parametrize("override", ["override data: b", "override /data: b"])
def test_a_file_that_lies_below_its_group_is_told_to_be_global(
    override: str, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("defaults: [_self_, {data: a}, {optional mine: null}]\n")
    for name in ("data", "mine"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        (tmp_path / "data" / f"{name}.yaml").write_text("x: 1\n")
    lines = (f"defaults: [{{{override}}}]\ny: 1\n", "# @package _global_\n")
    with initialize_config_dir(str(tmp_path), **VERSION_BASE):
        (tmp_path / "mine" / "s.yaml").write_text(lines[0])
        with pytest.raises(ConfigError) as refused, composing():
            compose("config", ["mine=s"])
        assert "A file of mine overrides data below mine" in refused.value.problem
        assert "# @package _global_" in str(refused.value.cure)
        (tmp_path / "mine" / "s.yaml").write_text(
            f"{lines[1]}{lines[0]}".replace("override data", "override /data")
        )
        assert compose("config", ["mine=s"]) == {"data": {"x": 1}, "y": 1}


def key(node: DictConfig) -> None:
    node.no_such_key  # noqa: B018  # the bug


def item(node: DictConfig) -> None:
    nothing: dict[str, int] = {}
    _ = nothing["nothing"]


def target(node: DictConfig) -> None:
    instantiate({"_target_": "json.loads", "s": "a bug of mine"})


@pytest.mark.usefixtures("here")
# 1.4 warns where an application names no targets that may be instantiated; it works all the same
@pytest.mark.filterwarnings("ignore:(?s).*_execution_whitelist_")
class TestApplication:
    @pytest.fixture
    def run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)

        def run(task: Callable[[DictConfig], Any], *words: str) -> None:
            sys.argv[:] = [str(ROOT / "train.py"), *words, f"hydra.run.dir={tmp_path / 'run'}"]
            for_hydra.register()
            cli.hydra_app(task, config_path=str(ROOT / "conf"))

        return run

    @pytest.mark.parametrize(
        ("task", "raised"),
        [(key, ConfigAttributeError), (item, KeyError), (target, AS_INSTANTIATED)],
    )
    def test_a_tasks_own_bug_is_raised(
        self,
        task: Callable[[DictConfig], None],
        raised: type[Exception],
        run: Callable[..., None],
    ) -> None:
        with pytest.raises(raised):
            run(task)

    def test_a_tasks_own_bug_is_raised_in_a_job_of_hydras_sweeper(
        self, run: Callable[..., None], tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigAttributeError):
            run(key, "-m", "hydra/sweeper=basic", f"hydra.sweep.dir={tmp_path / 'many'}")

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("-m", "hydra.sweeper._target_=nothing"), NO_PLUGIN),
            (("hydra.job_logging.version=7",), "Unsupported version: 7"),
            (("model.emb=1,2",), "3. To sweep over it, add --multirun"),
        ],
    )
    def test_what_hydra_cannot_build_is_refused(
        self,
        words: tuple[str, ...],
        says: str,
        run: Callable[..., None],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with pytest.raises(SystemExit) as left:
            run(item, *words)
        assert left.value.code == 2
        assert says in capsys.readouterr().err

    def test_a_callbacks_bug_is_raised(self, run: Callable[..., None]) -> None:
        word = "+hydra.callbacks.mine._target_=tests.sweepmore.compose.test_composing.Broken"
        with pytest.raises(AS_INSTANTIATED, match="Broken" if IS_13 else "Expecting value"):
            run(item, word)

    def test_a_package_that_is_not_there_is_exit_2(
        self, run: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as left:
            run(item, "--cfg=job", "--package=nowhere")
        assert left.value.code == 2
        assert capsys.readouterr().err == "package 'nowhere' not found in config\n"


@dataclass(frozen=True)
class NoArguments:
    """A script without settings."""


@pytest.mark.parametrize("ends_with", [None, ConfigError("Wrong.", cure="Right it.")])
def test_what_a_script_sets_in_its_process_ends_with_it(
    ends_with: ConfigError | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def state() -> tuple[object, ...]:
        return gc.get_threshold(), gc.get_freeze_count(), warnings.formatwarning

    def task(arguments: NoArguments) -> None:
        assert warnings.formatwarning("told", UserWarning, "", 0) == "warning: told\n"
        assert gc.get_threshold()[0] == cli.GARBAGE_THRESHOLD
        if ends_with is not None:
            raise ends_with

    before = state()
    with contextlib.suppress(SystemExit):
        cli.command(NoArguments, task, [])
    assert state() == before
    assert capsys.readouterr().err == ("" if ends_with is None else f"error: {ends_with}\n")
