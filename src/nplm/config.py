"""Every setting of a run, as frozen records with its type, range and default.

``from_hydra`` is the one boundary between untyped mappings and these types. The defaults serve
``from nplm import Config``; conf/ holds the same values for Hydra (tests/nplm/test_conf.py compares
them), because Hydra's own schema cannot be a frozen dataclass. All settings are in one file, so
that their names, ranges and help lines can be compared at a glance.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from sweepmore.errors import ConfigError, did_you_mean
from sweepmore.runs.tracking import Tracking
from sweepmore.typed import build, setting

T = TypeVar("T")

# Nothing larger trains on one machine: these limits catch a typing error before memory does.
MAX_BLOCK, MAX_WIDTH, MAX_STEPS, MAX_BATCH = 256, 65_536, 10**9, 2**20


def _block_size() -> Any:
    help = "tokens of context before the predicted one"
    return setting(3, help, at_least=1, at_most=MAX_BLOCK)


@dataclass(frozen=True)
class Model:
    """The MLP of the lecture; its defaults are the lecture's first ones."""

    name: Literal["mlp"] = setting("mlp", "the lecture's multilayer perceptron")
    block_size: int = _block_size()
    emb: int = setting(2, "numbers that embed a token", at_least=1, at_most=MAX_WIDTH)
    hidden: int = setting(100, "units of a hidden layer", at_least=1, at_most=MAX_WIDTH)
    layers: int = setting(
        1, "hidden layers; 0: embeddings go straight to the output", at_least=0, at_most=3
    )
    activation: Literal["tanh", "relu", "gelu"] = setting("tanh", "tanh | relu | gelu")
    direct: bool = setting(False, "connect the embeddings to the output as well")
    dropout: float = setting(
        0.0, "share of hidden units left out at each step", at_least=0, below=1
    )
    emb_dropout: float = setting(
        0.0, "share of the embeddings' numbers left out at each step", at_least=0, below=1
    )
    init: Literal["lecture", "scaled"] = setting(
        "lecture", "lecture: standard normal | scaled: first loss about ln V"
    )

    def __str__(self) -> str:
        layers = "" if self.layers == 1 else f"{self.layers} × "
        units = "" if self.activation == "tanh" else f" {self.activation}"
        hidden = f"hidden {layers}{self.hidden}{units}" if self.layers else "no hidden layer"
        direct = ", direct" if self.direct else ""
        return f"mlp: {self.block_size} tokens of context, emb {self.emb}, {hidden}{direct}"


@dataclass(frozen=True)
class Bigram:
    """The model of the first lecture: it predicts the next token from the last one alone."""

    name: Literal["bigram"] = setting("bigram", "the next token from the last one alone")
    by: Literal["counts", "net"] = setting(
        "counts", "counts: numbers of pairs in train | net: one layer, trained by steps"
    )
    smoothing: float = setting(1.0, "added to every count", above=0)

    @property
    def block_size(self) -> int:
        return 1

    def __str__(self) -> str:
        how = f"by counts, each plus {self.smoothing:g}" if self.by == "counts" else "as a net"
        return f"bigram: {how}"


@dataclass(frozen=True)
class Ngram:
    """Modified Kneser–Ney smoothing (Chen & Goodman 1999)."""

    name: Literal["ngram"] = setting("ngram", "counting, by modified Kneser–Ney smoothing")
    order: int = setting(5, "n: it sees the last n-1 tokens", at_least=1, at_most=MAX_BLOCK + 1)
    discounts: Literal["closed", "tuned"] = setting(
        "closed", "closed: from counts of counts | tuned: on dev"
    )

    @property
    def block_size(self) -> int:
        return max(1, self.order - 1)

    def __str__(self) -> str:
        return f"ngram: Kneser-Ney of order {self.order}, discounts {self.discounts}"


