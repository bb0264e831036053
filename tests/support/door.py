"""evaluate_test.py on a finished run that has data and a ledger of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
from sqlalchemy.engine import URL

import evaluate_test
from sweepmore.runs import files
from sweepmore.seal.ledger import Ledger
from sweepmore.seal.receipts import Look, receipts
from tests.support.helpers import ROOT, call_script

SCHEMA = json.loads((ROOT / "docs" / "result.schema.json").read_text())
VALID = jsonschema.Draft202012Validator(SCHEMA)


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Door:
    """A finished run with data of its own, and a ledger of its own."""

    place: Path

    @property
    def run(self) -> Path:
        return self.place / "outputs" / "runs" / "r"

    @property
    def data(self) -> Path:
        return self.place / "few_names.txt"

    @property
    def fingerprint(self) -> str:
        return str(files.read_json(self.run / "provenance.json")["data"]["fingerprint"])

    @property
    def ledger(self) -> Ledger:
        url = URL.create("sqlite", database=str(self.place / "outputs" / "studies.db"))
        return Ledger(url, self.place / "looks")

    @property
    def looks(self) -> list[Look]:
        return self.ledger.known(self.fingerprint)

    def words(self, *words: str) -> list[str]:
        own = [f"outputs={self.place / 'outputs'}", f"looks={self.place / 'looks'}"]
        given = any(word.startswith(("run=", "study=")) for word in words)
        return [*words, *own, *(() if given else (f"run={self.run}",))]

    def call(self, *words: str) -> Called:
        """evaluate_test.py in this process."""
        done = call_script(evaluate_test, *self.words(*words))
        return Called(done.returncode, done.stdout, done.stderr)

    def forked(self, *words: str, before: Callable[[], object]) -> multiprocessing.Process:
        """The same in a process of its own, which calls ``before`` first."""

        def child() -> None:
            before()
            os._exit(self.call(*words).code)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        return process  # type: ignore[return-value]  # a ForkProcess is one

    def result(self) -> dict[str, Any]:
        content = files.read_json(self.run / "result.json")
        assert isinstance(content, dict)
        return content


def door_in(place: Path, finished: Path, few_names: Path) -> Door:
    made = Door(place)
    shutil.copytree(finished, made.run)
    shutil.copy(few_names, made.data)
    config = made.run / "config.yaml"
    config.write_text(config.read_text().replace(str(few_names), str(made.data)))
    return made


def assert_complete(door: Door) -> None:
    """One look with a result, the same in row, receipt and result.json."""
    (look,) = door.looks
    assert look.result is not None
    assert receipts(door.place / "looks", door.fingerprint) == [look]
    assert door.result()["test"]["loss"] == look.result["loss"]
    VALID.validate(door.result())
