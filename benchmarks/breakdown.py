"""Where the time of a training step goes, operation by operation, and how far a step is from what
the machine's matrix products could do.

``python -m benchmarks.breakdown``
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from unittest import mock

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.common import lecture_data, spread
from nplm import recording
from nplm.config import Config, Model, Sgd
from nplm.data import load_splits
from nplm.gradients import Gradients, recorded
from nplm.minibatches import drawing
from nplm.optim import learning_rate
from nplm.state import begin

STEPS, ROUNDS = 5_000, 5
# A square product of this side is at the machine's full rate (512 and 2,048 give the same here).
SIDE = 1024
# Operations with a smaller share of the time are one row.
SMALLEST = 0.02
MICROSECONDS = 1e6


def product_rates() -> list[float]:
    """GFLOP/s of a square float32 matrix product on one thread."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    rates = []
    for _ in range(4 * ROUNDS):
        began = time.perf_counter()
        torch.mm(a, b)
        rates.append(2 * SIDE**3 / (time.perf_counter() - began) / 1e9)
    return rates[ROUNDS:]  # without the first ones, which warm up


def flop(shape: Model, batch: int, vocabulary: int) -> int:
    """Of a step's matrix products: each layer once forward and twice backward, 2·m·k·n each."""
    layers = shape.block_size * shape.emb * shape.hidden + shape.hidden * vocabulary
    return 3 * 2 * batch * layers


def shown_tanh(units: Tensor, numpy_tanh: Callable[[Tensor], Tensor] = recording.tanh) -> Tensor:
    """NumPy's tanh, as an operation that the profiler sees."""
    with record_function("numpy.tanh"):
        return numpy_tanh(units)


def report() -> str:
    """Markdown."""
    optim = Sgd(steps=STEPS)
    config = Config(
        model=Model(emb=10, hidden=200), optim=optim, data=lecture_data(), device="cpu", threads=1
    )
    torch.set_num_threads(1)
    splits = load_splits(config.data, config.model.block_size)
    state = begin(config, splits)
    batch = drawing(optim, splits.train, len(splits.vocabulary))(STEPS, state.generator)
    gradients_of = recorded(state.model, torch.Generator())

    def train(gradients_of: Gradients) -> float:
        """Microseconds a step."""
        began = time.perf_counter()
        for step in range(STEPS):
            _, gradients = gradients_of(*batch(step))
            state.optimiser.step(gradients, learning_rate(optim, step))
        return (time.perf_counter() - began) / STEPS * MICROSECONDS

    train(gradients_of)
    rates, times = product_rates(), [train(gradients_of) for _ in range(ROUNDS)]
    with mock.patch.object(recording, "tanh", shown_tanh):
        shown_gradients = recorded(state.model, torch.Generator())
        shown_gradients(*batch(0))
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        train(shown_gradients)
    assert isinstance(config.model, Model)
    products = flop(config.model, optim.batch_size, len(splits.vocabulary))
    rate, step = median(rates), median(times)
    ideal = products / rate / 1e3
    operations = sorted(profiled.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in operations)
    low, _, high = spread(rates)
    shown = [row for row in operations if row.self_cpu_time_total >= SMALLEST * total]
    body = [
        f"| `{row.key}` | {row.count / STEPS:.0f} | {row.self_cpu_time_total / total:.0%} |"
        for row in shown
    ]
    rest = 1 - sum(row.self_cpu_time_total for row in shown) / total
    return "\n".join(
        [
            f"A step of SGD, batch {optim.batch_size}, emb 10, hidden 200, block 3, one thread: "
            f"{step:.0f} µs (median of {ROUNDS} × {STEPS:,}, recorded gradients, without the "
            "drawing and the reports). Its matrix products "
            f"are {products / 1e6:.2f} MFLOP; this machine multiplies matrices of side {SIDE:,} "
            f"at {rate:.0f} GFLOP/s a core (median; {low:.0f} – {high:.0f}), which would be "
            f"{ideal:.0f} µs: the step runs at {products / step / 1e3:.1f} GFLOP/s, "
            f"{ideal / step:.0%} of that rate. The rest is what torch's operations cost at this "
            "size, where each one takes some microseconds whatever it does; shares as "
            "torch.profiler sees them, which costs about a microsecond an operation itself:",
            "",
            "| operation | calls a step | share |",
            "|---|---|---|",
            *body,
            f"| the others | | {rest:.0%} |",
        ]
    )


if __name__ == "__main__":
    print(report())
