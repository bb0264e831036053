"""What the searches of sweeps/architectures found: a table, two figures, and the data of both."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import commit, machine
from sweepmore import TrialRecord
from sweepmore.colours import BLUE, GREEN, GREY, ORANGE, PINK
from sweepmore.confirm.winner import Candidate, Row, confirm
from sweepmore.runs.files import write_atomic
from sweepmore.study.attempts import words
from sweepmore.wording import plus_minus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# dev, lecture split of names.txt: the lecture's own number with its parameters, and modified
# Kneser-Ney of order 6 (docs/language-model.md)
LECTURE, LECTURE_PARAMETERS, COUNTING = 2.17, 11_897, 1.9740
COLOURS = {"mlp": BLUE, "wavenet": GREEN, "gru": PINK, "transformer": ORANGE}
# What is written anew; the words around it stay.
BEGIN, END = "<!-- benchmarks.architectures -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Answer:
    """A search, and its best trial ``confirmed`` by fresh seeds. Losses in nats per token."""

    architecture: str
    size: str
    trials: Sequence[TrialRecord]
    confirmed: TrialRecord

    @property
    def values(self) -> tuple[float, ...]:
        """The dev loss of each seed; infinite where it diverged."""
        return tuple(float("inf") if v is None else v for v in self.confirmed.repeats)

    @property
    def parameters(self) -> int:
        return int(self.confirmed.result["parameters"])

    @property
    def training(self) -> float:
        """The seconds of training of the last seed."""
        return float(self.confirmed.result["seconds"])

    @property
    def searched(self) -> float:
        """The seconds of the search."""
        return sum(trial.seconds or 0.0 for trial in self.trials)

    def best_so_far(self) -> Iterator[tuple[float, float]]:
        """Yield the seconds at each trial's end and the lowest loss by then; inf before any."""
        ends = accumulate(trial.seconds or 0.0 for trial in self.trials)
        losses = (t.value if t.state == "COMPLETE" else None for t in self.trials)
        return zip(ends, accumulate((float("inf") if v is None else v for v in losses), min))


def compared(answers: Sequence[Answer]) -> list[tuple[Answer, Row]]:
    """Return the answers with their rows, best mean first: differences are paired by seed, and
    their interval allows for all pairs (Tukey)."""
    candidates = [
        Candidate(number, answer.confirmed.params, float("nan"), answer.values,
                  (answer.parameters, 0.0))
        for number, answer in enumerate(answers)
    ]  # fmt: skip
    return [(answers[row.candidate.root], row) for row in confirm(candidates).rows]


def table(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield the rows of one size."""
    yield "| architecture | dev loss | worse than the best by | | parameters | one training (s) "\
          "| trials | search (s) | settings |"  # fmt: skip
    yield "|---|---|---|---|---|---|---|---|---|"
    for rank, (answer, row) in enumerate(compared(answers)):
        apart = plus_minus(row.difference.mean, row.difference.half)
        yield (
            f"| {answer.architecture} | {plus_minus(row.interval.mean, row.interval.half)} "
            f"| {apart if rank else ''} | {('tied' if row.tied else 'worse') if rank else 'best'} "
            f"| {answer.parameters:,} "
            f"| {answer.training:,.0f} | {len(answer.trials)} | {answer.searched:,.0f} "
            f"| {words(answer.confirmed.params)} |"
        )


def verdict(answers: Sequence[Answer]) -> str:
    """Say who is best at one size, and who is tied with it."""
    (best, _), *others = compared(answers)
    tied = [answer.architecture for answer, row in others if row.tied]
    beside = f"; tied with it: {', '.join(tied)}" if tied else ", and is better than the others"
    return f"At {best.size} parameters {best.architecture} has the lowest mean{beside}."


def by_size(answers: Sequence[Answer]) -> Mapping[str, list[Answer]]:
    sizes = dict.fromkeys(sorted((a.size for a in answers), key=lambda s: int(s.rstrip("k"))))
    return {size: [a for a in answers if a.size == size] for size in sizes}


def page(answers: Sequence[Answer], budget: float) -> Iterator[str]:
    """Yield the lines of RESULTS.md between its marks."""
    seeds = len(answers[0].values)
    yield (
        f"{datetime.now(UTC):%Y-%m-%d} · {len(answers)} searches × {budget:,.0f} s of trials, one "
        f"thread each, two at a time · {seeds} fresh seeds, the same for all"
    )
    yield f"\n- commit: {commit()}\n- machine: {machine()}\n"
    yield "```\npython -m benchmarks.architectures\n```\n"
    for size, own in by_size(answers).items():
        yield f"## At most {size} parameters\n\n{verdict(own)}\n"
        yield from table(own)
        yield ""
    yield (
        f"A search ends with the trial in which its seconds are spent. Intervals are 95 %: "
        f"Student's of each mean over {seeds} seeds, and Tukey's of the differences, paired by "
        f"seed, within a size. Beside them: the lecture's net {LECTURE} ({LECTURE_PARAMETERS:,} "
        f"parameters), counting of order 6 {COUNTING:.4f}.\n"
    )
    yield "![Loss by parameters](parameters.png)\n\n![Loss by seconds of search](search.png)"


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
    axes.set_xlabel("at most so many parameters")
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
    panels[0].set_ylim(top=max(LECTURE, *ends) + 0.1)
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


def write(answers: Sequence[Answer], folder: Path, budget: float) -> None:
    """Write the page, the figures, and the data of both into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_parameters(answers, folder / "parameters.png")
    draw_search(answers, folder / "search.png")
    with (folder / "trials.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["search", "trial", "state", "seconds", "dev_loss", "settings"])
        rows.writerows(
            [f"{a.architecture}-{a.size}", t.number, t.state, round(t.seconds or 0, 2), t.value,
             words(t.params)]
            for a in answers for t in a.trials
        )  # fmt: skip
    with (folder / "seeds.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["search", "parameters", "seed", "dev_loss"])
        rows.writerows(
            [f"{a.architecture}-{a.size}", a.parameters, seed, value]
            for a in answers for seed, value in enumerate(a.values)
        )  # fmt: skip
    _write_page("\n".join(page(answers, budget)) + "\n", folder / "RESULTS.md")


def _write_page(text: str, path: Path) -> None:
    whole = (
        path.read_text(encoding="utf-8") if path.exists() else f"# architectures\n\n{BEGIN}{END}"
    )
    head, rest = whole.split(BEGIN)
    _, tail = rest.split(END)
    write_atomic(path, f"{head}{BEGIN}{text}{END}{tail}")
