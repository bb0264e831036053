"""The story's tables and figures, from the committed study: ``python tools/story.py``.

Reads sweeps/story: trials.csv, and curves.csv, which it first writes anew where the study's runs
are in outputs/. Draws docs/images/story.png and story_curves.png and writes the table between the
marks of docs/story.md.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from sweepmore.colours import BLUE, GREEN, GREY, ORANGE, PINK

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "sweeps" / "story"
RUNS = ROOT / "outputs" / "studies" / "story"
BEGIN, END = "<!-- tools/story.py -->\n", "<!-- end of the story -->\n"
# What each trial of sweeps/story.yaml changes, in its order.
STEPS = (
    "emb 2, hidden 100: the lecture's first net",
    "a bigger hidden layer: 300",
    "the embedding was the bottleneck: 10",
    "a longer context: 8",
    "everything bigger: emb 32, 2 × 300 gelu",
    "the same with weight decay 0.3",
    "and with dropout 0.2",
    "mixed with counting",
)
# Those whose curves are drawn, by their trial: the last that underfits, and the big net's.
CURVES = {3: GREY, 4: PINK, 5: GREEN, 6: BLUE}
# dev, lecture split: RESULTS of the lecture, and modified Kneser-Ney of order 6
LECTURE, COUNTING = 2.17, 1.974


@dataclass(frozen=True)
class Step:
    """Mean dev loss of the seeds (nats/token), their standard deviation; of the last seed's run
    train loss and parameters."""

    what: str
    dev: float
    std: float
    train: float
    parameters: int


def read_steps() -> list[Step]:
    with (FOLDER / "trials.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "COMPLETE"]
    rows.sort(key=lambda row: int(row["trial"]))
    return [
        Step(what, float(row["value"]), float(row["std"]), float(row["result.train_loss"]),
             int(row["result.parameters"]))
        for what, row in zip(STEPS, rows, strict=True)
    ]  # fmt: skip


def evaluations() -> Iterator[tuple[int, int, float, float]]:
    """Trial, step, train and dev loss of each trial's first seed."""
    for trial in range(len(STEPS)):
        for line in (RUNS / f"{trial:04}" / "0" / "metrics.jsonl").read_text().splitlines():
            row = json.loads(line)
            if "dev_loss" in row:
                yield trial, row["step"], row["train_loss"], row["dev_loss"]


def collect() -> None:
    with (FOLDER / "curves.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["trial", "step", "train_loss", "dev_loss"])
        table.writerows((t, s, f"{a:.5f}", f"{b:.5f}") for t, s, a, b in evaluations())


def table(steps: list[Step]) -> str:
    lines = ["| one change after the other | parameters | train | dev | this step |",
             "|---|---|---|---|---|"]  # fmt: skip
    before = None
    for step in steps:
        change = "" if before is None else f"{step.dev - before:+.3f}".replace("-", "−")
        before = step.dev
        lines.append(
            f"| {step.what} | {step.parameters:,} | {step.train:.3f} "
            f"| {step.dev:.4f} ± {step.std:.4f} | {change} |"
        )
    return "\n".join(lines) + "\n"


def draw_steps(steps: list[Step]) -> Figure:
    """The dev loss of each step, with train beside it; its text is legible at 700 pixels."""
    figure = Figure(figsize=(7, 4.2), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    rows = range(len(steps))
    train, dev = [s.train for s in steps], [s.dev for s in steps]
    axes.hlines(rows, train, dev, color=GREY, linewidth=1)
    axes.plot(train, rows, "s", color=BLUE, markersize=5, label="train")
    axes.plot(dev, rows, "o", color=ORANGE, markersize=7, label="dev")
    for row, loss in enumerate(dev):
        axes.annotate(
            f"{loss:.3f}", (loss, row), (8, 0), textcoords="offset points", va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    for loss, name, side in (
        (LECTURE, " lecture: 2.17", "left"),
        (COUNTING, "counting: 1.974 ", "right"),
    ):
        axes.axvline(loss, color=GREY, linestyle="--", linewidth=1)
        axes.text(loss, -0.7, name, ha=side)
    axes.set_yticks(rows, [s.what for s in steps])
    axes.set_ylim(len(steps) - 0.5, -1.1)
    axes.set_xlim(1.4, 2.75)
    axes.set_xlabel("loss (nats/token), names.txt")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def draw_curves() -> Figure:
    with (FOLDER / "curves.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["step"]) > 0]
    figure = Figure(figsize=(8.2, 4.0), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for trial, colour in CURVES.items():
        mine = [row for row in rows if int(row["trial"]) == trial]
        steps = [int(row["step"]) for row in mine]
        axes.plot(steps, [float(row["dev_loss"]) for row in mine], color=colour, label=STEPS[trial])
        axes.plot(steps, [float(row["train_loss"]) for row in mine], color=colour, linestyle="--",
                  linewidth=1)  # fmt: skip
    axes.set_xlabel("step, of 1,024 contexts")
    axes.set_ylabel("loss (nats/token), one seed")
    axes.set_title("dev (lines) and train (dashes)", fontsize=10, loc="left")
    axes.set_ylim(1.4, 2.8)  # the upper part is the legend's
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    return figure


def write(text: str, path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    path.write_text(f"{head}{BEGIN}{text}{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    if RUNS.exists():
        collect()
    steps = read_steps()
    draw_steps(steps).savefig(ROOT / "docs" / "images" / "story.png")
    draw_curves().savefig(ROOT / "docs" / "images" / "story_curves.png")
    write(table(steps), ROOT / "docs" / "story.md")
