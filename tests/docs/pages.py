"""The pages that people read, and the commands in their fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.helpers import ROOT

READ = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
# A block whose commands no test can look at says why in a comment above it.
BLOCK = re.compile(
    r"(?P<mark><!-- not run: [^\n]+ -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
OF_A_SHELL = {"", "sh", "bash", "console"}
PROMPT = "$ "


@dataclass(frozen=True)
class Typed:
    """A command as a page has it."""

    page: Path
    line: int
    command: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def typed_in(page: Path) -> Iterator[Typed]:
    """The commands of a page's blocks, except those that say why they are not run."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        if block["mark"] or block["language"] not in OF_A_SHELL:
            continue
        first = text.count("\n", 0, block.start("text")) + 1
        for at, command in commands_of(block["text"]):
            yield Typed(page, first + at, command)


def commands_of(block: str) -> Iterator[tuple[int, str]]:
    """Each command with its line; in a transcript, only what follows a prompt."""
    lines = block.replace("\\\n", "\0").splitlines()
    transcript = any(line.startswith(PROMPT) for line in lines)
    at = 0
    for line in lines:
        if line.strip() and line.startswith(PROMPT) is transcript:
            yield at, line.removeprefix(PROMPT).replace("\0", " ")
        at += 1 + line.count("\0")
