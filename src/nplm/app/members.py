"""What a report shows of an ensemble: what each more of its members buys, and what it costs."""

from __future__ import annotations

import time

from nplm import sampling
from nplm.averaging import Ensemble, Size, sizes
from nplm.data import Splits
from sweepmore.report.chart import Chart, Curve
from sweepmore.report.document import Picture, Section, Table
from sweepmore.wording import decimals, real_minus

# Lines that are drawn to measure what sampling costs.
DRAWN = 200
COLUMNS = ("members", "dev loss (nats/token)", "mixed with counting", "share of counting",
           "parameters", f"seconds for {DRAWN} samples")  # fmt: skip


def section(model: Ensemble, splits: Splits) -> Section:
    """Return the section about the members of ``model``."""
    measured = sizes(model, splits)
    text = (
        "Each loss is the mean over as many ensembles as there are members, so that it depends "
        "little on their order; the weight of counting (Kneser–Ney) is chosen on dev for each."
    )
    picture = Picture([chart(measured, splits)], "The first member is one net by itself.")
    return Section("Its members", text, [picture], [table(model, splits, measured)])


def chart(measured: list[Size], splits: Splits) -> Chart:
    """Return the figure of loss against the number of members."""
    numbers = [size.members for size in measured]
    gain = real_minus(decimals(measured[-1].loss - measured[0].loss))
    curves = [
        Curve("averaged", numbers, [size.loss for size in measured]),
        Curve("and mixed with counting", numbers, [size.mixed for size in measured]),
    ]
    title = f"{len(measured)} members change one net's dev loss by {gain}"
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
    """Return how long it takes to draw samples here, the faster of two times."""
    trained = sampling.Trained(model, splits.vocabulary)

    def drawing() -> float:
        began = time.perf_counter()
        sampling.sample(trained, DRAWN, seed=0)
        return time.perf_counter() - began

    return min(drawing(), drawing())
