"""Run the benchmarks and write RESULTS.md: ``make bench``, with --full ``make bench-full``.

The cheap sections are written by both, the others by --full alone; a section that is not run
stays as it is. ``python -m benchmarks Growth`` runs the sections whose titles begin so.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    breakdown,
    campaigns,
    encode,
    growth,
    level,
    overhead,
    report,
    scale,
    shell,
    startup,
    step,
    stock,
    study,
    torture,
    truth,
    words,
)
from benchmarks.common import TABLE_HEAD, Comparison, commit, machine, table_row
from sweepmore.runs.files import write_atomic

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
INTRODUCTION = """# Benchmark results

Written by `make bench` and `make bench-full`; a section says when and where it was measured. Ours
and theirs take turns in one run, and the ratio is theirs / ours of each pair: more than 1 means
that ours is faster.
"""


def compared(*comparisons: Callable[[], Comparison]) -> Callable[[], str]:
    """A table with a row each, and below it what each does."""

    def body() -> str:
        done = [compare() for compare in comparisons]
        works = "\n".join(f"- {comparison.name}: {comparison.work}" for comparison in done)
        return "\n".join([TABLE_HEAD, *map(table_row, done)]) + f"\n\n{works}"

    return body


def grown() -> str:
    return (
        f"{growth.table()}\n\n"
        "Lines are sampled from a model that was trained on the embedded names, so that there are "
        "as many new contexts as a larger file of the same kind has. The least of three runs.\n\n"
        f"{overhead.table((100, 1_000))}\n\n"
        "From the first trial's start to the last one's end, less training: one step each, the "
        "real train.py, one worker, every file, W&B offline, SQLite."
    )


def scaled() -> str:
    return (
        f"{scale.table()}\n\n"
        f"A trial: from the first start to the last end of {scale.MEASURED} trials of "
        "[the plain example](../examples/plain/app.py), whose objective costs nothing, after so "
        "many made-up ones; a look: the whole study read again, as the parent does four times a "
        f"second (median of {scale.LOOKS}). PostgreSQL runs on the same machine."
    )


@dataclass(frozen=True)
class Section:
    title: str
    body: Callable[[], str]
    full: bool = False


SECTIONS = (
    Section("The same algorithm", compared(step.compare, encode.compare)),
    Section("Another algorithm", compared(level.compare)),
    Section("Where the time of a step goes", breakdown.report),
    Section("Words: 17,000 of them", words.report),
    Section("What a start costs", startup.table),
    Section("Intervals: how often they tell the truth", truth.report),
    Section("Campaigns: how often they tell the truth", campaigns.report, full=True),
    Section("The same algorithm: sweeps", compared(stock.compare), full=True),
    Section(
        "Another algorithm: from the prompt", compared(shell.compare, study.compare), full=True
    ),
    Section("Torture", torture.table, full=True),
    Section("Growth", grown, full=True),
    Section("A study of 10,000 trials", scaled, full=True),
    Section("A report over 1,000 trials", report.table, full=True),
)


def sections_of(page: str) -> dict[str, str]:
    """Title → text of each section of a page that was written before."""
    parts = re.split(r"^## (.*)\n", page, flags=re.MULTILINE)[1:]
    return {title: text.strip() for title, text in zip(parts[::2], parts[1::2], strict=True)}


def main(words: Sequence[str]) -> None:
    named = tuple(word for word in words if not word.startswith("--"))
    full = "--full" in words
    command = "make bench-full" if full else "make bench"
    if named:
        command = f"python -m benchmarks {' '.join(named)}"
    written = sections_of(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for section in SECTIONS:
        if not section.title.startswith(named) if named else section.full and not full:
            continue
        began = time.monotonic()
        body = section.body()
        stamp = f"{datetime.now(UTC):%Y-%m-%d}, `{command}`, commit {commit()}; {machine()}"
        written[section.title] = f"{body}\n\n{stamp}; {time.monotonic() - began:.0f} s"
        print(f"## {section.title}\n\n{written[section.title]}\n", flush=True)
        known = [f"## {title}\n\n{text}\n" for title, text in written.items()]
        write_atomic(RESULTS, "\n".join([INTRODUCTION, *known]))


if __name__ == "__main__":
    main(sys.argv[1:])
