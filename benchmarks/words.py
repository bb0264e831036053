"""The paper's task: training and evaluation with 17,000 words, and where the time goes.

``python -m benchmarks.words``
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from statistics import median
from unittest import mock

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.breakdown import product_rates
from benchmarks.common import machine, spread
from nplm import training
from nplm.config import Config, Data, Model, Sgd
from nplm.data import Splits, load_splits
from nplm.gradients import by_autograd
from nplm.losses import split_loss
from nplm.minibatches import drawing
from nplm.optim import learning_rate
from nplm.state import begin

# The boundary and <unk> make it 17,000, the size of the paper's Brown vocabulary (16,383) and more.
WORDS, TOKENS, LINE = 16_998, 20_000, 20
BATCH, STEPS, ROUNDS, THREADS = 128, 80, 5, 2
# Operations with a smaller share of the time are one row.
SMALLEST = 0.03


def corpus(folder: Path) -> Splits:
    """Lines of words of Zipf's frequencies, every word once at least among the train lines."""
    generator, words = random.Random(0), [f"w{k}" for k in range(WORDS)]
    drawn = generator.choices(words, [1 / (k + 1) for k in range(WORDS)], k=TOKENS)
    drawn = generator.sample(words, WORDS) + drawn
    lines = [" ".join(drawn[k : k + LINE]) for k in range(0, len(drawn), LINE)]
    path = folder / "words.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = Data(name="text", path=str(path), unit="word", order="contiguous")
    return load_splits(data, block_size=4)


def configured(direct: bool) -> Config:
    model = Model(block_size=4, emb=30, hidden=60, direct=direct, init="scaled")
    optim = Sgd(steps=STEPS, batch_size=BATCH, lr=0.1, schedule="inverse")
    return Config(model=model, optim=optim, device="cpu", threads=THREADS, eval_every=1)


def rates(config: Config, splits: Splits) -> list[float]:
    """Training examples a second, of ``fit`` from call to return without its evaluations."""

    def rate() -> float:
        began = time.perf_counter()
        result = training.fit(config, splits)
        assert result.status == "ok", result.reason
        return STEPS * BATCH / (time.perf_counter() - began)

    with mock.patch("nplm.training.split_loss", return_value=0.0):
        rate()  # warms up
        return [rate() for _ in range(ROUNDS)]


def operations(config: Config, splits: Splits) -> str:
    """A table of where a step's time goes, as torch.profiler sees it."""
    state = begin(config, splits)
    batch = drawing(config.optim, splits.train, len(splits.vocabulary))(STEPS, state.generator)
    gradients_of = by_autograd(state.model, torch.Generator())

    def train() -> None:
        for step in range(STEPS):
            _, gradients = gradients_of(*batch(step))
            state.optimiser.step(gradients, learning_rate(config.optim, step))

    train()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        train()
    rows = sorted(profiled.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    shown = [row for row in rows if row.self_cpu_time_total >= SMALLEST * total]
    body = [
        f"| `{row.key}` | {row.count / STEPS:.0f} | {row.self_cpu_time_total / STEPS / 1e3:.2f} ms "
        f"| {row.self_cpu_time_total / total:.0%} |"
        for row in shown
    ]
    rest = 1 - sum(row.self_cpu_time_total for row in shown) / total
    head = ["| operation | calls a step | time | share |", "|---|---|---|---|"]
    return "\n".join([*head, *body, f"| the others | | | {rest:.0%} |"])


def evaluations(config: Config, splits: Splits) -> list[float]:
    """Distinct contexts a second, of the loss of train."""
    model, found = begin(config, splits).model, []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        split_loss(model, splits.train)
        found.append(len(splits.train.counts.contexts) / (time.perf_counter() - began))
    return found


def report() -> str:
    """Markdown."""
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        splits = corpus(Path(folder))
    lines = ["| SGD, emb 30, hidden 60, context 4 | training examples a second, median (min – max) "
             "| products | share of the products' own rate |", "|---|---|---|---|"]  # fmt: skip
    products = THREADS * median(product_rates_of_one_thread())
    for direct in (False, True):
        config = configured(direct)
        low, middle, high = spread(rates(config, splits))
        mega = flop(config, len(splits.vocabulary)) / 1e6
        lines.append(
            f"| direct connections: {'yes' if direct else 'no'} | {middle:,.0f} ({low:,.0f} – "
            f"{high:,.0f}) | {mega:.1f} MFLOP an example | {middle * mega / 1e3 / products:.0%} |"
        )
    low, middle, high = spread(evaluations(configured(False), splits))
    return "\n".join(
        [
            f"{len(splits.vocabulary):,} words; batches of {BATCH}, {THREADS} threads, median of "
            f"{ROUNDS} × {STEPS} steps of fit without its evaluations. The words are drawn with "
            "Zipf's frequencies: what is learnt does not change what a step costs.",
            "",
            *lines,
            "",
            f"Evaluation: {middle:,.0f} distinct contexts a second ({low:,.0f} – {high:,.0f}), "
            "without direct connections, in chunks of 16 MiB of logits.",
            "",
            "Where a step's time goes, without direct connections:",
            "",
            operations(configured(False), splits),
        ]
    )


def product_rates_of_one_thread() -> list[float]:
    """GFLOP/s; torch's number of threads is as before."""
    torch.set_num_threads(1)
    found = product_rates()
    torch.set_num_threads(THREADS)
    return found


def flop(config: Config, size: int) -> int:
    """Of an example's matrix products: each layer once forward and twice backward."""
    shape = config.model
    assert isinstance(shape, Model)
    width = shape.block_size * shape.emb
    layers = width * shape.hidden + shape.hidden * size + (width * size if shape.direct else 0)
    return 3 * 2 * layers


if __name__ == "__main__":
    print(report())
    print(machine())