@dataclass(frozen=True)
class Own:
    """The user's own class: a subclass of ``nplm.model.LanguageModel``."""

    name: Literal["own"] = setting("own", "your own class")
    target: str = setting("", "module.Class, importable from here")
    block_size: int = _block_size()
    settings: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, metadata={"help": "settings that the class reads from shape.settings"}
    )

    def __post_init__(self) -> None:
        if "." not in self.target.strip("."):
            raise ConfigError(
                f"model.target={self.target or 'null'} is not a class.",
                value=self.target,
                cure="Give module.Class, such as examples.gru.gru.GRU.",
            )

    def __str__(self) -> str:
        parts = [f"{self.block_size} tokens of context"]
        parts += [f"{key} {value}" for key, value in self.settings.items()]
        return f"{self.target}: {', '.join(parts)}"


@dataclass(frozen=True)
class Member:
    """A run whose model an ensemble averages: its folder, absolute or relative to that of the
    ensemble's own run, and the SHA-256 of its weights."""

    run: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Ensemble:
    """The mean of the probabilities of trained models. No ``model=`` chooses it: ``ensemble=``
    makes it. ``fingerprint`` is of the split from which all members learned, and ``block_size`` the
    longest of theirs."""

    name: Literal["ensemble"] = "ensemble"
    members: tuple[Member, ...] = ()
    block_size: int = _block_size()
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if not self.members:
            cure = "Give ensemble=STUDY or ensemble=[RUN,RUN], which averages what was trained."
            raise ConfigError("model.name=ensemble has no members.", value=(), cure=cure)

    def __str__(self) -> str:
        return f"ensemble of {len(self.members)}: {self.block_size} tokens of context"


AnyModel = Model | Bigram | Ngram | Own | Ensemble
# What model= can choose.
MODELS: Mapping[str, type[Model | Bigram | Ngram | Own]] = {
    "mlp": Model, "bigram": Bigram, "ngram": Ngram, "own": Own,
}  # fmt: skip


@dataclass(frozen=True)
class Optim:
    """The settings that every optimiser has."""

    steps: int = setting(200_000, "number of minibatches", at_least=1, at_most=MAX_STEPS)
    batch_size: int = setting(
        32, "examples or contexts per step, drawn with replacement", at_least=1, at_most=MAX_BATCH
    )
    weight_decay: float = setting(
        0.0, "per step, biases excepted: coupled (sgd), decoupled (adamw)", at_least=0
    )
    clip: float | None = setting(None, "largest norm of the gradient", above=0)
    ema: float = setting(
        0.0,
        "evaluate averaged weights: share of the average kept at each step",
        at_least=0,
        below=1,
    )
    draw: Literal["examples", "contexts", "full"] = setting(
        "examples",
        "examples | contexts, each with its counts | full: every context",
    )


@dataclass(frozen=True)
class Sgd(Optim):
    """Plain gradient descent, with the lecture's one drop of the learning rate or with the decay of
    Bengio et al. (2003)."""

    name: Literal["sgd"] = setting("sgd", "plain gradient descent")
    lr: float = setting(0.1, "learning rate", above=0)
    schedule: Literal["drop", "inverse"] = setting(
        "drop", "drop | inverse: lr / (1 + decay_rate · step)"
    )
    decay_rate: float = setting(1e-8, "for schedule=inverse (Bengio et al. 2003)", at_least=0)
    decay_step: int | None = setting(None, "step of the drop; null: half of steps", at_least=1)
    decay_factor: float = setting(0.1, "the drop multiplies lr by it", above=0, at_most=1)
    momentum: float = setting(0.0, "share of the last step that is kept", at_least=0, below=1)

    def __post_init__(self) -> None:
        if self.decay_step is not None and self.schedule == "inverse":
            raise ConfigError(
                f"optim.decay_step={self.decay_step} has no effect with optim.schedule=inverse.",
                value=self.decay_step,
                cure="Leave it out, or give optim.schedule=drop.",
            )
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
    """Which lines a run uses, and how they are split."""

    name: Literal["given_names", "names", "austen", "text"] = setting(
        "given_names", "given_names | …"
    )
    path: str | None = setting(None, "the file of data=text")
    seed: int = setting(42, "seed of the shuffle before the split", at_least=0)
    split: tuple[float, float, float] = setting(
        (0.8, 0.1, 0.1), "shares of train, dev, test", above=0, below=1
    )
    duplicates: Literal["keep", "drop"] = setting("keep", "keep | drop repeated lines")
    order: Literal["shuffled", "contiguous"] = setting(
        "shuffled", "before the split: shuffled | contiguous: first, next, last of the file"
    )
    unit: Literal["char", "word"] = setting("char", "a token: char | word, separated by blanks")
    lower: bool = setting(False, "turn capital letters into small ones")
    min_count: int = setting(1, "words that are rarer in train become <unk>", at_least=1)

    def __post_init__(self) -> None:
        if self.min_count > 1 and self.unit == "char":
            raise ConfigError(
                f"data.min_count={self.min_count} has no effect with data.unit=char.",
                value=self.min_count,
                cure="Only rare words are merged: give data.unit=word, or data.min_count=1.",
            )
        if abs(sum(self.split) - 1) > 1e-9:
            raise ConfigError(
                f"data.split={list(self.split)} sums to {sum(self.split):g}.",
                value=self.split,
                cure="Give three shares that sum to 1, such as [0.8,0.1,0.1].",
            )
        if (self.path is not None) != (self.name == "text"):
            raise ConfigError(
                f"data={self.name} cannot be used with data.path={self.path or 'null'}.",
                value=self.path,
                cure="Give both, as in data=text data.path=FILE; no other data take a path.",
            )


