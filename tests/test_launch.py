"""How a worker process ended, by its exit code."""

from __future__ import annotations

import subprocess
from typing import Any, cast

import pytest

from sweepmore.crew import Ending
from sweepmore.launch import Processes


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        ("exit 0", Ending.DONE),
        ("exit 2", Ending.DIED),
        ("kill -9 $$", Ending.DIED),
        ("kill -15 $$", Ending.DIED),  # before it could hand anything back
        ("exit 130", Ending.STOPPED),
        ("exit 143", Ending.STOPPED),
    ],
)
def test_who_handed_back_did_not_die(script: str, ending: Ending) -> None:
    process = subprocess.Popen(["sh", "-c", script])
    process.wait()
    assert Processes.ending(cast(Any, None), process) is ending
