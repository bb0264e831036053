"""What can be told of a trained model: its embeddings, its hardest lines, what it repeats."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nplm import sampling
from nplm.app.application import describe
from nplm.app.looks import looks_at
from nplm.baselines import pairs
from nplm.config import Config, from_hydra
from nplm.data import Splits, load_splits
from nplm.estimates import Floats, bootstrap, line_sums, line_tokens
from nplm.kneser_ney import kneser_ney
from nplm.losses import token_losses
from nplm.result import Estimate
from nplm.run_figures import MOST_DRAWN, prepare_embeddings
from nplm.vocabulary import Vocabulary
from sweepmore.report.additions import Additions, Results
from sweepmore.report.chart import Chart, Point
from sweepmore.report.document import Picture, Section, Table
from sweepmore.runs.files import read_json
from sweepmore.runs.record import read_config
from sweepmore.wording import bounds, decimals, plural

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

# Counts of more tokens than this cannot be read in one figure.
MOST_TOKENS = 40
# Tokens among which neighbours are looked for, in the vocabulary's order (guess).
NEAR = 1_000
COLUMNS, WIDEST = 4, 60  # of samples, and characters of the longest that has a column
NEIGHBOURS, HARDEST, SAMPLES, SHOWN = 3, 12, 200, 24


def additions(root: Path, url: URL | None) -> Additions:
    """nplm's part of a report; ``root`` is the folder of its scripts and of the receipts of looks
    at test, ``url`` the studies' database, which holds rows of them; None where there is none."""
    receipts = root / "sweeps" / "looks"

    def warnings(folder: Path) -> list[str]:
        _, splits, _ = opened(folder)
        seen = looks_at(splits, receipts, url)
        return [*warnings_of(folder), f"this test split has had {seen}"]

    return dataclasses.replace(
        RECORDED, facts=facts, warnings=warnings, sections=sections, scripts=root
    )


