"""Processes that claim the same split at the same time: ``race_ledger.py FOLDER SIZE ROUNDS``.

A program of its own, because its processes must have loaded neither torch nor Hydra, as a test
run has. Prints one JSON list a round: how each process's claim ended.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from sqlalchemy.engine import URL

from sweepmore.ledger import Ledger, Refused

FINGERPRINT = "f" * 32
# Ends the race where a process died: the others would wait for it for ever.
PATIENCE = 120


def ledger_in(folder: Path) -> Ledger:
    return Ledger(URL.create("sqlite", database=str(folder / "studies.db")), folder / "looks")


def racer(
    folder: Path, rounds: int, start: Barrier, results: SimpleQueue[tuple[int, str]], number: int
) -> None:
    for turn in range(rounds):
        ledger = ledger_in(folder / str(turn))
        start.wait(PATIENCE)
        try:
            ledger.claim(FINGERPRINT, f"checkpoint {number}", {"by": number})
            results.put((turn, "won"))
        except Refused:
            results.put((turn, "refused"))
        except Exception as error:
            results.put((turn, repr(error)))


def race(folder: Path, size: int, rounds: int) -> list[list[str]]:
    """How each claim ended, by round; the processes live through all rounds."""
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(size), context.SimpleQueue()
    racers = [
        context.Process(target=racer, args=(folder, rounds, start, results, number))
        for number in range(size)
    ]
    for process in racers:
        process.start()
    ends: list[list[str]] = [[] for _ in range(rounds)]
    for _ in range(size * rounds):
        turn, end = results.get()
        ends[turn].append(end)
    for process in racers:
        process.join()
    return ends


if __name__ == "__main__":
    heavy = {"torch", "hydra", "optuna", "omegaconf", "numpy"} & set(sys.modules)
    assert not heavy, heavy
    for ended in race(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])):
        print(json.dumps(ended))
