"""A terminal of so many columns, as far as rich's live view uses one."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.helpers import environment
from tests.support.sweep_apps import PATIENCE, until

LINES = 50
# An escape sequence, or the beginning of one.
ESCAPE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")


@dataclass
class Screen:
    """What stands on a terminal after all that a program wrote to it."""

    columns: int
    rows: list[str] = field(default_factory=lambda: [""])  # history included, without styles
    row: int = 0
    column: int = 0
    is_cursor_shown: bool = True
    widest: int = 0  # columns that were ever used
    _rest: str = ""  # of an escape sequence whose end is still to come

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    def feed(self, text: str) -> None:
        text = self._rest + text
        self._rest = ""
        while text:
            if match := ESCAPE.match(text):
                self._obey(match[1], match[2])
                text = text[match.end() :]
            elif text[0] == "\x1b":
                self._rest, text = text, ""
            else:
                self._type(text[0])
                text = text[1:]

    def _obey(self, number: str, letter: str) -> None:
        if letter == "A":
            self.row = max(0, self.row - int(number or 1))
        elif letter == "K":
            assert number == "2", f"unknown: erase {number}"
            self.rows[self.row] = ""
        elif number == "?25":
            self.is_cursor_shown = letter == "h"
        else:
            assert letter == "m", f"unknown: {number}{letter}"

    def _type(self, character: str) -> None:
        if character == "\r":
            self.column = 0
            return
        if character == "\n" or self.column == self.columns:
            self.row, self.column = self.row + 1, 0 if character != "\n" else self.column
            self.rows += [""] * (self.row + 1 - len(self.rows))
        if character != "\n":
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1
            self.widest = max(self.widest, self.column)


@dataclass
class OnTerminal:
    """A program, its terminal, and what stands there."""

    process: subprocess.Popen[bytes]
    screen: Screen
    _ours: int
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=codecs.getincrementaldecoder("utf-8")
    )

    def read(self) -> bool:
        """Read what there is; False once the program has closed its terminal."""
        if not select.select([self._ours], [], [], 0.05)[0]:
            return True
        try:
            written = os.read(self._ours, 1 << 16)
        except OSError:  # Linux's end of file
            return False
        self.screen.feed(self._decoder.decode(written))
        return bool(written)

    def until(self, what: Callable[[str], object]) -> None:
        """Read until the screen's text is as wanted."""
        until(lambda: (self.read(), what(self.screen.text))[1])

    def press_ctrl_c(self) -> None:
        os.write(self._ours, b"\x03")

    def end(self) -> int:
        """Read to the program's end, and return its exit code."""
        until(lambda: not self.read())
        return self.process.wait(PATIENCE)


@contextmanager
def on_terminal(command: Sequence[str], folder: Path, columns: int) -> Iterator[OnTerminal]:
    """Start a program on a terminal of its own, which it controls."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment({"TERM": "xterm-256color", "COLUMNS": "", "LINES": ""}),
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(its, termios.TIOCSCTTY, 0),
    )
    os.close(its)
    try:
        yield OnTerminal(process, Screen(columns), ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
