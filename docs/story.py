"""The story's table and figure, from the committed study: ``python docs/story.py``.

Reads sweeps/story/trials.csv; draws docs/images/story.png and writes the table between the marks of
docs/story.md and of the README.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from sweepmore.colours import BLUE, GREY, ORANGE

ROOT = Path(__file__).resolve().parent.parent
TRIALS = ROOT / "sweeps" / "story" / "trials.csv"
BEGIN, END = "<!-- docs/story.py -->\n", "<!-- end of the story -->\n"
# What each trial of sweeps/story.yaml changes, in its order.
STEPS = (
    "the lecture's first: emb 2, hidden 100",
    "a bigger hidden layer: 300",
    "the embedding was the bottleneck: 10",
    "a longer context: 8",
    "everything bigger: emb 32, 2 × 300 gelu",
    "weight decay 0.3",
    "dropout 0.2",
    "mixed with counting",
)
# dev, lecture split: RESULTS of the lecture, and modified Kneser-Ney of order 6
LECTURE, COUNTING = 2.17, 1.974


@dataclass(frozen=True)
class Step:
    """Mean dev loss of the seeds (nats/token), their standard deviation, and of the last seed's run
    train loss and parameters."""

    what: str
    dev: float
    std: float
    train: float
    parameters: int


def read(path: Path) -> list[Step]:
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "COMPLETE"]
    rows.sort(key=lambda row: int(row["trial"]))
    return [
        Step(what, float(row["value"]), float(row["std"]), float(row["result.train_loss"]),
             int(row["result.parameters"]))
        for what, row in zip(STEPS, rows, strict=True)
    ]  # fmt: skip


def table(steps: list[Step]) -> str:
    lines = ["| one change after the other | parameters | train | dev | this step |",
             "|---|---|---|---|---|"]  # fmt: skip
    before = None
    for step in steps:
        change = "" if before is None else f"{step.dev - before:+.3f}"
        before = step.dev
        lines.append(
            f"| {step.what} | {step.parameters:,} | {step.train:.3f} "
            f"| {step.dev:.4f} ± {step.std:.4f} | {change} |"
        )
    return "\n".join(lines) + "\n"


def draw(steps: list[Step], path: Path) -> None:
    figure = Figure(figsize=(8.2, 4.4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    rows = range(len(steps))
    axes.hlines(rows, [s.train for s in steps], [s.dev for s in steps], color=GREY, linewidth=1)
    axes.plot([s.train for s in steps], rows, "s", color=BLUE, label="train")
    axes.errorbar([s.dev for s in steps], rows, xerr=[s.std for s in steps], fmt="o",
                  color=ORANGE, capsize=2, label="dev, mean of three seeds")  # fmt: skip
    for loss, name in ((LECTURE, "the lecture's 2.17"), (COUNTING, "counting, order 6")):
        axes.axvline(loss, color=GREY, linestyle=":", linewidth=1)
        axes.text(loss, -0.75, name, color=GREY, fontsize=8, ha="center")
    axes.set_yticks(rows, [s.what for s in steps])
    axes.set_ylim(len(steps) - 0.5, -1.0)
    axes.set_xlabel("loss (nats/token), names.txt, n = 182,625 train and 22,655 dev tokens")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path)


def write(text: str, path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    path.write_text(f"{head}{BEGIN}{text}{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    steps = read(TRIALS)
    draw(steps, ROOT / "docs" / "images" / "story.png")
    for page in (ROOT / "docs" / "story.md", ROOT / "README.md"):
        write(table(steps), page)
