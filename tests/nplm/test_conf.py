"""conf/ describes: each of its files holds every setting of its record, with the same value."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from examples.gru import gru
from examples.transformer import transformer
from examples.wavenet import wavenet
from nplm.app import for_hydra
from nplm.config import MODELS, OPTIMISERS, Config, Data, Own, from_hydra, model_from, to_plain
from sweepmore.compose.cli import ROOT_VARIABLE
from sweepmore.compose.composing import composing, resolved
from sweepmore.compose.hydra_internals import VERSION_BASE
from sweepmore.compose.question import ask
from sweepmore.compose.space_syntax import parse_space
from sweepmore.errors import ConfigError
from sweepmore.runs.tracking import Tracking
from sweepmore.sweep.checks import without_hydra
from sweepmore.typed import build
from tests.support.helpers import ROOT

CONF = ROOT / "conf"
GROUPS = ("model", "optim", "data", "wandb")
# What a member of a group says beside the defaults of its record; any other is the record itself.
DIFFERENT: Mapping[str, Mapping[str, Any]] = {
    "data/names": {"name": "names"},
    "data/text": {"name": "text"},
    "data/austen": {"name": "austen", "unit": "word", "min_count": 4, "order": "contiguous"},
    "model/own": {"target": ""},  # it has no default, and composes until it is read
}
# The nets of examples/, whose files name a class and hold its settings.
EXAMPLES = {"gru": gru.Settings, "wavenet": wavenet.Settings, "transformer": transformer.Settings}
# Hydra's own keys of the first config, and the list of options.
NOT_SETTINGS = {"defaults", "hydra"}
SETTING = re.compile(r"^\w+:")


def record_of(member: str) -> type[Any]:
    group, _, name = member.partition("/")
    known: Mapping[str, Mapping[str, type[Any]]] = {"model": MODELS, "optim": OPTIMISERS}
    return known[group][name] if group in known else {"data": Data, "wandb": Tracking}[group]


def defaults_of(member: str) -> dict[str, Any]:
    """What the record holds unless it is given something else; of Own, one that is valid."""
    record = record_of(member)
    made = record(target="a.B") if record is Own else record()
    return {**dataclasses.asdict(made), **DIFFERENT.get(member, {})}


def listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def content(path: Path) -> dict[str, Any]:
    plain = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


FILES = [f"{group}/{path.stem}" for group in GROUPS for path in (CONF / group).glob("*.yaml")]
MEMBERS = [member for member in FILES if member.removeprefix("model/") not in EXAMPLES]


def test_every_record_has_a_file() -> None:
    models = [f"model/{name}" for name in MODELS]
    optimisers = [f"optim/{name}" for name in OPTIMISERS]
    data = [f"data/{name}" for name in ("given_names", "names", "austen", "text")]
    assert sorted(MEMBERS) == sorted([*models, *optimisers, *data, "wandb/default"])


@pytest.mark.parametrize("member", MEMBERS)
def test_a_file_holds_every_setting_with_the_value_of_the_record(member: str) -> None:
    written = content(CONF / f"{member}.yaml")
    wanted = {key: listed(value) for key, value in defaults_of(member).items()}
    assert written == wanted
    assert {key: type(value) for key, value in written.items()} == {
        key: type(value) for key, value in wanted.items()
    }


def test_the_first_config_holds_every_setting_that_belongs_to_no_group() -> None:
    written = {k: v for k, v in content(CONF / "config.yaml").items() if k not in NOT_SETTINGS}
    assert written == {k: v for k, v in to_plain(Config()).items() if k not in GROUPS}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_net_of_the_examples_has_the_settings_of_its_class(name: str) -> None:
    written = content(CONF / "model" / f"{name}.yaml")
    assert dataclasses.asdict(EXAMPLES[name]()) == written["settings"]
    model = model_from(written)
    assert isinstance(model, Own)
    assert model.block_size == 8
    assert model.target.startswith(f"examples.{name}.{name}.")


@pytest.mark.parametrize("member", [*FILES, "config"])
def test_every_setting_is_described_in_a_comment(member: str) -> None:
    lines = (CONF / f"{member}.yaml").read_text(encoding="utf-8").splitlines()
    settings = [line for line in lines if SETTING.match(line)]
    bare = [line.partition(":")[0] for line in settings if " # " not in line]
    assert {*bare} <= {"name", *NOT_SETTINGS}
    assert lines[0].startswith("# ")


@pytest.mark.parametrize("member", [m for m in MEMBERS if m.split("/")[0] in ("model", "optim")])
def test_a_name_chooses_the_record_that_it_is_compared_with(member: str) -> None:
    node = content(CONF / f"{member}.yaml")
    if member == "model/own":
        assert isinstance(model_from({**node, "target": "a.B"}), Own)
    elif member.startswith("model"):
        assert model_from(node) == record_of(member)()
    else:
        assert from_hydra({"optim": node}).optim == record_of(member)()


def test_the_records_own_types_and_ranges_pass_what_is_written() -> None:
    for member in MEMBERS:
        if member not in ("model/own", "data/text"):  # each needs a word of the user's
            build(record_of(member), content(CONF / f"{member}.yaml"))


def composed_in(conf: Path, *words: str) -> Config:
    for_hydra.register()
    GlobalHydra.instance().clear()
    with composing(), initialize_config_dir(str(conf), **VERSION_BASE):
        return from_hydra(resolved(compose("config", overrides=list(words))))


@pytest.fixture
def rooted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(ROOT))


@pytest.mark.usefixtures("rooted")
def test_without_a_word_all_defaults_are_composed() -> None:
    assert composed_in(CONF) == Config() == from_hydra({})


@pytest.mark.usefixtures("rooted")
@pytest.mark.parametrize("steps", [1, 2, 101, 500])
def test_a_short_run_needs_no_word_about_the_drop(steps: int) -> None:
    optim = composed_in(CONF, f"optim.steps={steps}").optim
    assert optim == dataclasses.replace(OPTIMISERS["sgd"](), steps=steps)


# The files of 0.1.0, which the studies that began with it keep: pointers to Hydra's store.
POINTERS = {
    **{f"model/{name}": f"/defaults/model/{name}@_here_" for name in MODELS},
    **{f"optim/{name}": f"/defaults/optim/{name}@_here_" for name in OPTIMISERS},
    **{f"data/{name}": "/defaults/data/given_names@_here_" for name in ("given_names", "names",
                                                                       "austen", "text")},
    "wandb/default": "/defaults/wandb/wandb@_here_",
}  # fmt: skip
OLDER_CONFIG = """\
defaults:
  - /defaults/run
  - model: mlp
  - optim: sgd
  - data: given_names
  - wandb: default
  - experiment: null
  - _self_
