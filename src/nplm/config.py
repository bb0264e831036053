"""Every setting of a run, as frozen records with its type, range and default.

``from_hydra`` is the one boundary between untyped mappings and these types. The defaults serve
``from nplm import Config``; conf/ holds the same values for Hydra (tests/nplm/test_conf.py compares
them), because Hydra's own schema cannot be a frozen dataclass.
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

# Beyond these nothing trains on one machine; they catch a slip of the keyboard before memory does.
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
    layers: int = setting(1, "hidden; 0: straight to the output", at_least=0, at_most=3)
    activation: Literal["tanh", "relu", "gelu"] = setting("tanh", "tanh | relu | gelu")
    direct: bool = setting(False, "connect the embeddings to the output, too")
    dropout: float = setting(0.0, "share of hidden units left out at a step", at_least=0, below=1)
    emb_dropout: float = setting(0.0, "the same of the embeddings' numbers", at_least=0, below=1)
    init: Literal["lecture", "scaled"] = setting(
        "lecture", "lecture: standard normal | scaled: first loss about ln V"
    )

    def __str__(self) -> str:
        layers = "" if self.layers == 1 else f"{self.layers} × "
        units = "" if self.activation == "tanh" else f" {self.activation}"
        hidden = f"hidden {layers}{self.hidden}{units}" if self.layers else "nothing hidden"
        direct = ", direct" if self.direct else ""
        return f"mlp: {self.block_size} tokens of context, emb {self.emb}, {hidden}{direct}"


@dataclass(frozen=True)
class Bigram:
    """The first lecture's: the next token from the last one alone."""

    name: Literal["bigram"] = setting("bigram", "the next token from the last one alone")
    by: Literal["counts", "net"] = setting(
        "counts", "counts: how often in train | net: one layer, trained by steps"
    )
    smoothing: float = setting(1.0, "added to every count", above=0)

    @property
    def block_size(self) -> int:
        return 1

    def __str__(self) -> str:
        how = f"by counts, {self.smoothing:g} added" if self.by == "counts" else "as a net"
        return f"bigram: {how}"


@dataclass(frozen=True)
class Ngram:
    """Modified Kneser–Ney smoothing (Chen & Goodman 1999)."""

    name: Literal["ngram"] = setting("ngram", "counting, by modified Kneser–Ney smoothing")
    order: int = setting(5, "n: it sees the n-1 tokens before", at_least=1, at_most=MAX_BLOCK + 1)
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
    """A class of the user's: a subclass of ``nplm.model.LanguageModel``."""

    name: Literal["own"] = setting("own", "a class of yours")
    target: str = setting("", "module.Class, importable from here")
    block_size: int = _block_size()
    settings: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, metadata={"help": "what the class reads from shape.settings"}
    )

    def __post_init__(self) -> None:
        if "." not in self.target.strip("."):
            raise ConfigError(
                f"model.target={self.target or 'null'} is not a class.",
                value=self.target,
                cure="Give module.Class, such as examples.gru.gru.GRU.",
            )

    def __str__(self) -> str:
        told = ", ".join(f"{key} {value}" for key, value in self.settings.items())
        return f"{self.target}: {self.block_size} tokens of context{', ' if told else ''}{told}"


AnyModel = Model | Bigram | Ngram | Own
MODELS: Mapping[str, type[AnyModel]] = {
    "mlp": Model, "bigram": Bigram, "ngram": Ngram, "own": Own,
}  # fmt: skip


@dataclass(frozen=True)
class Optim:
    """What every optimiser has."""

    steps: int = setting(200_000, "minibatches in all", at_least=1, at_most=MAX_STEPS)
    batch_size: int = setting(
        32, "examples or contexts a step, drawn with replacement", at_least=1, at_most=MAX_BATCH
    )
    weight_decay: float = setting(
        0.0, "per step, not of biases: coupled (sgd), decoupled (adamw)", at_least=0
    )
    clip: float | None = setting(None, "the gradient's norm is cut to it", above=0)
    ema: float = setting(
        0.0, "evaluate averaged weights: share of the average kept a step", at_least=0, below=1
    )
    draw: Literal["examples", "contexts", "full"] = setting(
        "examples", "a minibatch: examples | contexts, each with all its counts | full: every one"
    )


