"""How often a confirmation tells the truth: studies in which no configuration is better.

``python -m benchmarks.truth``, which prints the tables of benchmarks/campaigns.py, too.

A study in which nothing is better is the hardest case, for whatever is found is luck: a search of
twice ``top`` trials, the best ``top`` of them with ``n`` fresh seeds, the best mean wins. Beside
what a confirmation says now stands what it said before there were final seeds: the winner's
interval by the seeds that chose it, and a paired t interval for each difference to the best, by
Bonferroni.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks import campaigns
from sweepmore.statistics.intervals import LEVEL, Floats, gain, half_width, t_quantile, tie_margin

# A share of 5 % is known to ± 0.2 points (two standard errors).
STUDIES = 40_000
TOPS, SEEDS = (2, 5, 10, 20), (3, 5, 8, 10)
# A difference that one would like to find, in standard deviations of one run.
GAP = 2.0

# The noise of so many configurations' runs, (studies, configurations, runs), and of which mean 0.
Noise = Callable[[np.random.Generator, Floats, int], Floats]


def normal(random: np.random.Generator, deviations: Floats, runs: int) -> Floats:
    return deviations[..., None] * random.standard_normal((*deviations.shape, runs))


def skewed(random: np.random.Generator, deviations: Floats, runs: int) -> Floats:
    """Exponential: a loss that is sometimes much worse, and never much better."""
    drawn = random.standard_exponential((*deviations.shape, runs))
    return deviations[..., None] * (drawn - 1)


@dataclass(frozen=True)
class Told:
    """Shares of studies: the interval holds the winner's true mean, a gain over trial 0 is claimed
    that is none, a configuration is called worse that is not; and the share of configurations that
    are called worse where one is better by ``GAP``."""

    holds: float
    gain: float
    worse: float
    finds: float


def simulate(
    top: int, seeds: int, noise: Noise, spread: float = 1.0, studies: int = STUDIES
) -> tuple[Told, Told]:
    """Before and now. ``spread``: the noisiest configuration's deviation may be so many times the
    quietest one's."""
    random = np.random.default_rng([top, seeds])
    deviations = spread ** random.uniform(-0.5, 0.5, (studies, 2 * top))
    searched = noise(random, deviations, 1)[..., 0]
    best = np.argsort(searched, axis=1)[:, :top]
    chosen = np.take_along_axis(deviations, best, axis=1)
    fresh = noise(random, chosen, seeds)
    winner = fresh.mean(-1).argmin(1)
    each = np.arange(studies)
    final = noise(random, chosen[each, winner][:, None], seeds)[:, 0]
    better = fresh - GAP * (np.arange(top) == 0)[:, None]
    found = []
    for values, margin in ((fresh[each, winner], bonferroni), (final, tie_margin)):
        mean, half = values.mean(-1), half_width(values)
        claimed = [gain(float(a), float(b), float(c), seeds, 1)
                   for a, b, c in zip(searched[:, 0], mean, half)]  # fmt: skip
        found.append(
            Told(
                holds=float((abs(mean) <= half).mean()),
                gain=float(np.mean([one.mean > one.half for one in claimed])),
                worse=float(is_worse(fresh, margin).any(1).mean()),
                finds=float(is_worse(better, margin).sum(1).mean()) / (top - 1),
            )
        )
    return found[0], found[1]


def is_worse(values: Floats, margin: Callable[[Floats], Floats]) -> npt.NDArray[np.bool_]:
    """Of each configuration of ``values`` (studies, k, n) whether a table would say so."""
    means, margins = values.mean(-1), margin(values)
    gaps = means - means.min(1, keepdims=True)
    worse: npt.NDArray[np.bool_] = gaps > margins.reshape(len(margins), -1)
    return worse


def bonferroni(values: Floats) -> Floats:
    """Half the width of each difference to the best, as it was before."""
    studies, k, n = values.shape
    best = values.mean(-1).argmin(1)
    gaps = values - values[np.arange(studies), best][:, None]
    quantile = t_quantile(1 - (1 - LEVEL) / (k - 1) / 2, n - 1)
    margins: Floats = quantile * gaps.std(-1, ddof=1) / np.sqrt(n)
    return margins


def report() -> str:
    rows = [row(top, seeds, "normal", normal) for top in TOPS for seeds in SEEDS]
    for name, noise, spread in (("skewed", skewed, 1.0), ("unequal", normal, 4.0)):
        rows += [row(top, n, name, noise, spread) for top in (5, 20) for n in SEEDS]
    return "\n".join([HEAD, *rows]) + (
        f"\n\n{STUDIES:,} made-up studies a row, in which no configuration is better than another: "
        "2 × top trials of one run each, the best `top` confirmed with n fresh seeds, the best "
        "mean wins. Before: the winner's 95 % interval by the seeds that chose it, and paired t "
        "intervals to the best by Bonferroni; now: that of n final seeds, and Tukey's honest "
        "significant difference with seeds as blocks. Holds: the interval holds the winner's true "
        "mean. False gain: the page claims one over trial 0. False worse: the table calls one so. "
        f"Finds: where one configuration is better by {GAP:g} standard deviations of a run, the "
        "share of the others that the table calls worse. Skewed: exponential noise. Unequal: "
        "normal, the standard deviation of a configuration between 0.5 and 2, log-uniform. By "
        "chance of the simulation a share of 5 % or 95 % may be off by 0.2 points."
    )


HEAD = (
    "| noise | top | n | holds: before → now | false gain | false worse | finds |\n"
    "|---|---|---|---|---|---|---|"
)


def row(top: int, seeds: int, name: str, noise: Noise, spread: float = 1.0) -> str:
    before, now = simulate(top, seeds, noise, spread)
    cells = (
        f"{100 * old:.1f} → {100 * new:.1f} %"
        for old, new in zip(
            (before.holds, before.gain, before.worse, before.finds),
            (now.holds, now.gain, now.worse, now.finds),
        )
    )
    return f"| {name} | {top} | {seeds} | {' | '.join(cells)} |"


if __name__ == "__main__":
    print(report())
    print(f"\n{campaigns.report()}")
