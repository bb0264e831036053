"""How a run goes and how it ended: a report, the result, and what ``result.json`` holds of it.

Importing this loads no torch: ``train.py`` reads its arguments first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sweepmore.runs.record import Status
from sweepmore.typed import build

if TYPE_CHECKING:
    from nplm.config import Config
    from nplm.data import Splits
    from nplm.model import LanguageModel


@dataclass(frozen=True)
class Progress:
    """Where a run stands after ``step`` steps. Losses are in nats per token.

    ``minibatch_loss`` is the mean over the steps since the last report, ``smoothed_loss`` its
    exponential average; ``dev_loss`` and ``train_loss``, over the whole splits, are there at
    evaluations. ``seconds`` counts training without evaluations, reports and checkpoints.
    """

    step: int
    lr: float
    seconds: float
    minibatch_loss: float | None = None
    smoothed_loss: float | None = None
    dev_loss: float | None = None
    train_loss: float | None = None


@dataclass(frozen=True)
class Result:
    """How a run ended. ``signum`` says by which signal it was interrupted."""

    status: Status
    reason: str | None
    model: LanguageModel
    steps: int
    seconds: float
    dev_loss: float | None
    train_loss: float | None
    signum: int | None = None
    # before the net was mixed with counting
    net_dev_loss: float | None = None
    net_train_loss: float | None = None


@dataclass(frozen=True)
class DataFacts:
    """Which split a result belongs to; ``dev_in_train`` counts dev lines that appear in train."""

    name: str
    fingerprint: str
    train_examples: int
    dev_examples: int
    dev_in_train: int


@dataclass(frozen=True)
class MixFacts:
    """A net mixed with counting: counting's weight and order, and the losses of the net alone."""

    weight: float
    order: int
    net_dev_loss: float | None
    net_train_loss: float | None


@dataclass(frozen=True)
class EnsembleFacts:
    """An ensemble: how many members it has, and the mean of their own dev losses."""

    members: int
    member_dev_loss: float


@dataclass(frozen=True)
class Estimate:
    """A mean over tokens, in nats, with its 95 % bootstrap interval over lines."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Beside:
    """Another run's model in the same look: its losses on the same lines, in nats per token.

    ``difference`` is the loss of the look's own model less this one's.
    """

    run: str
    parameters: int
    loss: Estimate
    unseen: Estimate | None
    fresh: Estimate | None
    difference: Estimate


@dataclass(frozen=True)
class TestResult:
    """What one look at the test lines gives. Losses are in nats per token.

    ``unseen`` is the loss over the lines that appear in neither train nor dev; ``counting`` is
    Kneser-Ney's on the same tokens, and ``difference`` the net's loss less that. ``fresh`` is the
    loss over the unseen lines that are not among the dev lines on which the settings were chosen
    either: None where no run was named that had those, or no line is left.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    lines: int
    tokens: int
    loss: Estimate
    bits_per_token: float
    perplexity: float
    unseen_lines: int
    unseen: Estimate | None
    counting: Estimate
    counting_order: int
    difference: Estimate
    fresh_lines: int | None = None
    fresh: Estimate | None = None
    beside: tuple[Beside, ...] = ()

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> TestResult:
        """Return the result that ``as_json`` recorded; ConfigError where a value has another
        type."""
        return build(cls, recorded, "test.")

    def as_json(self) -> dict[str, Any]:
        """Return plain values, which the ledger keeps; what was not asked for is absent."""
        fields = asdict(self)
        if self.fresh_lines is None:
            del fields["fresh_lines"], fields["fresh"]
        if not self.beside:
            del fields["beside"]
        return fields


@dataclass(frozen=True)
class TestFacts:
    """The section ``test`` of ``result.json``, which a look adds.

    ``look`` is its number, 1 for the first one at this split; ``claimed`` is its time in UTC, and
    ``reason`` says why the split was looked at again.
    """

    __test__ = False

    look: int
    claimed: str
    reason: str | None
    result: TestResult

    def as_json(self) -> dict[str, Any]:
        """Return plain values in the order of the schema, which nests no ``result``."""
        about = {"look": self.look, "claimed": self.claimed, "reason": self.reason}
        return {**about, **self.result.as_json()}


@dataclass(frozen=True)
class Summary:
    """The fields of ``result.json``, as docs/result.schema.json publishes them, in their order.

    ``test`` is not among them, because a run must not know it: a look adds ``TestFacts`` later.

    Losses are in nats per token; ``dev_perplexity`` is None where no float holds it.
    """

    status: Status
    reason: str | None
    dev_loss: float | None
    dev_perplexity: float | None
    train_loss: float | None
    steps: int
    seconds: float
    steps_per_second: float | None
    parameters: int
    seed: int
    data: DataFacts
    mix: MixFacts | None = None
    ensemble: EnsembleFacts | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain values; ``mix`` and ``ensemble`` are absent from a run that has neither."""
        fields = asdict(self)
        absent = [name for name in ("mix", "ensemble") if fields[name] is None]
        return {name: fields[name] for name in fields if name not in absent}


def summary(config: Config, splits: Splits, result: Result) -> Summary:
    """Return what is recorded of a run of ``config`` on ``splits`` that ended with ``result``."""
    return Summary(
        status=result.status,
        reason=result.reason,
        dev_loss=result.dev_loss,
        dev_perplexity=None if result.dev_loss is None else finite_perplexity(result.dev_loss),
        train_loss=result.train_loss,
        steps=result.steps,
        seconds=result.seconds,
        steps_per_second=result.steps / result.seconds if result.seconds else None,
        parameters=result.model.size,
        seed=config.seed,
        data=_data_facts(splits),
        mix=_mix_facts(result),
        ensemble=_ensemble_facts(result),
    )


def result_json(config: Config, splits: Splits, result: Result) -> dict[str, Any]:
    """Return the content of ``result.json``."""
    return summary(config, splits, result).as_json()


def about_data(splits: Splits) -> dict[str, Any]:
    """Return the section ``data`` of ``result.json`` and of ``provenance.json``."""
    return asdict(_data_facts(splits))


def finite_perplexity(loss: float) -> float | None:
    """Return exp(``loss``), or None where no float holds it: JSON knows no infinity."""
    from nplm.vocabulary import perplexity

    value = perplexity(loss)
    return value if math.isfinite(value) else None


def _data_facts(splits: Splits) -> DataFacts:
    return DataFacts(
        name=splits.name,
        fingerprint=splits.fingerprint,
        train_examples=len(splits.train),
        dev_examples=len(splits.dev),
        dev_in_train=splits.dev_in_train,
    )


def _mix_facts(result: Result) -> MixFacts | None:
    from nplm.mixture import Mixture

    model = result.model
    if not isinstance(model, Mixture):
        return None
    order = model.ngram.shape.order
    return MixFacts(model.weight, order, result.net_dev_loss, result.net_train_loss)


def _ensemble_facts(result: Result) -> EnsembleFacts | None:
    from nplm.averaging import ensemble_in

    if (model := ensemble_in(result.model)) is None:
        return None
    losses = model.dev_losses
    return EnsembleFacts(len(losses), sum(losses) / len(losses))
