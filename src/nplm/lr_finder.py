"""The learning-rate range test: the rate grows at each step, and the losses show which are good.

The rule is the lecture's ("Building makemore, part 2"): read the rate off the bottom of the
curve. Smith (2015, arXiv:1506.01186, 3.3) reads a range off the same curve; ours is the
floor around the bottom.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nplm.checkpoint import Checkpoint
from nplm.config import Config
from nplm.data import Splits
from nplm.gradients import by_autograd
from nplm.losses import DIVERGED_ABOVE
from nplm.minibatches import drawing
from nplm.state import begin, derived_seed
from sweepmore.colours import BLUE, GREEN, ORANGE
from sweepmore.errors import ConfigError

# Standard deviation of the smoothing, as a share of the sweep: guess. From 0.01 to 0.05 the
# lecture's bottom moves by at most 0.08 decades (4 base seeds of 3 sweeps, given_names).
SMOOTHING = 0.02
# In the floor, the loss exceeds the lowest by less than this share: guess. The floor contained the
# lecture's 0.1 at 12 of 12 base seeds on given_names and on names.txt (its low ends: 0.051 to
# 0.084); at 0.05 the low end comes as near as 0.098 (4 base seeds).
FLOOR = 0.1
# Before a bottom in this first share of the sweep there is no fall: guess, 5 deviations.
TOO_SOON = 0.1


@dataclass(frozen=True)
class Suggestion:
    """The rate ``lr`` of the lowest smoothed ``loss`` (nats per token), and the floor around it,
    from ``low`` to ``high``."""

    low: float
    high: float
    lr: float
    loss: float


def spaced(lo: float, hi: float, steps: int) -> list[float]:
    """Return ``steps`` rates from 10^lo to 10^hi, each larger than the last by the same factor."""
    return [float(rate) for rate in np.geomspace(10**lo, 10**hi, steps)]


def sweep_rates(
    config: Config,
    splits: Splits,
    rates: Sequence[float],
    seed: int,
    weights: Checkpoint | None = None,
) -> list[float]:
    """Return the minibatch loss (nats per token) before each step of a run that takes step k at
    ``rates[k]``.

    The list is shorter than ``rates`` if the run diverges. It begins with parameters drawn from
    ``seed``, or with ``weights``. Sets torch's number of threads, as ``fit`` does. Raises
    ConfigError for a model that takes no steps.
    """
    torch.set_num_threads(config.threads)
    state = begin(replace(config, seed=seed), splits, weights)
    draw = drawing(config.optim, splits.train.to(state.device), len(splits.vocabulary))
    if not state.model.takes_steps:
        cure = "Give model=mlp, model=own, or model=bigram model.by=net."
        raise ConfigError(
            f"The model ({config.model}) takes no gradient steps.",
            value=config.model.name,
            cure=cure,
        )
    noise = torch.Generator(state.device).manual_seed(derived_seed(seed, "dropout"))
    loss_and_gradients = by_autograd(state.model, noise)
    losses: list[float] = []
    for rate in rates:
        loss, gradients = loss_and_gradients(*draw(1, state.generator)(0))
        if not loss.item() <= DIVERGED_ABOVE:  # also true of NaN
            break
        losses.append(loss.item())
        state.optimiser.step(gradients, rate)
    return losses


def mean(sweeps: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over the seeds at each rate, up to the first rate at which a seed
    diverged."""
    return [statistics.fmean(losses) for losses in zip(*sweeps)]


def smooth(losses: Sequence[float], deviation: float) -> list[float]:
    """Return a Gaussian average of the losses, with a standard deviation in steps. It looks both
    ways, because an average of earlier losses alone would lag behind."""
    if not losses:
        return []
    # Imported here because it takes half a second. scipy.signal.fftconvolve takes longer to import
    # and would pay from 100,000 rates on (50,000 take 1 s here).
    from scipy.ndimage import gaussian_filter1d

    both = np.array([losses, np.ones(len(losses))])  # nothing beyond the ends has a weight
    total, weight = gaussian_filter1d(both, deviation, mode="constant")
    return [float(value) for value in total / weight]