@dataclass(frozen=True)
class Sgd(Optim):
    """Plain gradient descent: the lecture's, with one drop of the learning rate, or the paper's."""

    name: Literal["sgd"] = setting("sgd", "plain gradient descent")
    lr: float = setting(0.1, "learning rate", above=0)
    schedule: Literal["drop", "inverse"] = setting(
        "drop", "drop | inverse: lr / (1 + decay_rate · step)"
    )
    decay_rate: float = setting(1e-8, "of schedule=inverse (Bengio et al. 2003)", at_least=0)
    decay_step: int | None = setting(None, "step of the drop; null: half of steps", at_least=1)
    decay_factor: float = setting(0.1, "lr is multiplied by it", above=0, at_most=1)
    momentum: float = setting(0.0, "share of the last step kept", at_least=0, below=1)

    def __post_init__(self) -> None:
        if self.decay_step is not None and self.schedule == "inverse":
            raise ConfigError(
                f"optim.decay_step={self.decay_step} with optim.schedule=inverse.",
                value=self.decay_step,
                cure="Drop it, or take optim.schedule=drop.",
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
    """Which lines, and how they are split."""

    name: Literal["given_names", "names", "austen", "text"] = setting(
        "given_names", "given_names | …"
    )
    path: str | None = setting(None, "the file of data=text")
    seed: int = setting(42, "of the shuffle before the split", at_least=0)
    split: tuple[float, float, float] = setting(
        (0.8, 0.1, 0.1), "shares of train, dev, test", above=0, below=1
    )
    duplicates: Literal["keep", "drop"] = setting("keep", "keep | drop repeated lines")
    order: Literal["shuffled", "contiguous"] = setting(
        "shuffled", "before the split: shuffled | contiguous: first, next, last of the file"
    )
    unit: Literal["char", "word"] = setting("char", "a token: char | word, apart by blanks")
    lower: bool = setting(False, "capital letters become small ones")
    min_count: int = setting(1, "words that train has less often become <unk>", at_least=1)

    def __post_init__(self) -> None:
        if self.min_count > 1 and self.unit == "char":
            raise ConfigError(
                f"data.min_count={self.min_count} with data.unit=char.",
                value=self.min_count,
                cure="Only rare words are merged: take data.unit=word, or data.min_count=1.",
            )
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

    def __str__(self) -> str:
        """With its unit, for figures."""
        units = {
            "dev_loss": "dev loss (nats/token)",
            "train_loss": "train loss (nats/token)",
            "seconds": "training (s)",
            "seconds_to": f"seconds to dev loss {self.level}",
        }
        return units.get(self.field, self.field)


@dataclass(frozen=True)
class Config:
    """One run."""

    model: AnyModel = dataclasses.field(default_factory=Model)
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
    mix: bool = setting(False, "mix the trained model with Kneser–Ney, weighted on dev")
    overfit_batch: bool = setting(False, "train on one minibatch alone: a sanity check")
    objective: tuple[Objective, ...] = setting((Objective(),), "what a study optimises")
    resume: str | None = setting(None, "continue an interrupted run: its folder, or last")
    start_from: str | None = setting(None, "begin with the weights of a run: its folder, or last")


OPTIMISERS: Mapping[str, type[Sgd | AdamW]] = {"sgd": Sgd, "adamw": AdamW}


def from_hydra(node: Mapping[str, Any]) -> Config:
    """The config of a run from nested mappings and lists, such as Hydra composes.

    Missing settings take their defaults. Raises ConfigError for an unknown key, a wrong type, a
    value out of its range, and settings that contradict each other.
    """
    fields = _plain(node)
    optim = _named("optim", fields.pop("optim", {"name": "sgd"}), OPTIMISERS)
    model = model_from(fields.pop("model", {"name": "mlp"}))
    objective = tuple(objectives(fields.pop("objective", "dev_loss")))
    config = build(Config, fields)
    config = dataclasses.replace(config, model=model, optim=optim, objective=objective)
    _check_together(config)
    if config.data.path is not None:  # a run is resumed and sampled from other folders, too
        path = str(Path(config.data.path).expanduser().absolute())
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=path))
    return config


def model_from(node: Any) -> AnyModel:
    """The record of ``model.…``, as a config or a checkpoint has it."""
    return _named("model", node, MODELS)


def _named(group: str, node: Any, known: Mapping[str, type[T]]) -> T:
    """The record that the group's ``name`` chooses."""
    name = name_of(node)
    if not isinstance(node, Mapping) or name not in known:
        cure = f"Known: {', '.join(known)}.{did_you_mean(name, known)}"
        raise ConfigError(f"{group}.name={name} is unknown.", value=name, cure=cure)
    return build(known[name], node, f"{group}.")


def name_of(node: Any) -> str:
    """The option that a composed group holds; where a value replaced the group, that value."""
    return str(node.get("name")) if isinstance(node, Mapping) else str(node)


def _check_together(config: Config) -> None:
    """ConfigError for settings that contradict each other."""
    if config.mix and config.model.name not in ("mlp", "own"):
        cure = "Take model=mlp or model=own, or drop mix=true."
        problem = f"mix=true mixes a net with counting, but model={config.model.name} counts."
        raise ConfigError(problem, value=config.model.name, cure=cure)
    if config.mix and config.overfit_batch:
        cure = "Give one of them."
        raise ConfigError("mix=true and overfit_batch=true contradict each other.", value=True,
                          cure=cure)  # fmt: skip


def objectives(given: Any) -> Iterator[Objective]:
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
    """Dicts and lists in place of all mappings and sequences, OmegaConf's included, in which
    ``???`` is a value that is missing: read by its key, it would raise an error of theirs."""
    if isinstance(value, Mapping):
        return {key: _plain(value.get(key, "???")) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(member) for member in value]
    return value
