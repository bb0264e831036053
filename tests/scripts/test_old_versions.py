"""What older versions left behind opens: studies, confirmations, looks, runs (tests/data/old)."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import warnings
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

import evaluate_test
import sample
import sweepmore
from sweepmore.runs.files import read_json
from tests.support.helpers import (
    ROOT,
    call_command,
    call_script,
    result_of,
    rows_of,
    run_command,
    run_script,
    script_of,
    train_here,
)

maker = script_of(ROOT / "tools" / "old_version.py")
KEPT = ROOT / "tests" / "data" / "old"
# The last one before the rooms, and one whose confirmation knew no final seeds.
LAST, BEFORE_FINAL_SEEDS = "3c7577b", "b54259d"
VERSIONS = (LAST, pytest.param(BEFORE_FINAL_SEEDS, marks=pytest.mark.system))
SHOW = json.loads((ROOT / "src/sweepmore/command/schemas/show.json").read_text())
# Of the trials of its study.
STATES = ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]


@dataclass(frozen=True)
class Old:
    """A copy of what a version left, as if it had been made in ``place`` by the scripts here."""

    place: Path

    @property
    def outputs(self) -> Path:
        return self.place / "outputs"

    @property
    def looks(self) -> Path:
        return self.place / "looks"

    @property
    def receipt(self) -> Path:
        (path,) = self.looks.iterdir()
        return path

    @property
    def test_loss(self) -> str:
        """As it was recorded, as the scripts print it."""
        return f"{read_json(self.receipt)['result']['loss']['mean']:.4f}"

    @property
    def words(self) -> tuple[str, str]:
        return "study=old", f"outputs={self.outputs}"

    @property
    def named(self) -> tuple[str, str]:
        """For the command."""
        return "old", f"--outputs={self.outputs}"

    def run(self, name: str) -> Path:
        return self.outputs / "runs" / name

    def states(self, study: str = "old") -> list[str]:
        """Of its trials, in order."""
        asked = "SELECT state FROM trials JOIN studies USING (study_id) WHERE study_name = ?"
        with closing(sqlite3.connect(self.outputs / "studies.db")) as database:
            rows = database.execute(f"{asked} ORDER BY number", (study,)).fetchall()
        return [state for (state,) in rows]


@pytest.fixture(params=VERSIONS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    shutil.copytree(KEPT / request.param, tmp_path / "old")
    made = Old(tmp_path / "old")
    places = {maker.DATA: str(made.place), maker.TREE: str(ROOT)}
    for path in made.place.rglob("*"):
        if path.suffix in (".yaml", ".json", ".csv"):
            text = path.read_text()
            for before, now in places.items():
                text = text.replace(before, now)
            path.write_text(text)
    with closing(sqlite3.connect(made.outputs / "studies.db")) as database:
        for table, column in maker.texts(database):
            for place in places.items():
                change = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?)'
                database.execute(change, place)
        database.commit()
    return made


@pytest.mark.system  # matplotlib draws for seconds
def test_report_lists_it_and_draws_its_pages(old: Old) -> None:
    listed = call_command("ls", f"--outputs={old.outputs}")
    assert listed.returncode == 0, listed.stderr
    rows = [line.split() for line in listed.stdout.splitlines()]
    assert ["old", "tested", "4"] in [row[:3] for row in rows]
    assert ["done", "ok"] in [row[:2] for row in rows]
    assert ["interrupted", "not", "ended"] in [row[:3] for row in rows]
    of_study = call_command("report", *old.named)
    assert of_study.returncode == 0, of_study.stderr
    page = (old.outputs / "reports" / "old" / "index.html").read_text()
    assert "2 complete, 1 pruned, 1 failed" in page
    assert old.test_loss in page
    of_run = call_command("report", str(old.run("done")), f"--outputs={old.outputs}")
    assert of_run.returncode == 0, of_run.stderr
    page = (old.outputs / "reports" / "done" / "index.html").read_text()
    assert f"{result_of(old.run('done'))['dev_loss']:.4f}" in page


def test_show_prints_its_study_and_a_program_loads_it(old: Old) -> None:
    shown = call_command("show", *old.named)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "winner   " in shown.stdout
    for words in (["--trial=0"], ["--trial=3"]):
        trial = call_command("show", *old.named, *words)
        assert (trial.returncode, trial.stderr) == (0, "")
    study = sweepmore.load_study("old", outputs=old.outputs)
    assert [trial.state for trial in study.trials] == STATES
    assert study.winner is not None
    assert study.test is not None
    facts = json.loads(call_command("show", *old.named, "--json").stdout)
    assert facts == json.loads(json.dumps(study.as_json()))
    jsonschema.validate(facts, SHOW, jsonschema.Draft202012Validator)


def test_its_winner_and_its_trials_give_samples(old: Old) -> None:
    winner = call_script(sample, *old.words, "n=3", "seed=1")
    assert winner.returncode == 0, winner.stderr
    assert "old.confirm" in winner.stdout
    trial = call_script(sample, *old.words, "trial=0", "explain=emma")
    assert trial.returncode == 0, trial.stderr
    assert "nats/token" in trial.stdout


def test_its_look_is_printed_and_nothing_is_read(old: Old) -> None:
    (old.place / "few.txt").unlink()  # there is nothing to read
    before = old.receipt.read_bytes()
    again = call_script(evaluate_test, *old.words, f"looks={old.looks}")
    assert again.returncode == 0, again.stderr
    assert f"test     {old.test_loss} " in again.stdout
    assert "recorded before: nothing was read now" in again.stderr
    assert old.receipt.read_bytes() == before


@pytest.mark.parametrize("lost", ["row", "receipt"])
def test_its_look_is_known_by_one_of_its_two_records(old: Old, lost: str) -> None:
    before = read_json(old.receipt)
    if lost == "receipt":
        old.receipt.unlink()
    else:
        with closing(sqlite3.connect(old.outputs / "studies.db")) as database:
            for table in {table for table, _ in maker.texts(database)}:
                if table.startswith("sweepmore_look"):
                    assert database.execute(f"DELETE FROM {table}").rowcount > 0
            database.commit()
    again = call_script(evaluate_test, *old.words, f"looks={old.looks}")
    assert again.returncode == 0, again.stderr
    assert f"test     {old.test_loss} " in again.stdout
    assert "recorded before: nothing was read now" in again.stderr
    after = read_json(old.receipt)
    newer = {key: after.pop(key) for key in after.keys() - before.keys()}
    assert after == before
    assert set(newer.values()) <= {None}  # what its version did not record


def test_its_interrupted_run_is_finished(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the losses of the same run begun afresh; another chip rounds otherwise."""
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    stopped = old.run("interrupted")
    steps = [row["step"] for row in rows_of(stopped)]
    train_here(stopped, f"resume={stopped}")
    afresh = train_here(old.run("afresh"), *maker.common(old.place), *maker.INTERRUPTED)
    rows = [row["step"] for row in rows_of(stopped)]
    assert rows[: len(steps)] == steps
    assert rows == [row["step"] for row in rows_of(afresh)]
    ours, theirs = result_of(stopped), result_of(afresh)
    assert ours.keys() == theirs.keys()
    assert ours["steps"] == theirs["steps"] == 400
    for loss in ("dev_loss", "train_loss"):
        assert ours[loss] == pytest.approx(theirs[loss], abs=1e-4)