"""


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """conf/ as 0.1.0 had it, but for the experiments, which are today's."""
    for member, pointer in POINTERS.items():
        path = tmp_path / f"{member}.yaml"
        path.parent.mkdir(exist_ok=True)
        more = DIFFERENT.get(member, {}) if member.startswith("data/") else {}
        text = OmegaConf.to_yaml(OmegaConf.create({"defaults": [pointer], **more}))
        path.write_text(text, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(OLDER_CONFIG, encoding="utf-8")
    (tmp_path / "experiment").symlink_to(CONF / "experiment")
    return tmp_path


LINES = [
    "", "experiment=quick", "experiment=lecture", "experiment=bengio", "experiment=smoke seed=0",
    "optim=adamw optim.warmup=0.1", "model=ngram", "model=bigram model.by=net", "data=austen",
    "model=own model.target=a.B model.block_size=5", "data=text data.path=/x", "data=names",
    "optim.schedule=inverse", "optim.decay_step=7", "wandb.mode=disabled eval_every=1",
]  # fmt: skip


@pytest.mark.usefixtures("rooted")
@pytest.mark.parametrize("line", LINES)
def test_the_frozen_sources_of_an_older_study_compose_to_the_same(line: str, older: Path) -> None:
    assert composed_in(older, *line.split()) == composed_in(CONF, *line.split())


# What 0.1.0 kept in the database of `train.py -m experiment=smoke optim.lr=interval(0.01,0.1)`.
QUESTION = json.loads("""{
    "seed": 2147483647, "threads": 1, "eval_every": 0.25, "mix": false, "overfit_batch": false,
    "objective": "dev_loss", "start_from": null,
    "model.name": "mlp", "model.block_size": 3, "model.emb": 2, "model.hidden": 16,
    "model.layers": 1, "model.activation": "tanh", "model.direct": false, "model.dropout": 0.0,
    "model.emb_dropout": 0.0, "model.init": "lecture",
    "optim.steps": 100, "optim.batch_size": 32, "optim.weight_decay": 0.0, "optim.clip": null,
    "optim.ema": 0.0, "optim.draw": "examples", "optim.name": "sgd", "optim.schedule": "drop",
    "optim.decay_rate": 1e-08, "optim.decay_step": null, "optim.decay_factor": 0.1,
    "optim.momentum": 0.0,
    "data.name": "given_names", "data.seed": 42, "data.split": [0.8, 0.1, 0.1],
    "data.duplicates": "keep", "data.order": "shuffled", "data.unit": "char", "data.lower": false,
    "data.min_count": 1
}""")


@pytest.mark.usefixtures("rooted")
def test_a_study_of_an_older_version_is_asked_the_same_question() -> None:
    """A setting that is added since then needs a line here, with what older studies make of it."""
    for_hydra.register()
    GlobalHydra.instance().clear()
    with composing(), initialize_config_dir(str(CONF), **VERSION_BASE):
        node = compose("config", overrides=["experiment=smoke"], return_hydra_config=True)
    space = parse_space(["optim.lr=interval(0.01,0.1)"]).searched
    question = ask(space, without_hydra(node), {}, None, node.hydra.sweeper.question_ignore)
    assert question["config"] == QUESTION


@pytest.mark.parametrize("group", ["experiment", "sweeps"])
def test_a_file_that_lies_below_its_group_is_refused(group: str) -> None:
    with pytest.raises(ConfigError, match=f"file of {group}=… sets {group}.hydra") as refused:
        from_hydra({**to_plain(Config()), group: {"hydra": {"sweeper": {"n_trials": 2}}}})
    assert "# @package _global_" in str(refused.value.cure)
