"""What the searches of sweeps/architectures found: a table, two figures, and the data of both."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.architecture_answers import Answer, Missing, by_size, compared, verdict
from benchmarks.architecture_figures import (
    COUNTING,
    LECTURE,
    LECTURE_PARAMETERS,
    draw_parameters,
    draw_search,
)
from benchmarks.common import commit, machine
from sweepmore.runs.files import write_atomic
from sweepmore.study.attempts import words
from sweepmore.wording import plus_minus

# What is written anew; the words around it stay.
BEGIN, END = "<!-- benchmarks.architectures -->\n", "<!-- end -->\n"
# What sweeps/architectures/*.yaml say of the searches, and how these nets are usually trained.
HIDDEN = (
    "**What the budget hides.** The searches had equal seconds, not equal preparation. The MLP's "
    "activation and ranges come from [an earlier search](../open.yaml) of it alone. Steps and "
    "batch sizes were chosen by hand, from the cost of a step. At 300k the block size reaches 10 "
    "for the MLP, 16 for WaveNet, and 8 for the GRU and the transformer. These two predict only "
    "the last position of each context; their standard training predicts every position at once. "
    "The searches are short: {fewest} to {most} trials, the first five of them random. Intervals "
    "cover seeds, not another search."
)


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


def page(answers: Sequence[Answer], missing: Sequence[Missing]) -> Iterator[str]:
    """Yield the lines of RESULTS.md between its marks."""
    seeds = max((len(answer.seeds) for answer in answers), default=0)
    yield (
        f"{datetime.now(UTC):%Y-%m-%d} · {len(answers)} of {len(answers) + len(missing)} searches, "
        f"one thread each, two at a time · {seeds} fresh seeds, the same for all"
    )
    yield f"\n- commit: {commit()}\n- machine: {machine()}\n"
    yield "```\npython -m benchmarks.architectures\n```\n"
    every: list[Answer | Missing] = [*answers, *missing]
    for size, own in by_size(every).items():
        yield from section(size, own)
    if trials := [len(answer.trials) for answer in answers]:
        yield f"{HIDDEN.format(fewest=min(trials), most=max(trials))}\n"
    yield (
        f"A search ends with the trial in which its seconds are spent. Intervals are 95 %: "
        f"Student's of each mean over {seeds} seeds, and Tukey's of the differences, paired by "
        f"seed, within a size. Beside them: the lecture's net {LECTURE} ({LECTURE_PARAMETERS:,} "
        f"parameters), counting of order 6 {COUNTING:.4f}.\n"
    )
    if answers:
        yield "![Loss by parameters](parameters.png)\n\n![Loss by seconds of search](search.png)"


def section(size: str, searches: Sequence[Answer | Missing]) -> Iterator[str]:
    """Yield the lines of one size: the verdict, what is missing and why, the table."""
    answers = [search for search in searches if isinstance(search, Answer)]
    missing = [search for search in searches if isinstance(search, Missing)]
    yield f"## At most {size} parameters\n\n{verdict(answers)}\n"
    if missing:
        yield from (f"- {search.architecture}: {search.reason}" for search in missing)
        yield ""
    if answers:
        yield from table(answers)
        yield ""


def write(answers: Sequence[Answer], missing: Sequence[Missing], folder: Path) -> None:
    """Write the page, the figures, and the data of both into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    if answers:
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
            for a in answers for seed, value in zip(a.seeds, a.values, strict=True)
        )  # fmt: skip
    _write_page("\n".join(page(answers, missing)) + "\n", folder / "RESULTS.md")


def _write_page(text: str, path: Path) -> None:
    whole = (
        path.read_text(encoding="utf-8") if path.exists() else f"# architectures\n\n{BEGIN}{END}"
    )
    head, rest = whole.split(BEGIN)
    _, tail = rest.split(END)
    write_atomic(path, f"{head}{BEGIN}{text}{END}{tail}")
