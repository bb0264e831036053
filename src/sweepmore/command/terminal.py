"""Tables in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as Lines

from sweepmore.consoles import stdout_console

if TYPE_CHECKING:
    from sweepmore.report.document import Table

# The most characters in a line, and the width where there is no terminal.
WIDEST = 100


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal; the last column takes what is left, and wraps."""
    from sweepmore.report.document import cell

    console = stdout_console()
    console.width = min(WIDEST, console.width) if console.is_terminal else WIDEST
    lines = Lines(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for k, name in enumerate(table.head):
        last = k == len(table.head) - 1
        # the last column has the settings, by which one tells the rows apart
        lines.add_column(name, no_wrap=not last, overflow="fold" if last else "ellipsis",
                         ratio=1 if last else None)  # fmt: skip
    for row in table.rows:
        lines.add_row(*map(cell, row))
    console.print(lines)
