"""The application of benchmarks/torture.py: standard library alone, the same for every rival.

Every start and end of a trial is a line of the append-only file $TORTURE_FOLDER/log.jsonl. What
goes wrong depends on the number of the start alone, so it is the same for all.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

NAN, RAISES, KILLED = 4, 7, 10
STEPS, STEP_SECONDS = 5, 0.1


def objective(x: float, y: float) -> float:
    folder = Path(os.environ["TORTURE_FOLDER"])
    start = number_of_start(folder)
    write(folder, {"event": "start", "start": start, "x": x, "y": y, "pid": os.getpid()})
    for _ in range(STEPS):
        time.sleep(STEP_SECONDS)
    if start == RAISES:
        write(folder, {"event": "end", "start": start, "x": x, "y": y, "finite": False})
        raise RuntimeError(f"start {start} raises")
    if start == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    value = float("nan") if start == NAN else (x - 0.3) ** 2 + (y + 0.2) ** 2
    write(folder, {"event": "end", "start": start, "x": x, "y": y, "finite": value == value})
    return value


def number_of_start(folder: Path) -> int:
    """From 1; making a folder is atomic, so two workers never get the same."""
    number = 1
    while True:
        try:
            (folder / f"start-{number}").mkdir()
        except FileExistsError:
            number += 1
        else:
            return number


def write(folder: Path, line: dict[str, object]) -> None:
    """One write of a short line to a file opened for appending: lines of two workers stay whole."""
    file = os.open(folder / "log.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)
