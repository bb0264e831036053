"""Standard output as rich sees it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def stdout_console() -> Console:
    """A console of standard output, with styles only where that is a terminal.

    rich alone would take ``FORCE_COLOR`` for one, which notebooks set, and draw a live display into
    a pipe. Text is printed as it is: ``[a,b]`` is no markup.
    """
    from rich.console import Console

    return Console(force_terminal=sys.stdout.isatty(), highlight=False, markup=False)
