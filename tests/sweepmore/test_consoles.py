"""A pipe is no terminal, whatever the environment asks for."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
from sweepmore.consoles import stdout_console
console = stdout_console()
console.print("trial [a,b] 12", style="bold")
print(console.is_terminal)
"""


@pytest.mark.parametrize("name", ["FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"])
def test_styles_are_for_terminals(name: str) -> None:
    words = ["env", f"{name}=1", sys.executable, "-c", CODE]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "trial [a,b] 12\nFalse\n"
