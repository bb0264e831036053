"""Each command of the README and the documentation can be run: files exist, settings compose."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
import typer
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from nplm.app import for_hydra
from nplm.config import from_hydra
from sweepmore.command.main import app
from sweepmore.compose.cli import ROOT_VARIABLE
from tests.docs.pages import READ, Typed, commands_of, typed_in
from tests.support.helpers import ROOT

COMMANDS = [typed for page in READ for typed in typed_in(page)]
# Programs of others; a page that uses another one says why it is not run.
OTHERS = {"pip", "cd", ".", "wandb", "export"}
OF_TRAINING = {"train.py", "find_lr.py"}
FIND_LR_ONLY = re.compile(r"(seeds|steps|low|high|lowest|highest)=")
TARGET = re.compile(r"^([\w-]+):", re.MULTILINE)


def test_the_pages_have_commands() -> None:
    assert len(COMMANDS) > 40


@pytest.mark.parametrize("typed", COMMANDS, ids=str)
def test_a_command_can_be_run(typed: Typed) -> None:
    program, *words = shlex.split(typed.command, comments=True)
    if program == "python":
        of_python(words)
    elif program == "sweepmore":
        parse(words)
    elif program == "make":
        assert words[0] in TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    else:
        assert program in OTHERS, f"{typed}: mark the block: <!-- not run: REASON -->"


def of_python(words: list[str]) -> None:
    """``python SCRIPT …`` or ``python -m MODULE``: the file exists, the settings are known."""
    if words[0] == "-m":
        module = ROOT / words[1].replace(".", "/")
        assert module.is_dir() or module.with_suffix(".py").is_file(), words[1]
        return
    script, *settings = words
    assert (ROOT / script).is_file(), script
    if script in OF_TRAINING and "--help" not in settings:
        check_settings([word for word in settings if not FIND_LR_ONLY.match(word)])
    elif script not in OF_TRAINING:
        for word in settings:
            assert re.fullmatch(r"[\w.]+=.*", word) or script.startswith("tools/"), word


def check_settings(words: list[str]) -> None:
    """They compose, and what is searched is a setting."""
    swept = "-m" in words
    overrides = OverridesParser.create().parse_overrides([w for w in words if w != "-m"])
    searched = [override for override in overrides if swept and is_searched(override)]
    node = composed([o.input_line or "" for o in overrides if o not in searched])
    for override in searched:
        missing = object()
        key = str(override.key_or_group)
        assert OmegaConf.select(node, key, default=missing) is not missing, key
    plain = OmegaConf.to_container(node, resolve=False)
    assert isinstance(plain, dict)
    plain.pop("hydra")
    from_hydra({str(key): value for key, value in plain.items()})


def is_searched(override: Override) -> bool:
    return override.is_sweep_override() or (override.input_line or "").endswith(")")


def composed(words: list[str]) -> DictConfig:
    for_hydra.register()
    os.environ[ROOT_VARIABLE] = str(ROOT)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        # search paths are set by name: composing alone does not read config.yaml's
        path = f"hydra.searchpath=[file://{ROOT}]"
        return compose("config", [path, *words], return_hydra_config=True)


def parse(words: list[str]) -> None:
    """By the command's own parser; nothing is run."""
    group = typer.main.get_command(app)
    asked = [word for word in words if word != "--help"]
    if not asked:
        return
    name, *rest = asked
    verb = group.commands[name]  # type: ignore[attr-defined]
    verb.make_context(name, rest)


def test_a_transcript_has_its_prompts_and_a_long_line_is_one() -> None:
    assert list(commands_of("$ a\nprinted\n\n$ b\n")) == [(0, "a"), (3, "b")]
    assert list(commands_of("a \\\n    b\nc\n")) == [(0, "a      b"), (2, "c")]


@pytest.mark.parametrize(
    "command",
    ["python train.py optim.lrr=1", "python train.py -m model.embb=1,2", "python absent.py",
     "python train.py optim.steps=0", "sweepmore shew last", "sweepmore confirm last --tops 3",
     "make nothing", "rays start"],
)  # fmt: skip
def test_a_wrong_command_is_noticed(command: str) -> None:
    with pytest.raises(BaseException):  # noqa: B017, PT011  # each parser has its own
        test_a_command_can_be_run(Typed(Path(ROOT / "README.md"), 1, command))
