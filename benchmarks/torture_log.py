"""What the log of benchmarks/torture_app says, and the table's block in a page."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass

BEGIN, END = "<!-- benchmarks/torture.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Counts:
    """``finished``: different points that came to an end, with a value, NaN or an exception.

    ``doubled``: ends beyond the first of each point. ``lost``: different points that were begun
    and came to no end, under this or any later command.
    """

    started: int
    finished: int
    doubled: int
    lost: int


def counts(log: str) -> Counts:
    """Count what a log says; a last line that was cut off is not counted."""
    whole = log[: log.rfind("\n") + 1]
    lines = [json.loads(line) for line in whole.splitlines()]
    starts = [(line["x"], line["y"]) for line in lines if line["event"] == "start"]
    ends = Counter((line["x"], line["y"]) for line in lines if line["event"] == "end")
    lost = set(starts) - set(ends)
    return Counts(len(starts), len(ends), ends.total() - len(ends), len(lost))


def replaced(page: str, table: str) -> str:
    """The page with the table between the markers; unchanged where it has none."""
    block = f"{BEGIN}\n{table.strip()}\n{END}"
    pattern = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    return re.sub(pattern, lambda _: block, page, count=1, flags=re.DOTALL)
