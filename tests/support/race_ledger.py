"""Processes that claim the same split at the same time: ``race_ledger.py FOLDER SIZE ROUNDS``.

With ``variants=FILE`` behind the rest, each claims the same lines under a fingerprint of its own.

With ``URL FOLDER2`` besides, the rounds' databases are those of a server (``{}`` in the URL is the
round), and every other process has its receipts in the second folder, as on another machine.

A program of its own, because its processes must have loaded neither torch nor Hydra, as a test
run has. Prints one JSON list a round: how each process's claim ended.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from sweepmore.seal.ledger import Ledger
from sweepmore.seal.overlap import Items
from sweepmore.seal.refusals import Refused

FINGERPRINT = "f" * 32
# Ends the race where a process died: the others would wait for it for ever.
PATIENCE = 120


def race_ended(*words: object, env: Mapping[str, str] | None = None) -> list[Counter[str]]:
    """Run this program with these words; how often each ending came, a round each."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.race_ledger", *map(str, words)],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return [Counter(json.loads(line)) for line in done.stdout.splitlines()]


def ledger_in(folder: Path) -> Ledger:
    return Ledger(URL.create("sqlite", database=str(folder / "studies.db")), folder / "looks")


@dataclass(frozen=True)
class Place:
    """Where one process claims: its folder, and the server's databases where there is one."""

    folder: Path
    url: str | None = None
    variants: Path | None = None

    def asked(self, number: int) -> tuple[str, Items | None]:
        """Fingerprint and items that the process of this number claims."""
        if self.variants is None:
            return FINGERPRINT, None
        variants = read_variants(self.variants)
        return variants[number % len(variants)]

    def ledger(self, turn: int) -> Ledger:
        alone = ledger_in(self.folder / str(turn))
        return alone if self.url is None else Ledger(make_url(self.url.format(turn)), alone.folder)


@functools.cache
def read_variants(path: Path) -> list[tuple[str, Items]]:
    return [
        (name, Items(frozenset(keys), times, share))
        for name, keys, times, share in json.loads(path.read_text())
    ]


def racer(
    place: Place, rounds: int, start: Barrier, results: SimpleQueue[tuple[int, str]], number: int
) -> None:
    fingerprint, items = place.asked(number)
    for turn in range(rounds):
        ledger = place.ledger(turn)
        start.wait(PATIENCE)
        try:
            ledger.claim(fingerprint, f"checkpoint {number}", {"by": number}, items=items)
            results.put((turn, "won"))
        except Refused:
            results.put((turn, "refused"))
        except Exception as error:
            results.put((turn, repr(error)))


def race(places: Sequence[Place], size: int, rounds: int) -> list[list[str]]:
    """How each claim ended, by round; the processes live through all rounds."""
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(size), context.SimpleQueue()
    racers = [
        context.Process(target=racer, args=(place, rounds, start, results, number))
        for number, place in zip(range(size), itertools.cycle(places))
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
    folder, size, rounds, *server = sys.argv[1:]
    places = [Place(Path(folder))]
    variants = Path(server.pop()[9:]) if server and server[-1].startswith("variants=") else None
    if server:
        places = [Place(Path(one), server[0]) for one in (folder, server[1])]
    places = [dataclasses.replace(place, variants=variants) for place in places]
    for ended in race(places, int(size), int(rounds)):
        print(json.dumps(ended))