# The objectives that a study may have: fields of result.json; for seconds_to see Objective.
OBJECTIVES = ("dev_loss", "train_loss", "seconds", "steps_per_second", "parameters", "steps")


@dataclass(frozen=True)
class Objective:
    """A field of ``result.json``, or ``seconds_to`` with a level: the training time in seconds
    until an evaluation first has a dev loss of at most ``level``, infinite where none has."""

    field: str = "dev_loss"
    level: float | None = None

    def __str__(self) -> str:
        """Return the name with its unit, for figures."""
        units = {
            "dev_loss": "dev loss (nats/token)",
            "train_loss": "train loss (nats/token)",
            "seconds": "training (s)",
            "seconds_to": f"seconds to dev loss {self.level}",
        }
        return units.get(self.field, self.field)


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    model: AnyModel = dataclasses.field(default_factory=Model)
    optim: Sgd | AdamW = dataclasses.field(default_factory=Sgd)
    data: Data = dataclasses.field(default_factory=Data)
    wandb: Tracking = dataclasses.field(default_factory=Tracking)
    # the lecture's generator seed, so that its first loss, 17.7697, is reproduced
    seed: int = setting(
        2147483647, "seed of initialisation and minibatches", at_least=0, below=2**63
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = setting("auto", "auto | cpu | cuda | mps")
    # one is the fastest at batch 32: 271-305 µs a step against 287-436 on two (measured)
    threads: int = setting(1, "threads of torch on the CPU", at_least=1, at_most=1024)
    eval_every: float = setting(
        1 / 50, "share of the steps between evaluations", at_least=1e-4, at_most=1
    )
    mix: bool = setting(False, "mix the trained model with Kneser–Ney, weight chosen on dev")
    overfit_batch: bool = setting(False, "train on a single minibatch: a sanity check")
    objective: tuple[Objective, ...] = setting((Objective(),), "what a study optimises")
    resume: str | None = setting(None, "continue an interrupted run: its folder, or last")
    start_from: str | None = setting(None, "begin with the weights of a run: its folder, or last")
    ensemble: str | tuple[str, ...] | None = setting(
        None, "average the nets of a confirmed study (name, folder, last), or runs: [RUN,RUN]"
    )


OPTIMISERS: Mapping[str, type[Sgd | AdamW]] = {"sgd": Sgd, "adamw": AdamW}


# Groups whose files set anything: without their first line, Hydra puts what they set below the
# group's name.
GLOBAL = ("experiment", "sweeps")


def from_hydra(node: Mapping[str, Any]) -> Config:
    """Return the config of a run from nested mappings and lists, such as Hydra composes.

    Missing settings take their defaults. Raises ConfigError for an unknown key, a wrong type, a
    value out of its range, and settings that contradict each other.
    """
    fields = _plain(node)
    optim = _named("optim", fields.pop("optim", {"name": "sgd"}), OPTIMISERS)
    model = model_from(fields.pop("model", {"name": "mlp"}))
    objective = tuple(objectives(fields.pop("objective", "dev_loss")))
    for group in GLOBAL:
        if group in fields:
            problem = f"The file of {group}=… sets {group}.hydra and the like, not hydra."
            cure = "Begin it with the line `# @package _global_`, and override `/data`, not `data`."
            raise ConfigError(problem, value=fields[group], cure=cure)
    config = build(Config, fields)
    config = dataclasses.replace(config, model=model, optim=optim, objective=objective)
    _check_together(config)
    if config.data.path is not None:  # a run may be resumed and sampled from another folder
        path = str(Path(config.data.path).expanduser().absolute())
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=path))
    return config


