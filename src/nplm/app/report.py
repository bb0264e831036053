"""What a report shows of a trained model: its embeddings, its hardest lines, what it repeats."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nplm import sampling
from nplm.app import members
from nplm.app.looks import Looks, looks_at
from nplm.averaging import ensemble_in
from nplm.baselines import pairs
from nplm.config import Config, from_hydra
from nplm.data import Splits, load_splits
from nplm.estimates import Floats, bootstrap, line_sums, line_tokens
from nplm.kneser_ney import kneser_ney
from nplm.losses import token_losses
from nplm.result import Estimate
from nplm.run_figures import MOST_DRAWN, is_vowel, prepare_embeddings
from nplm.run_files import LOOKS
from nplm.vocabulary import Vocabulary
from sweepmore.report.chart import Chart, Point
from sweepmore.report.document import Picture, Section, Table
from sweepmore.runs.files import read_json
from sweepmore.runs.record import read_config
from sweepmore.wording import bounds, decimals, plural

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

# The most tokens of a figure of counts: more would be illegible.
MOST_TOKENS = 40
# Neighbours are searched among this many tokens, in the vocabulary's order (guess).
NEAR = 1_000
COLUMNS, WIDEST = 4, 60  # of samples; one column if the longest has more than 60 characters
NEIGHBOURS, HARDEST, SAMPLES, SHOWN = 3, 12, 200, 24


def opened(folder: Path) -> tuple[Config, Splits, sampling.Trained]:
    """Return config, splits and model of the run in ``folder``."""
    config = from_hydra(read_config(folder))
    return config, load_splits(config.data, config.model.block_size), sampling.load_trained(folder)


def facts(folder: Path) -> list[tuple[str, str]]:
    """Return rows of name and value: the loss on test, where the run has one, and its gains over
    counting on dev, with 95 % intervals."""
    _, splits, _ = opened(folder)
    dev = splits.dev
    rows = [("data", f"{splits.name} · dev: {plural(len(dev.lines), 'line')}, {len(dev):,} tokens")]
    result = read_json(folder / "result.json")
    if (perplexity := result.get("dev_perplexity")) is not None:
        rows.append(("dev perplexity", f"{perplexity:.2f}"))
    test = result.get("test")
    if test is not None:
        loss = Estimate(**test["loss"])
        interval = bounds(loss.mean, loss.low, loss.high)
        rows.insert(0, (f"test loss (nats/token), look {test['look']}", interval))
    for context, gain in gains(folder):
        interval = bounds(gain.mean, gain.low, gain.high, sign="+")
        rows.append((f"gain over Kneser–Ney, {context} of context", interval))
    return rows


@functools.lru_cache(maxsize=2)  # facts and warnings use them, and so do two runs side by side
def gains(folder: Path) -> list[tuple[str, Estimate]]:
    """Return by how many nats per token the run beats counting on dev, with the context that
    counting uses: one token, and as many as the model."""
    config, splits, trained = opened(folder)
    dev, block, size = splits.dev, config.model.block_size, len(splits.vocabulary)
    contexts, targets = splits.train.contexts.numpy(), splits.train.targets.numpy()
    net = line_losses(trained, splits)
    tokens = line_tokens(dev)
    gains = []
    for order in sorted({2, block + 1}):
        counted = kneser_ney(contexts, targets, size, order)
        nats = counted.losses(dev.contexts.numpy(), dev.targets.numpy())
        context = plural(order - 1, "token")
        gains.append((context, bootstrap(line_sums(nats, dev) - net, tokens, seed=0)))
    return gains


def chips(folder: Path, root: Path, url: URL | None) -> list[str]:
    """Return the run's data, and how many looks its test split has had; see ``looks_of``."""
    _, splits, _ = opened(folder)
    return [splits.name, f"{looks_of(folder, root, url)} at test"]


def looks_of(folder: Path, root: Path, url: URL | None) -> Looks:
    """Return the looks at the run's test split.

    They are counted by the receipts under ``root`` and by the rows of the database ``url``.
    """
    _, splits, _ = opened(folder)
    return looks_at(splits, root / LOOKS, url)


def clauses(folder: Path) -> list[str]:
    """Return how the run compares with the better way of counting, for a sentence about it.

    Where counting is better, ``warnings`` say so.
    """
    context, over = min(gains(folder), key=lambda row: row[1].mean)
    if over.mean < 0:
        return []
    if over.low <= 0:
        return [f"it is as good as counting with {context} of context"]
    return [f"it beats counting by {decimals(over.mean, over.low, places=3)}"]


def warnings(folder: Path) -> list[str]:
    """Return what makes the run's dev loss mean less than it seems to."""
    _, splits, _ = opened(folder)
    warnings = [
        f"counting with {context} of context (Kneser–Ney) beats this model on dev by "
        f"{decimals(-gain.mean, gain.low)} nats/token"
        for context, gain in gains(folder)
        if gain.mean < 0
    ]
    if splits.dev_in_train:
        share = splits.dev_in_train / max(1, len(splits.dev.lines))
        warnings.append(
            f"{share:.1%} of the dev lines also appear in train: part of the gain is memory"
        )
    lines = [*splits.train.lines, *splits.dev.lines]
    if again := len(lines) - len(set(lines)):
        warnings.append(
            f"{again:,} of the {len(lines):,} train and dev lines repeat another line: "
            "set data.duplicates=drop to keep one copy of each line"
        )
    return warnings


