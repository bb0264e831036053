"""Every setting of a run, as frozen records. Defaults live here; YAML holds differences.

``from_hydra`` is the one boundary between untyped nodes and these types. ``defaults`` gives Hydra
the plain nodes that it composes: its own schema cannot be a frozen dataclass.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from omegaconf import DictConfig, OmegaConf

from sweepmore.errors import ConfigError, did_you_mean
from sweepmore.tracking import Tracking
from sweepmore.typed import build, setting

# Beyond these nothing trains on one machine; they catch a slip of the keyboard before memory does.
MAX_BLOCK, MAX_WIDTH, MAX_STEPS, MAX_BATCH = 256, 65_536, 10**9, 2**20


@dataclass(frozen=True)
class Model:
    """The MLP of the lecture; its defaults are the lecture's first ones."""

    name: Literal["mlp"] = setting("mlp", "the lecture's multilayer perceptron")
    block_size: int = setting(
        3, "tokens of context before the predicted one", at_least=1, at_most=MAX_BLOCK
    )
    emb: int = setting(2, "numbers that embed a token", at_least=1, at_most=MAX_WIDTH)
    hidden: int = setting(100, "tanh units", at_least=1, at_most=MAX_WIDTH)
    init: Literal["lecture", "scaled"] = setting(
        "lecture", "lecture: standard normal | scaled: first loss about ln V"
    )


@dataclass(frozen=True)
class Optim:
    """What every optimiser has."""

    steps: int = setting(200_000, "minibatches in all", at_least=1, at_most=MAX_STEPS)
    batch_size: int = setting(
        32, "examples or contexts a step, drawn with replacement", at_least=1, at_most=MAX_BATCH
    )
    weight_decay: float = setting(0.0, "per step: coupled (sgd), decoupled (adamw)", at_least=0)
    draw: Literal["examples", "contexts", "full"] = setting(
        "examples", "a minibatch: examples | contexts, each with all its counts | full: every one"
    )


@dataclass(frozen=True)
class Sgd(Optim):
    """The lecture's: plain gradient descent, one drop of the learning rate."""

    name: Literal["sgd"] = setting("sgd", "plain gradient descent")
    lr: float = setting(0.1, "learning rate", above=0)
    decay_step: int | None = setting(None, "step of the drop; null: half of steps", at_least=1)
    decay_factor: float = setting(0.1, "lr is multiplied by it", above=0, at_most=1)
    momentum: float = setting(0.0, "share of the last step kept", at_least=0, below=1)

    def __post_init__(self) -> None:
        if self.decay_step is not None and self.decay_step >= self.steps:
            raise ConfigError(
                f"optim.decay_step={self.decay_step} is never reached in optim.steps={self.steps}.",
                value=self.decay_step,
                cure="Give a step below optim.steps, or null for half of it.",
            )


