"""Tables of the documentation whose figures are those of committed results."""

from __future__ import annotations

import re

from tests.support.helpers import ROOT

LOSS = re.compile(r"\d\.\d{3} ± \d\.\d{3}")


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the tables in ``text``, without heads."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    bars = [at for at, row in enumerate(cells) if set("".join(row)) == {"-"}]
    return [row for at, row in enumerate(cells) if at not in bars and at + 1 not in bars]


def test_the_architectures_are_those_of_the_searches() -> None:
    results = (ROOT / "sweeps" / "architectures" / "RESULTS.md").read_text(encoding="utf-8")
    sections = results.split("## At most ")[1:]
    found = [[text.split(" ")[0], *row[:6]] for text in sections for row in rows(text)]
    page = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8")
    assert len(found) == 8
    assert rows(page) == found


def test_the_reference_table_is_that_of_the_splits() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## The reference model")[1].split("\n## ")[0]
    results = (ROOT / "sweeps" / "splits" / "RESULTS.md").read_text(encoding="utf-8")
    shown = [LOSS.findall(" ".join(row)) for row in rows(section)]
    whole = [LOSS.findall(" ".join(row)) for row in rows(results)]
    assert [len(each) for each in shown] == [2] * 5
    assert shown == [each[:2] for each in whole if each]
