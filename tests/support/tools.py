"""Programs that are first on PATH in a test: a driver's tool on a machine without its GPUs."""

from __future__ import annotations

import os
from pathlib import Path

# What nvidia-smi -L says of two GPUs.
SMI = """GPU 0: NVIDIA H200 (UUID: GPU-1f0e)
GPU 1: NVIDIA H200 (UUID: GPU-2a9b)
"""


def simulated(folder: Path, **said: str) -> dict[str, str]:
    """An environment in which each program says this text, whatever it is asked."""
    tools = folder / "tools"
    tools.mkdir()
    for name, text in said.items():
        tool = tools / name
        tool.write_text(f"#!/bin/sh\ncat <<'END'\n{text.rstrip()}\nEND\n")
        tool.chmod(0o755)
    return {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
