"""Two figures of the comparison of architectures: loss by parameters, loss by seconds of search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.architecture_answers import Answer, by_size, compared
from sweepmore.colours import BLUE, GREEN, GREY, ORANGE, PINK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# dev, lecture split of names.txt: the lecture's own number with its parameters, and modified
# Kneser-Ney of order 6 (docs/language-model.md)
LECTURE, LECTURE_PARAMETERS, COUNTING = 2.17, 11_897, 1.9740
COLOURS = {"mlp": BLUE, "wavenet": GREEN, "gru": PINK, "transformer": ORANGE}


def draw_parameters(answers: Sequence[Answer], path: Path) -> None:
    """Draw a line for each architecture; all fill the limits, so they are moved apart sideways."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    rows = [pair for own in by_size(answers).values() for pair in compared(own)]
    for number, (architecture, colour) in enumerate(COLOURS.items()):
        own = [(a.parameters, row.interval) for a, row in rows if a.architecture == architecture]
        if own:
            apart = 1.08 ** (number - (len(COLOURS) - 1) / 2)
            axes.errorbar(
                [parameters * apart for parameters, _ in own], [each.mean for _, each in own],
                yerr=[each.half for _, each in own], fmt="o-", color=colour, capsize=3,
                linewidth=1, label=architecture,
            )  # fmt: skip
    axes.plot(LECTURE_PARAMETERS, LECTURE, "x", color=GREY)
    axes.set_xscale("log")
    axes.set_xlim(8_000, 450_000)
    axes.set_xticks([12_000, 300_000], ["12,000", "300,000"])
    axes.minorticks_off()
    axes.set_xlabel("limit on parameters")
    axes.set_ylabel("dev loss (nats/token), mean of the seeds, 95 %")
    _finish(axes)
    figure.savefig(path)


def draw_search(answers: Sequence[Answer], path: Path) -> None:
    """Draw a panel for each size; losses far above the lecture's are cut off."""
    from matplotlib.figure import Figure

    sizes = by_size(answers)
    figure = Figure(figsize=(4.2 * len(sizes), 4.2), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for axes, (size, own) in zip(panels, sizes.items()):
        for answer in own:
            seconds, losses = zip(*answer.best_so_far())
            axes.step(seconds, losses, where="post", color=COLOURS[answer.architecture],
                      marker=".", label=answer.architecture)  # fmt: skip
        axes.set_xlim(left=0)
        axes.set_xlabel("seconds of search")
        axes.set_title(f"at most {size} parameters", fontsize=10, loc="left")
        _finish(axes)
    ends = [loss for answer in answers for _, loss in [*answer.best_so_far()][-1:]]
    panels[0].set_ylim(top=max([LECTURE, *ends]) + 0.1)
    panels[0].set_ylabel("best dev loss so far (nats/token), one seed")
    figure.savefig(path)


def _finish(axes: Axes) -> None:
    """Add what every figure has: counting, the lecture's net, a legend."""
    for loss, name in ((LECTURE, "the lecture's net"), (COUNTING, "counting of order 6")):
        axes.axhline(loss, color=GREY, linestyle="--", linewidth=1)
        axes.annotate(name, (0, loss), (4, 2), xycoords=("axes fraction", "data"),
                      textcoords="offset points", fontsize=8, color=GREY)  # fmt: skip
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