def numbers(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a mixture is without counting, from its ``result.json``; of any other run nothing."""
    mix = result.get("mix")
    if mix is None or mix["net_dev_loss"] is None:
        return []
    train = "–" if mix["net_train_loss"] is None else decimals(mix["net_train_loss"])
    told = f"dev {decimals(mix['net_dev_loss'])}, train {train}"
    told += f" ({mix['weight']:.0%} of the mixture is counting, of order {mix['order']})"
    return [("net alone", told)]


def note(results: Results) -> str:
    """Whose curves are those of a part of the model, by the name and result of each run."""
    mixtures = " and ".join(name for name, result in results if result.get("mix"))
    return f"Of {mixtures} the curves are the net's alone." if mixtures else ""


# What needs neither the data nor the weights of a run.
RECORDED = Additions(describe, numbers, note)


def opened(folder: Path) -> tuple[Config, Splits, sampling.Trained]:
    config = from_hydra(read_config(folder))
    return config, load_splits(config.data, config.model.block_size), sampling.load_trained(folder)


def facts(folder: Path) -> list[tuple[str, str]]:
    """The run's number on test, where it has one, and the run beside counting on the dev lines,
    with 95 % intervals."""
    _, splits, _ = opened(folder)
    dev = splits.dev
    found = [
        ("data", f"{splits.name} · dev: {plural(len(dev.lines), 'line')}, {len(dev):,} tokens")
    ]
    result = read_json(folder / "result.json")
    if (perplexity := result.get("dev_perplexity")) is not None:
        found.append(("dev perplexity", f"{perplexity:.2f}"))
    test = result.get("test")
    if test is not None:
        loss = Estimate(**test["loss"])
        told = bounds(loss.mean, loss.low, loss.high)
        found.insert(0, (f"test loss (nats/token), look {test['look']}", told))
    for context, gain in gains(folder):
        interval = bounds(gain.mean, gain.low, gain.high, sign="+")
        found.append((f"gain over Kneser–Ney, {context} of context", interval))
    return found


@functools.lru_cache(maxsize=2)  # facts and warnings of one page, or of two runs side by side
def gains(folder: Path) -> list[tuple[str, Estimate]]:
    """By how many nats per token the run beats counting, and how much context that sees: the
    frequencies of pairs, and modified Kneser–Ney with as much context as the net."""
    config, splits, trained = opened(folder)
    dev, block, size = splits.dev, config.model.block_size, len(splits.vocabulary)
    contexts, targets = splits.train.contexts.numpy(), splits.train.targets.numpy()
    net = line_losses(trained, splits)
    tokens = line_tokens(dev)
    found = []
    for order in sorted({2, block + 1}):
        counted = kneser_ney(contexts, targets, size, order)
        nats = counted.losses(dev.contexts.numpy(), dev.targets.numpy())
        seen = "1 token" if order == 2 else f"{block} tokens"
        found.append((seen, bootstrap(line_sums(nats, dev) - net, tokens, seed=0)))
    return found


def warnings_of(folder: Path) -> list[str]:
    _, splits, _ = opened(folder)
    found = [
        f"counting with {context} of context (Kneser–Ney) is better on dev than this model, by "
        f"{decimals(-gain.mean, gain.low)} nats/token"
        for context, gain in gains(folder)
        if gain.mean < 0
    ]
    if splits.dev_in_train:
        share = splits.dev_in_train / max(1, len(splits.dev.lines))
        found.append(
            f"{share:.1%} of the dev lines also stand in train: part of the gain is memory"
        )
    lines = [*splits.train.lines, *splits.dev.lines]
    if again := len(lines) - len(set(lines)):
        found.append(
            f"{again:,} of the {len(lines):,} train and dev lines repeat another one: "
            "data.duplicates=drop keeps one of each"
        )
    return found


def sections(folder: Path) -> list[Section]:
    config, splits, trained = opened(folder)
    table = trained.model.embeddings
    found = [] if table is None else [embeddings(table.detach().double(), splits)]
    found += [hardest(trained, splits), samples(trained, splits, config)]
    if len(splits.vocabulary) <= MOST_TOKENS:
        found.append(bigrams(splits))
    return found


def bigrams(splits: Splits) -> Section:
    """How often each token follows each, as the first lecture draws it."""
    counts = pairs(splits.train, len(splits.vocabulary)).long()
    title = f"{splits.name}, train: n = {len(splits.train):,} pairs"
    chart = Chart("bigrams", title, "next token", "token",
                  counts=counts.tolist(), categories=splits.vocabulary.tokens)  # fmt: skip
    boundary = splits.vocabulary.unit.boundary
    text = f"What a model sees that looks back one token only; '{boundary}' is the boundary."
    return Section("What follows what", text, [Picture([chart])])


def embeddings(table: Tensor, splits: Splits) -> Section:
    """``table`` (V, m)."""
    chart = prepare_embeddings(table, splits.vocabulary, "embeddings")
    points = [Point(x, y, token, "labelled") for (x, y), token in zip(chart.points, chart.tokens)]
    title = f"the embedding of each token, n = {len(points)}"
    if len(points) < len(table):
        title = f"the embeddings of the first {len(points)} of {len(table):,} tokens"
    figure = Chart("embeddings", title, *chart.axes, points=points, better=None)
    rows = [[token, " ".join(near)] for token, near in neighbours(table, splits.vocabulary)]
    return Section(
        "Embeddings",
        "Tokens that are used alike lie together; distances in the table are in all dimensions.",
        [Picture([figure])],
        [Table(["token", "nearest first"], rows)],
    )


def neighbours(
    table: Tensor, vocabulary: Vocabulary, number: int = NEIGHBOURS
) -> list[tuple[str, list[str]]]:
    """The first ``MOST_DRAWN`` tokens with those whose embeddings (V, m) are nearest, of the
    first ``NEAR`` ones: words that train hardly has lie where they were drawn."""
    tokens, table = vocabulary.tokens, table[:NEAR]
    distances = torch.cdist(table[:MOST_DRAWN], table).fill_diagonal_(math.inf)
    nearest = distances.argsort(1)[:, : min(number, len(table) - 1)].tolist()  # itself is the last
    return [(token, [tokens[k] for k in near]) for token, near in zip(tokens, nearest)]


def line_losses(trained: sampling.Trained, splits: Splits) -> Floats:
    """(lines,) nats of each dev line, its end among them."""
    losses = token_losses(trained.model, splits.dev.contexts, splits.dev.targets)
    return line_sums(losses.double().numpy(), splits.dev)


def hardest(trained: sampling.Trained, splits: Splits) -> Section:
    lines, known = splits.dev.lines, set(splits.train.lines)
    nats = line_losses(trained, splits) / line_tokens(splits.dev)
    rows = [
        [lines[k], float(nats[k]), lines[k] in known] for k in np.argsort(-nats)[:HARDEST].tolist()
    ]
    return Section(
        "The hardest dev lines", tables=[Table(["line", "nats/token", "in train"], rows)]
    )


def samples(trained: sampling.Trained, splits: Splits, config: Config) -> Section:
    drawn = sampling.sample(trained, SAMPLES, config.seed)
    known = splits.vocabulary.spelt(splits.train.lines)
    share = sum(line in known for line in drawn) / len(drawn)
    return Section(
        "What it writes",
        f"{share:.0%} of {SAMPLES} samples stand in train (*).",
        tables=[_in_columns([f"{s}{' *' * (s in known)}" for s in drawn[:SHOWN]])],
    )


def _in_columns(lines: Sequence[str]) -> Table:
    """Names side by side, sentences one below the other."""
    width = COLUMNS if max(map(len, lines)) <= WIDEST else 1
    rows = [lines[k : k + width] for k in range(0, len(lines), width)]
    return Table([""] * width, rows)