def sections(folder: Path) -> list[Section]:
    """Return the sections of the run in ``folder``."""
    config, splits, trained = opened(folder)
    table = trained.model.embeddings
    parts = [] if table is None else [embeddings(table.detach().double(), splits)]
    if (averaged := ensemble_in(trained.model)) is not None:
        parts.append(members.section(averaged, splits))
    parts += [hardest(trained, splits), samples(trained, splits, config)]
    if len(splits.vocabulary) <= MOST_TOKENS:
        parts.append(bigrams(splits))
    return parts


def bigrams(splits: Splits) -> Section:
    """Return a figure of how often each token follows each, as the first lecture draws it."""
    counts = pairs(splits.train, len(splits.vocabulary)).long()
    title = f"{splits.name}, train: n = {len(splits.train):,} pairs"
    chart = Chart("bigrams", title, "next token", "token",
                  counts=counts.tolist(), categories=splits.vocabulary.tokens)  # fmt: skip
    boundary = splits.vocabulary.unit.boundary
    text = f"All that a model with one token of context learns from; '{boundary}' is the boundary."
    caption = "The darker, the more often; a wide screen shows the numbers."
    return Section("What follows what", text, [Picture([chart], caption)])


def embeddings(table: Tensor, splits: Splits) -> Section:
    """Return a map of the embeddings ``table`` (V, m), and a table of nearest tokens."""
    chart = prepare_embeddings(table, splits.vocabulary, "embeddings")
    points = [
        Point(x, y, token, "accent" if is_vowel(token) else "labelled")
        for (x, y), token in zip(chart.points, chart.tokens)
    ]
    subtitle = f"n = {len(points)} tokens"
    if len(points) < len(table):
        subtitle = f"the first {len(points)} of {len(table):,} tokens"
    title = f"Two axes show {chart.explained:.0%} of the variance of the embeddings"
    figure = Chart("embeddings", title, *chart.axes, points=points, better=None, subtitle=subtitle)
    rows = [[token, " ".join(near)] for token, near in neighbours(table, splits.vocabulary)]
    return Section(
        "Embeddings",
        "Tokens with similar uses lie close together. The table compares all dimensions.",
        [Picture([figure], detail=chart.explained < 0.5)],
        [Table(["token", "nearest first"], rows)],
    )


def neighbours(
    table: Tensor, vocabulary: Vocabulary, number: int = NEIGHBOURS
) -> list[tuple[str, list[str]]]:
    """Return the first ``MOST_DRAWN`` tokens, each with the ``number`` tokens whose embeddings in
    ``table`` (V, m) are nearest. Only the first ``NEAR`` tokens are compared: rare words stay
    close to where they were initialised."""
    tokens, table = vocabulary.tokens, table[:NEAR]
    distances = torch.cdist(table[:MOST_DRAWN], table).fill_diagonal_(math.inf)
    nearest = distances.argsort(1)[
        :, : min(number, len(table) - 1)
    ].tolist()  # the token itself comes last
    return [(token, [tokens[k] for k in near]) for token, near in zip(tokens, nearest)]


def line_losses(trained: sampling.Trained, splits: Splits) -> Floats:
    """Return (lines,) the nats of each dev line, with its end."""
    losses = token_losses(trained.model, splits.dev.contexts, splits.dev.targets)
    return line_sums(losses.double().numpy(), splits.dev)


def hardest(trained: sampling.Trained, splits: Splits) -> Section:
    """Return the dev lines with the highest loss per token."""
    lines, lines_in_train = splits.dev.lines, set(splits.train.lines)
    nats = line_losses(trained, splits) / line_tokens(splits.dev)
    rows = [
        [lines[k], float(nats[k]), lines[k] in lines_in_train]
        for k in np.argsort(-nats)[:HARDEST].tolist()
    ]
    return Section(
        "The hardest dev lines", tables=[Table(["line", "nats/token", "in train"], rows)]
    )


def samples(trained: sampling.Trained, splits: Splits, config: Config) -> Section:
    """Return new lines, with a star on those that appear in train."""
    drawn = sampling.sample(trained, SAMPLES, config.seed)
    lines_in_train = splits.vocabulary.spelt(splits.train.lines)
    share = sum(line in lines_in_train for line in drawn) / len(drawn)
    return Section(
        "What it writes",
        f"{share:.0%} of {SAMPLES} samples appear in train{' (*)' if share else ''}.",
        tables=[_in_columns([f"{s}{' *' * (s in lines_in_train)}" for s in drawn[:SHOWN]])],
    )


def _in_columns(lines: Sequence[str]) -> Table:
    """Return a table with short lines side by side and long ones below each other."""
    width = COLUMNS if max(map(len, lines)) <= WIDEST else 1
    rows = [lines[k : k + width] for k in range(0, len(lines), width)]
    return Table([""] * width, rows)