def suggest(rates: Sequence[float], losses: Sequence[float]) -> Suggestion:
    """Return the rate at the bottom of the smoothed losses, and the range around it in which the
    loss is within a tenth of the lowest.

    ``losses`` may be fewer than ``rates``. Raises ConfigError where there is no bottom, because
    the loss rises from the beginning or hardly changes.
    """
    smoothed = smooth(losses, SMOOTHING * len(rates))
    bottom = min(range(len(smoothed)), key=smoothed.__getitem__, default=0)
    if bottom < TOO_SOON * len(rates):
        raise ConfigError(
            f"The loss does not fall above lr={rates[0]:g}: {_course(rates, losses)}.",
            value=rates[0],
            cure=f"Begin with a lower rate: find_lr.lo={math.log10(rates[0]) - 2:g}",
        )
    ceiling = (1 + FLOOR) * smoothed[bottom]
    first = next((k + 1 for k in range(bottom, -1, -1) if smoothed[k] > ceiling), 0)
    last = next((k - 1 for k in range(bottom, len(smoothed)) if smoothed[k] > ceiling), -1)
    if first == 0 and last == -1 and len(losses) == len(rates):
        raise ConfigError(
            f"The loss hardly changes: {_course(rates, losses)}.",
            value=rates[-1],
            cure=f"Go up to a higher rate: find_lr.hi={math.log10(rates[-1]) + 2:g}",
        )
    last = last % len(smoothed)
    return Suggestion(rates[first], rates[last], rates[bottom], smoothed[bottom])


def _course(rates: Sequence[float], losses: Sequence[float]) -> str:
    """Return in words how the loss begins and ends."""
    if len(losses) < TOO_SOON * len(rates):
        return f"it diverges after {len(losses)} steps"
    end = len(losses) - 1
    return f"{losses[0]:.3g} there, {losses[end]:.3g} nats/token at lr={rates[end]:.3g}"


def draw_sweeps(
    path: Path,
    rates: Sequence[float],
    sweeps: Sequence[Sequence[float]],
    best: Suggestion,
    title: str,
    minibatches: str,
) -> None:
    """Draw raw losses as points, their smoothed mean as a line, the seeds' range as a band.

    ``minibatches`` says in words what a loss is a mean over. The figure is written to ``path``.
    """
    from matplotlib.figure import Figure

    x = [math.log10(rate) for rate in rates]
    deviation = SMOOTHING * len(rates)
    line = smooth(mean(sweeps), deviation)
    seeds = [smooth(losses, deviation)[: len(line)] for losses in sweeps]
    figure = Figure(figsize=(7.2, 4.4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(math.log10(best.low), math.log10(best.high), color=GREEN, alpha=0.15,
                 linewidth=0, label=f"within {FLOOR:.0%} of the lowest: "
                 f"{best.low:.2g} to {best.high:.2g}")  # fmt: skip
    axes.axvline(math.log10(best.lr), color=GREEN, linewidth=1, label=f"lowest: {best.lr:.2g}")
    for losses in sweeps:
        dots = axes.scatter(x[: len(losses)], losses, s=3, color=BLUE, alpha=0.2, linewidths=0)
    dots.set_label("minibatches")
    if len(sweeps) > 1:
        low, high = ([pick(at) for at in zip(*seeds)] for pick in (min, max))
        axes.fill_between(x[: len(line)], low, high, color=ORANGE, alpha=0.25, linewidth=0,
                          label=f"smoothed, lowest to highest of {len(sweeps)} seeds")  # fmt: skip
    axes.plot(x[: len(line)], line, color=ORANGE, linewidth=1.4, label="smoothed, mean")
    _limit(axes, x, sweeps, line)
    axes.set_xlabel("log10 of the learning rate")
    axes.set_ylabel(f"train loss (nats/token), {minibatches}")
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)  # a file may be named $
    axes.legend(frameon=False, fontsize=8, loc="best")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _limit(
    axes: Any, x: Sequence[float], sweeps: Sequence[Sequence[float]], line: Sequence[float]
) -> None:
    """Limit the axes: losses that grow to infinity would flatten the valley, so the axis ends half
    as high again as the fall."""
    bottom, lowest = line.index(min(line)), min(map(min, sweeps))
    top = lowest + 1.5 * (max(line[:bottom]) - lowest)
    axes.set_ylim(lowest - 0.05 * (top - lowest), top)
    axes.set_xlim(x[0], x[-1])