@pytest.mark.parametrize("old", [LAST], indirect=True)
def test_its_confirmation_is_known_as_done(old: Old) -> None:
    again = call_command("confirm", *old.named, "--top=2", "--seeds=2")
    assert again.returncode == 0, again.stderr
    assert "over 2 final seeds, which did not choose it" in again.stdout
    for study, trials in (("old", 4), ("old.confirm", 2), ("old.confirm-final", 1)):
        assert len(old.states(study)) == trials


@pytest.mark.system
@pytest.mark.parametrize("old", [BEFORE_FINAL_SEEDS], indirect=True)
def test_its_winner_gets_the_final_seeds_that_it_misses(old: Old) -> None:
    assert old.states("old.confirm-final") == []
    more = run_command("confirm", *old.named, "--top=2", "--seeds=2")
    assert more.returncode == 0, more.stderr
    assert "over 2 final seeds, which did not choose it" in more.stdout
    assert "the look at test was of an earlier winner" in more.stdout
    assert len(old.states("old.confirm")) == 2  # none of its seeds anew
    assert old.states("old.confirm-final") == ["COMPLETE"]


@pytest.mark.system
def test_its_command_continues_it(old: Old) -> None:
    """From the sources that it froze, which hold pointers where conf/ now holds values."""
    assert old.states() == STATES
    more = run_script("train.py", "-m", *maker.sweep(old.place, 5))
    assert more.returncode == 0, more.stderr
    assert "old, 4 of 5 trials done before" in more.stdout
    assert "5 of 5 trials done, 1 more" in more.stdout
    assert old.states()[:4] == STATES
    assert len(old.states()) == 5
    listed = call_command("ls", f"--outputs={old.outputs}")
    assert ["old", "tested", "5"] in [line.split()[:3] for line in listed.stdout.splitlines()]
    other = run_script("train.py", "-m", *maker.sweep(old.place, 6), "model.block_size=2")
    assert other.returncode == 2
    assert "    model.block_size: 3 → 2\n" in other.stderr
    assert len(old.states()) == 5
