"""What the log of benchmarks/torture_app says, and the table's block in a page."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass

BEGIN, END = "<!-- benchmarks/torture.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Counts:
    """``finished``: different points that ended with a finite value.

    ``doubled``: ends with a finite value beyond the first of each point; ``unended``: starts
    without an end (raised, killed or interrupted).
    """

    started: int
    finished: int
    doubled: int
    unended: int


def counts(log: str) -> Counts:
    """Of the log's text; a last line that was cut off is not counted."""
    whole = log[: log.rfind("\n") + 1]
    lines = [json.loads(line) for line in whole.splitlines()]
    starts = {line["start"] for line in lines if line["event"] == "start"}
    ends = [line for line in lines if line["event"] == "end"]
    points = Counter((line["x"], line["y"]) for line in ends if line["finite"])
    unended = starts - {line["start"] for line in ends}
    return Counts(len(starts), len(points), points.total() - len(points), len(unended))


def replaced(page: str, table: str) -> str:
    """The page with the table between the markers; unchanged where it has none."""
    block = f"{BEGIN}\n{table.strip()}\n{END}"
    pattern = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    return re.sub(pattern, lambda _: block, page, count=1, flags=re.DOTALL)
