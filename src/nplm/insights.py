"""What can be told of a trained model: its embeddings, its hardest lines, what it repeats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nplm import sampling
from nplm.baselines import bigram_loss, kneser_ney
from nplm.config import Config, from_hydra
from nplm.data import Splits, load_splits
from nplm.losses import token_losses
from nplm.pictures import prepare_embeddings
from sweepmore.figures import Chart, Point
from sweepmore.page import Picture, Section, Table
from sweepmore.receipts import looks
from sweepmore.record import read_config, read_json
from sweepmore.report import Application

NEIGHBOURS, HARDEST, SAMPLES, SHOWN = 3, 12, 200, 24


def application(receipts: Path) -> Application:
    """nplm's part of a report; ``receipts`` is the folder of looks at test."""

    def warnings(folder: Path) -> list[str]:
        return warnings_of(folder, receipts)

    return Application(objectives, facts, warnings, sections)


def objectives(config: Mapping[str, Any]) -> list[str]:
    """Names with units, from a study's fixed config."""
    units = {"dev_loss": "dev loss (nats/token)", "train_loss": "train loss (nats/token)",
             "seconds": "training (s)"}  # fmt: skip
    named = []
    written = config.get("objective", ())
    for one in [written] if isinstance(written, (str, dict)) else written:
        one = {"field": one} if isinstance(one, str) else one
        field = one["field"]
        level = f" {one['level']} (s)" if one.get("level") is not None else ""
        named.append(f"seconds to{level}" if field == "seconds_to" else units.get(field, field))
    return named


def opened(folder: Path) -> tuple[Config, Splits, sampling.Trained]:
    config = from_hydra(read_config(folder))
    return config, load_splits(config.data, config.model.block_size), sampling.load_trained(folder)


def facts(folder: Path) -> list[tuple[str, str]]:
    """The run beside counting: a bigram, and modified Kneser–Ney that sees the same context."""
    config, splits, _ = opened(folder)
    loss = read_json(folder / "result.json")["dev_loss"]
    block = config.model.block_size
    bigram = bigram_loss(splits)
    contexts, targets = splits.train.contexts.numpy(), splits.train.targets.numpy()
    counted = kneser_ney(contexts, targets, len(splits.vocabulary), block + 1).loss(splits.dev)
    return [
        ("data", f"{splits.name} · {splits.fingerprint[:8]} · dev"),
        ("gain over counting pairs", f"{bigram - loss:.4f} ({bigram:.4f})"),
        (f"gain over Kneser–Ney, {block} tokens", f"{counted - loss:+.4f} ({counted:.4f})"),
    ]


def warnings_of(folder: Path, receipts: Path) -> list[str]:
    _, splits, _ = opened(folder)
    found = []
    if splits.dev_in_train:
        share = splits.dev_in_train / max(1, len(splits.dev.lines))
        found.append(
            f"{share:.1%} of the dev lines also stand in train: part of the gain is memory"
        )
    seen = looks(receipts, splits.fingerprint)
    found.append(f"this test split has had {seen} {'look' if seen == 1 else 'looks'}")
    return found


def sections(folder: Path) -> list[Section]:
    config, splits, trained = opened(folder)
    return [embeddings(trained, splits), hardest(trained, splits), samples(trained, splits, config)]


def embeddings(trained: sampling.Trained, splits: Splits) -> Section:
    chart = prepare_embeddings(trained.model, splits.vocabulary, "embeddings")
    points = [Point(x, y, token, "token") for (x, y), token in zip(chart.points, chart.tokens)]
    figure = Chart("embeddings", "the embedding of each token", *chart.axes, points=points)
    tokens = splits.vocabulary.tokens
    table = trained.model.C.detach().double()
    distances = torch.cdist(table, table).fill_diagonal_(math.inf)
    nearest = distances.argsort(1)[:, :NEIGHBOURS].tolist()
    rows = [[token, " ".join(tokens[k] for k in near)] for token, near in zip(tokens, nearest)]
    return Section(
        "Embeddings",
        "Tokens that are used alike lie together; distances in the table are in all dimensions.",
        [Picture([figure])],
        [Table(["token", "nearest first"], rows)],
    )


def line_losses(trained: sampling.Trained, splits: Splits) -> Tensor:
    """(lines,) nats per token of each dev line."""
    losses = token_losses(trained.model, splits.dev.contexts, splits.dev.targets)
    lengths = torch.tensor([len(splits.vocabulary.encode(line)) + 1 for line in splits.dev.lines])
    sums = torch.zeros(len(lengths)).index_add_(
        0, torch.repeat_interleave(torch.arange(len(lengths)), lengths), losses
    )
    return sums / lengths


def hardest(trained: sampling.Trained, splits: Splits) -> Section:
    losses = line_losses(trained, splits)
    worst = losses.argsort(descending=True)[:HARDEST].tolist()
    known = set(splits.train.lines)
    rows = [[splits.dev.lines[k], float(losses[k]), splits.dev.lines[k] in known] for k in worst]
    return Section(
        "The hardest dev lines", tables=[Table(["line", "nats/token", "in train"], rows)]
    )


def samples(trained: sampling.Trained, splits: Splits, config: Config) -> Section:
    drawn = sampling.sample(trained, SAMPLES, config.seed)
    known = set(splits.train.lines)
    share = sum(line in known for line in drawn) / len(drawn)
    return Section(
        "What it writes",
        f"{share:.0%} of {SAMPLES} samples stand in train (*).",
        tables=[Table(["", "", "", ""], _in_rows([f"{s}{' *' * (s in known)}" for s in drawn], 4))],
    )


def _in_rows(words: Sequence[str], width: int) -> list[Sequence[str]]:
    return [words[k : k + width] for k in range(0, SHOWN, width)]