def model_from(node: Any) -> AnyModel:
    """Return the record of ``model.…`` from the mapping in a config or a checkpoint; ConfigError
    where its ``name`` is unknown or a value is invalid."""
    if name_of(node) == "ensemble":
        return build(Ensemble, node, "model.")
    return _named("model", node, MODELS)


def _named(group: str, node: Any, records: Mapping[str, type[T]]) -> T:
    """Return the record that the group's ``name`` chooses."""
    name = name_of(node)
    if not isinstance(node, Mapping) or name not in records:
        cure = f"Give one of: {', '.join(records)}.{did_you_mean(name, records)}"
        raise ConfigError(f"{group}.name={name} is unknown.", value=name, cure=cure)
    return build(records[name], node, f"{group}.")


def name_of(node: Any) -> str:
    """Return the option that a composed group holds, or the value that replaced the group."""
    return str(node.get("name")) if isinstance(node, Mapping) else str(node)


def _check_together(config: Config) -> None:
    """Raise ConfigError for settings that contradict each other."""
    if config.mix and config.model.name not in ("mlp", "own", "ensemble"):
        cure = "Give model=mlp or model=own, or leave mix=true out."
        problem = f"mix=true mixes a net with counting, but model={config.model.name} counts."
        raise ConfigError(problem, value=config.model.name, cure=cure)
    if config.mix and config.overfit_batch:
        cure = "Give only one of them."
        raise ConfigError("mix=true and overfit_batch=true contradict each other.", value=True,
                          cure=cure)  # fmt: skip


def objectives(given: Any) -> Iterator[Objective]:
    """Yield the objectives that ``given`` names: ``dev_loss``, ``{seconds_to: 2.17}``, or a list of
    such. Raises ConfigError for an unknown one."""
    for name in given if isinstance(given, list) and given else [given]:
        if name in OBJECTIVES:
            yield Objective(name)
        elif isinstance(name, Mapping) and list(name) == ["seconds_to"] and _has_level(name):
            yield Objective("seconds_to", float(name["seconds_to"]))
        else:
            near = did_you_mean(str(name), [*OBJECTIVES, "seconds_to"])
            cure = f"Give one or a list of: {', '.join(OBJECTIVES)}, {{seconds_to: 2.17}}.{near}"
            raise ConfigError(f"objective={name} is unknown.", value=name, cure=cure)


def _has_level(objective: Mapping[str, Any]) -> bool:
    """Return whether the level of ``seconds_to`` is a finite number."""
    level = objective["seconds_to"]
    return type(level) in (int, float) and math.isfinite(level)


def to_plain(config: Config) -> dict[str, Any]:
    """Return the config as nested dicts and lists; ``from_hydra`` makes the same config of them."""
    names = [
        objective.field if objective.level is None else {objective.field: objective.level}
        for objective in config.objective
    ]
    # a single objective is no list: Hydra would not let {seconds_to: …} replace a list
    plain = names[0] if len(names) == 1 else names
    return {**_plain(dataclasses.asdict(config)), "objective": plain}


def _plain(value: Any) -> Any:
    """Return dicts and lists in place of all mappings and sequences, OmegaConf's included. A value
    that is missing there becomes ``???``, because reading it by its key would raise an error."""
    if isinstance(value, Mapping):
        return {key: _plain(value.get(key, "???")) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(member) for member in value]
    return value