@dataclass(frozen=True)
class AdamW(Optim):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), warmed up and decayed."""

    name: Literal["adamw"] = setting("adamw", "Adam with decoupled weight decay")
    lr: float = setting(0.01, "peak learning rate", above=0)
    beta1: float = setting(0.9, "decay of the gradient's mean", at_least=0, below=1)
    beta2: float = setting(0.999, "decay of the gradient's square", at_least=0, below=1)
    warmup: float = setting(0.3, "share of steps up to the peak", at_least=0, below=1)
    schedule: Literal["one_cycle", "cosine"] = setting("one_cycle", "one_cycle | cosine")


@dataclass(frozen=True)
class Data:
    """Which lines, and how they are split."""

    name: Literal["given_names", "names", "text"] = setting("given_names", "given_names | …")
    path: str | None = setting(None, "the file of data=text")
    seed: int = setting(42, "of the shuffle before the split", at_least=0)
    split: tuple[float, float, float] = setting(
        (0.8, 0.1, 0.1), "shares of train, dev, test", above=0, below=1
    )
    duplicates: Literal["keep", "drop"] = setting("keep", "keep | drop repeated lines")

    def __post_init__(self) -> None:
        if abs(sum(self.split) - 1) > 1e-9:
            raise ConfigError(
                f"data.split={list(self.split)} sums to {sum(self.split):g}.",
                value=self.split,
                cure="Give three shares that sum to 1, such as [0.8,0.1,0.1].",
            )
        if (self.path is not None) != (self.name == "text"):
            raise ConfigError(
                f"data={self.name} with data.path={self.path or 'null'}.",
                value=self.path,
                cure="data=text data.path=FILE belong together; no other data take a path.",
            )


# What a run may be judged by: fields of result.json, and seconds_to, see Objective.
OBJECTIVES = ("dev_loss", "train_loss", "seconds", "steps_per_second", "parameters", "steps")


@dataclass(frozen=True)
class Objective:
    """A field of ``result.json``, or ``seconds_to`` with a level: the training time (seconds)
    after which an evaluation first had a dev loss of at most ``level``; infinite if none had."""

    field: str = "dev_loss"
    level: float | None = None


@dataclass(frozen=True)
class Config:
    """One run."""

    model: Model = dataclasses.field(default_factory=Model)
    optim: Sgd | AdamW = dataclasses.field(default_factory=Sgd)
    data: Data = dataclasses.field(default_factory=Data)
    wandb: Tracking = dataclasses.field(default_factory=Tracking)
    # the lecture's generator seed, so that its first loss, 17.7697, is reproduced
    seed: int = setting(2147483647, "of initialisation and minibatches", at_least=0, below=2**63)
    device: Literal["auto", "cpu", "cuda", "mps"] = setting("auto", "auto | cpu | cuda | mps")
    # one is the fastest at batch 32: 271-305 µs a step against 287-436 on two (measured)
    threads: int = setting(1, "of torch on the CPU", at_least=1, at_most=1024)
    eval_every: float = setting(
        1 / 50, "share of steps between dev losses", at_least=1e-4, at_most=1
    )
    objective: tuple[Objective, ...] = setting((Objective(),), "what a study optimises")
    resume: str | None = setting(None, "continue an interrupted run: its folder, or last")
    start_from: str | None = setting(None, "begin with the weights of a run: its folder, or last")


OPTIMISERS: Mapping[str, type[Sgd | AdamW]] = {"sgd": Sgd, "adamw": AdamW}


def from_hydra(node: DictConfig | Mapping[str, Any]) -> Config:
    """The config of a run from a composed node; raises ConfigError before any compute."""
    plain = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    fields = cast(dict[str, Any], dict(plain))  # type: ignore[arg-type]  # keys are texts
    optim = fields.pop("optim", {"name": "sgd"})
    if not isinstance(optim, Mapping) or optim.get("name") not in OPTIMISERS:
        name = str(optim.get("name")) if isinstance(optim, Mapping) else str(optim)
        cure = f"Known: {', '.join(OPTIMISERS)}.{did_you_mean(name, OPTIMISERS)}"
        raise ConfigError(f"optim.name={name} is unknown.", value=name, cure=cure)
    objective = tuple(_objectives(fields.pop("objective", "dev_loss")))
    config = dataclasses.replace(build(Config, fields), objective=objective)
    if config.data.path is not None:  # a run is resumed and sampled from other folders, too
        path = str(Path(config.data.path).expanduser().absolute())
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=path))
    return dataclasses.replace(config, optim=build(OPTIMISERS[optim["name"]], optim, "optim."))


def _objectives(given: Any) -> Iterator[Objective]:
    """``dev_loss``, ``{seconds_to: 2.17}``, or a list of such."""
    for one in given if isinstance(given, list) and given else [given]:
        if one in OBJECTIVES:
            yield Objective(one)
        elif isinstance(one, Mapping) and list(one) == ["seconds_to"] and _is_level(one):
            yield Objective("seconds_to", float(one["seconds_to"]))
        else:
            near = did_you_mean(str(one), [*OBJECTIVES, "seconds_to"])
            cure = f"Give a list of: {', '.join(OBJECTIVES)}, {{seconds_to: 2.17}}.{near}"
            raise ConfigError(f"objective={one} is unknown.", value=one, cure=cure)


def _is_level(one: Mapping[str, Any]) -> bool:
    level = one["seconds_to"]
    return type(level) in (int, float) and math.isfinite(level)


def to_plain(config: Config) -> dict[str, Any]:
    """The config as nested dicts and lists; ``from_hydra`` gives the same config back."""
    objective = [
        one.field if one.level is None else {one.field: one.level} for one in config.objective
    ]
    # one alone stands without a list, which Hydra would not let {seconds_to: …} replace
    plain = objective[0] if len(objective) == 1 else objective
    return {**_plain(dataclasses.asdict(config)), "objective": plain}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, tuple) else value


def help_text(*, _root_: DictConfig) -> str:
    """A line for each key of the composed config: its value and what it is.

    A group's ``name`` is not among them: it follows from the option that was taken.
    """
    from sweepmore.cli import dotted  # loads Hydra, which a notebook does not need

    plain = cast(dict[str, Any], OmegaConf.to_container(_root_))
    optim = OPTIMISERS.get(plain["optim"].get("name"), Sgd)
    records = {"": Config, "model.": Model, "optim.": optim, "data.": Data, "wandb.": Tracking}
    helps = {
        f"{group}{field.name}": field.metadata.get("help", "")
        for group, record in records.items()
        for field in dataclasses.fields(record)
        if field.name != "name" and (group or f"{field.name}." not in records)
    }
    groups = {"", *(group[:-1] for group in records)}
    now = dotted({key: plain[key] for key in plain if key in groups or key in helps})
    shown = {f"{key}={_words(now[key])}": helps[key] for key in helps if key in now}
    lines = [f"  {setting:<30}  {help}".rstrip() for setting, help in shown.items()]
    return "\n".join(lines).replace("$", "$$")  # $ is special in Hydra's templates


def _words(value: Any) -> str:
    """A value as it is typed on the command line."""
    return "null" if value is None else str(value).replace("'", "").replace(", ", ",")


def register_defaults() -> None:
    """Give Hydra the defaults of these records as the options that conf/ builds upon."""
    from hydra.core.config_store import ConfigStore

    OmegaConf.register_new_resolver("nplm.help", help_text, replace=True)
    store = ConfigStore.instance()
    groups = ("model", "optim", "data", "wandb")
    own = {key: value for key, value in to_plain(Config()).items() if key not in groups}
    store.store(name="run", group="defaults", package="_global_", node=own)
    for group, record in (("model", Model()), ("optim", Sgd()), ("optim", AdamW()),
                          ("data", Data()), ("wandb", Tracking())):  # fmt: skip
        node = _plain(dataclasses.asdict(record))
        store.store(name=node.get("name", group), group=f"defaults/{group}", node=node)
