"""Run the benchmarks and write RESULTS.md: ``make bench``, with --full ``make bench-full``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import encode, level, shell, step, stock, study
from benchmarks.common import TABLE_HEAD, Comparison, commit, machine, table_row, text
from sweepmore.record import write_atomic

CHEAP = (step, encode, level)
FULL = (*CHEAP, shell, study, stock)
RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def page(comparisons: Sequence[Comparison]) -> str:
    works = "\n".join(f"- {comparison.name}: {comparison.work}" for comparison in comparisons)
    return (
        "# Benchmark results\n\n"
        "Written by `make bench`. Ours and theirs alternate in one process; more than 1 in the "
        "fourth column means that ours is faster.\n\n"
        f"- date: {datetime.now(UTC):%Y-%m-%d}\n"
        f"- commit: {commit()} (+: with uncommitted changes)\n"
        f"- machine: {machine()}\n\n"
        + "\n".join([TABLE_HEAD, *map(table_row, comparisons)])
        + f"\n\nThe work of each:\n\n{works}\n"
    )


def main(full: bool) -> None:
    comparisons = []
    for benchmark in FULL if full else CHEAP:
        comparisons.append(benchmark.compare())
        print(text(comparisons[-1]), flush=True)
    write_atomic(RESULTS, page(comparisons))


if __name__ == "__main__":
    main(full="--full" in sys.argv[1:])
