"""The learning-rate range test: the rate grows at each step, and the losses show where it is good.

The rule is the lecture's ("Building makemore, part 2"): read the rate off the bottom of the
curve. Smith (2015, arXiv:1506.01186, 3.3) reads a range off the same curve; the one given here
is the floor around the bottom.
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

# Standard deviation of the smoothing, a share of the sweep: guess. From 0.01 to 0.05 the lecture's
# bottom moves by at most 0.08 decades (4 base seeds of 3 sweeps, given_names).
SMOOTHING = 0.02
# The floor is where the loss exceeds the lowest by less than this share: guess. It held the
# lecture's 0.1 at 12 of 12 base seeds on given_names and on names.txt (its low ends: 0.051 to
# 0.084); at 0.05 the low end comes as near as 0.098 (4 base seeds).
FLOOR = 0.1
# A bottom in this first share of the sweep has no fall before it: guess, 5 deviations.
TOO_SOON = 0.1


@dataclass(frozen=True)
class Suggestion:
    """The rate ``lr`` of the lowest smoothed ``loss``, and the floor around it."""

    low: float
    high: float
    lr: float
    loss: float


def spaced(lo: float, hi: float, steps: int) -> list[float]:
    """Rates from 10^lo to 10^hi, each larger than the last by the same factor."""
    return [float(rate) for rate in np.geomspace(10**lo, 10**hi, steps)]


def sweep_rates(
    config: Config,
    splits: Splits,
    rates: Sequence[float],
    seed: int,
    weights: Checkpoint | None = None,
) -> list[float]:
    """The minibatch loss before each step of a run that takes step k at ``rates[k]``.

    Shorter than ``rates`` where it diverged. Begins with parameters drawn from ``seed``, or with
    ``weights``. Sets torch's number of threads, as ``fit`` does.
    """
    torch.set_num_threads(config.threads)
    state = begin(replace(config, seed=seed), splits, weights)
    draw = drawing(config.optim, splits.train.to(state.device), len(splits.vocabulary))
    if state.model.is_counted:
        cure = "Take model=mlp, model=own or model.by=net."
        raise ConfigError(f"{config.model} takes no steps.", value=config.model.name, cure=cure)
    noise = torch.Generator(state.device).manual_seed(derived_seed(seed, "dropout"))
    loss_and_gradients = by_autograd(state.model, noise)
    losses: list[float] = []
    for rate in rates:
        loss, gradients = loss_and_gradients(*draw(1, state.generator)(0))
        if not loss.item() <= DIVERGED_ABOVE:  # NaN, too
            break
        losses.append(loss.item())
        state.optimiser.step(gradients, rate)
    return losses


def mean(sweeps: Sequence[Sequence[float]]) -> list[float]:
    """Rate by rate, up to the rate at which the first seed diverged."""
    return [statistics.fmean(losses) for losses in zip(*sweeps)]


def smooth(losses: Sequence[float], deviation: float) -> list[float]:
    """Gaussian average over steps, on both sides: one that looks back only would lag behind."""
    if not losses:
        return []
    # Imported where it is used: it takes half a second. scipy.signal.fftconvolve takes longer, and
    # would pay from 100,000 rates on (50,000 take 1 s here).
    from scipy.ndimage import gaussian_filter1d

    both = np.array([losses, np.ones(len(losses))])  # what lies beyond the ends has no weight
    total, weight = gaussian_filter1d(both, deviation, mode="constant")
    return [float(value) for value in total / weight]


def suggest(rates: Sequence[float], losses: Sequence[float]) -> Suggestion:
    """The rate at the bottom of the smoothed losses, and the rates around it where the loss is
    within a tenth of the lowest.

    ``losses`` may be fewer than ``rates``. ConfigError where there is no bottom: the loss rises
    from the beginning, or hardly changes.
    """
    smoothed = smooth(losses, SMOOTHING * len(rates))
    bottom = min(range(len(smoothed)), key=smoothed.__getitem__, default=0)
    if bottom < TOO_SOON * len(rates):
        raise ConfigError(
            f"The loss does not fall above lr={rates[0]:g}: {_seen(rates, losses)}.",
            value=rates[0],
            cure=f"Begin lower: find_lr.lo={math.log10(rates[0]) - 2:g}",
        )
    ceiling = (1 + FLOOR) * smoothed[bottom]
    first = next((k + 1 for k in range(bottom, -1, -1) if smoothed[k] > ceiling), 0)
    last = next((k - 1 for k in range(bottom, len(smoothed)) if smoothed[k] > ceiling), -1)
    if first == 0 and last == -1 and len(losses) == len(rates):
        raise ConfigError(
            f"The loss hardly changes: {_seen(rates, losses)}.",
            value=rates[-1],
            cure=f"Go on higher: find_lr.hi={math.log10(rates[-1]) + 2:g}",
        )
    last = last % len(smoothed)
    return Suggestion(rates[first], rates[last], rates[bottom], smoothed[bottom])


def _seen(rates: Sequence[float], losses: Sequence[float]) -> str:
    if len(losses) < TOO_SOON * len(rates):
        return f"it diverges after {len(losses)} steps"
    end = len(losses) - 1
    return f"{losses[0]:.3g} there, {losses[end]:.3g} nats/token at lr={rates[end]:.3g}"


def draw_sweeps(
    path: Path,
    rates: Sequence[float],
    sweeps: Sequence[Sequence[float]],
    found: Suggestion,
    title: str,
    minibatches: str,
) -> None:
    """Raw losses as points, their smoothed mean as a line, the seeds' range as a band.

    ``minibatches`` says in words what a loss is a mean over.
    """
    from matplotlib.figure import Figure

    x = [math.log10(rate) for rate in rates]
    deviation = SMOOTHING * len(rates)
    line = smooth(mean(sweeps), deviation)
    seeds = [smooth(losses, deviation)[: len(line)] for losses in sweeps]
    figure = Figure(figsize=(7.2, 4.4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(math.log10(found.low), math.log10(found.high), color=GREEN, alpha=0.15,
                 linewidth=0, label=f"within {FLOOR:.0%} of the lowest: "
                 f"{found.low:.2g} to {found.high:.2g}")  # fmt: skip
    axes.axvline(math.log10(found.lr), color=GREEN, linewidth=1, label=f"lowest: {found.lr:.2g}")
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
    """Losses on their way to infinity would press the valley flat: the axis ends a half above
    the highest loss that the fall began with."""
    bottom, lowest = line.index(min(line)), min(map(min, sweeps))
    top = lowest + 1.5 * (max(line[:bottom]) - lowest)
    axes.set_ylim(lowest - 0.05 * (top - lowest), top)
    axes.set_xlim(x[0], x[-1])
