"""What a report shows of an ensemble: what each more of its members buys, and what it costs."""

from __future__ import annotations

import time

import numpy as np

from nplm import sampling
from nplm.averaging import Ensemble, Size, sizes
from nplm.data import Splits
from nplm.estimates import Floats, bootstrap, line_sums, line_tokens
from nplm.losses import token_losses
from nplm.result import Estimate
from sweepmore.report.chart import Chart, Curve
from sweepmore.report.document import Picture, Section, Table
from sweepmore.wording import bounds, decimals, real_minus

# Lines that are drawn to measure what sampling costs.
DRAWN = 200
COLUMNS = ("members", "dev loss (nats/token)", "mixed with counting", "share of counting",
           "parameters", f"seconds for {DRAWN} samples")  # fmt: skip


def section(model: Ensemble, splits: Splits) -> Section:
    """Return the section about the members of ``model``."""
    measured, over = sizes(model, splits), gain(model, splits)
    text = (
        f"All {len(measured)} gain {bounds(over.mean, over.low, over.high)} nats/token over one of "
        "them (their mean; 95 %, dev lines resampled). Each loss is the mean over all "
        "ensembles of that many neighbours in the circle of members. Counting is Kneser–Ney, its "
        "share chosen on dev."
    )
    picture = Picture([chart(measured, splits)], "The first member is one net by itself.")
    return Section("Its members", text, [picture], [table(model, splits, measured)])


def gain(model: Ensemble, splits: Splits) -> Estimate:
    """Return by how many nats per token the ensemble beats its members' mean on dev."""
    each = [_line_losses(model.part([at]), splits) for at in range(len(model.members))]
    less = np.mean(each, axis=0) - _line_losses(model, splits)
    return bootstrap(less, line_tokens(splits.dev), seed=0)


def _line_losses(model: Ensemble, splits: Splits) -> Floats:
    losses = token_losses(model, splits.dev.contexts, splits.dev.targets)
    return line_sums(losses.double().numpy(), splits.dev)


def chart(measured: list[Size], splits: Splits) -> Chart:
    """Return the figure of loss against the number of members."""
    numbers = [size.members for size in measured]
    change = real_minus(decimals(measured[-1].loss - measured[0].loss))
    curves = [
        Curve("averaged", numbers, [size.loss for size in measured]),
        Curve("and mixed with counting", numbers, [size.mixed for size in measured]),
    ]
    title = f"{len(measured)} members change one net's dev loss by {change}"
    subtitle = f"{splits.name}, dev: n = {len(splits.dev):,} tokens"
    return Chart("members", title, "members", "dev loss (nats/token)",
                 curves=curves, subtitle=subtitle, whole_x=True)  # fmt: skip


def table(model: Ensemble, splits: Splits, measured: list[Size]) -> Table:
    """Return a row for each number of members: losses and costs."""
    parts = [model.part(range(size.members)) for size in measured]
    rows = [
        [size.members, size.loss, size.mixed, f"{size.weight:.0%}", f"{part.size:,}",
         f"{seconds(part, splits):.3f}"]
        for size, part in zip(measured, parts, strict=True)
    ]  # fmt: skip
    return Table(list(COLUMNS), rows)


def seconds(model: Ensemble, splits: Splits) -> float:
    """Return how long it takes to draw samples here, the fastest of five times."""
    trained = sampling.Trained(model, splits.vocabulary)

    def drawing() -> float:
        began = time.perf_counter()
        sampling.sample(trained, DRAWN, seed=0)
        return time.perf_counter() - began

    return min(drawing() for _ in range(5))
