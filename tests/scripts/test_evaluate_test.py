"""The door to the test split: evaluate_test.py as a user meets it, from the sweep to a kill."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from omegaconf import OmegaConf
from optuna.distributions import IntDistribution
from optuna.trial import create_trial
from sqlalchemy.engine import URL

import evaluate_test
from nplm import console, sealed
from nplm.app import keeping_look
from nplm.app.looks import Looks, looks_at, recorded_looks
from nplm.config import Config, Data
from nplm.data import Splits, load_splits
from nplm.state import begin
from sweepmore.compose import cli
from sweepmore.runs import files
from sweepmore.seal import ledger as ledgers
from sweepmore.seal import receipts as receipt_files
from sweepmore.seal.ledger import Ledger
from sweepmore.seal.receipts import Look, receipts
from sweepmore.seal.refusals import Refused
from sweepmore.seal.rows import Rows
from sweepmore.storage.opening import open_storage
from sweepmore.study.attributes import stored
from tests.support.door import VALID, Called, Door, assert_complete, door_in
from tests.support.fault_shim.loop import Ended, forked
from tests.support.fault_shim.shim import Faults, install
from tests.support.helpers import (
    ROOT,
    TrainHere,
    call_script,
    environment,
    run_command,
    run_script,
    train_here,
    wandb_records,
    wandb_summary,
)

# In no name, and in every test line of the canary's file.
CANARY = "qzxjvwq"
# Committed looks count beside a door's own. Of this split's 40 test names they saw 7; of seed 5's
# 16, and with a look at the door's split half.
ANOTHER_SPLIT = "data.seed=31"


def result_in(called: Called) -> str:
    """From the number on; before it stands what was evaluated."""
    return called.out[called.out.index("test     ") :]


@pytest.fixture
def door(finished: Path, few_names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    return door_in(tmp_path, finished, few_names)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fingerprint of each split that was read in this process."""
    seen: list[str] = []
    load = sealed.load_test

    def counted(*given: Any) -> Any:
        seen.append(given[-1])
        return load(*given)

    monkeypatch.setattr(sealed, "load_test", counted)
    return seen


@pytest.fixture
def rival(door: Door, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another run of the door's split, in its folder of runs: counting pairs."""
    monkeypatch.setattr(sys, "argv", [])
    folder = door.run.parent / "rival"
    train_here(
        folder, "data=text", f"data.path={door.data}", "model=bigram",
        "model.by=counts", "seed=8", "wandb.mode=disabled",
    )  # fmt: skip
    return folder


class TestBeside:
    """A split has one look: what is to be compared on it is evaluated in that look."""

    def test_several_runs_in_one_look(self, door: Door, rival: Path, reads: list[str]) -> None:
        words = (f"beside=[{rival}]", f"chosen_on={rival}")
        first = door.call(*words)
        assert first.code == 0, first.err
        assert reads == [door.fingerprint]
        (look,) = door.looks
        name = files.read_json(rival / "provenance.json")["run_id"]
        weights = hashlib.sha256((rival / "model.safetensors").read_bytes()).hexdigest()
        assert look.about["beside"] == {name: weights}
        assert look.about["chosen_on"] == name
        assert look.result is not None
        (other,) = look.result["beside"]
        assert other["run"] == name
        assert other["difference"]["mean"] == pytest.approx(
            look.result["loss"]["mean"] - other["loss"]["mean"]
        )
        # its dev lines are this run's own: no unseen line is lost
        assert look.result["fresh_lines"] == look.result["unseen_lines"]
        assert f"beside   {name}; " in first.out
        assert_complete(door)
        # recorded: with the same runs, or without naming them
        for again in (door.call(*words), door.call()):
            assert (again.code, result_in(again)) == (0, result_in(first)), again.err
        assert reads == [door.fingerprint]

    def test_a_recorded_look_has_no_further_run(self, door: Door, rival: Path) -> None:
        assert door.call().code == 0
        refused = door.call(f"beside=[{rival}]")
        assert refused.code == 2
        assert "was claimed for its own run alone" in refused.err

    @pytest.mark.parametrize("runs", ["{own}", "{rival},{rival}"])
    def test_a_run_named_twice(self, door: Door, rival: Path, runs: str) -> None:
        refused = door.call(f"beside=[{runs.format(own=door.run, rival=rival)}]")
        assert (refused.code, door.looks) == (2, [])
        assert "named twice" in refused.err

    def test_a_run_of_another_split(self, door: Door, rival: Path) -> None:
        path = rival / "provenance.json"
        kept = files.read_json(path)
        files.write_json(path, {**kept, "data": {**kept["data"], "fingerprint": "0" * 32}})
        refused = door.call(f"beside=[{rival}]")
        assert (refused.code, door.looks) == (2, [])
        assert "another split (000" in refused.err

    def test_changed_weights_are_refused_before_the_claim(self, door: Door, rival: Path) -> None:
        path = rival / "result.json"
        files.write_json(path, {**files.read_json(path), "dev_loss": 1.0})
        refused = door.call(f"beside=[{rival}]")
        assert (refused.code, door.looks) == (2, [])
        assert "On dev the weights give" in refused.err

    def test_what_a_run_beside_began_with_is_said(self, door: Door, rival: Path) -> None:
        path = rival / "provenance.json"
        start = {"folder": "gone", "run_id": "other", "fingerprint": "0" * 32}
        files.write_json(path, {**files.read_json(path), "start_from": start})
        done = door.call(f"beside=[{rival}]")
        assert done.code == 0, done.err
        (look,) = door.looks
        (name,) = look.about["beside"]
        warning = look.about["beside_start_from"][name]
        assert "gone, which learned from another split" in warning
        assert warning in done.out
        assert door.call(f"beside=[{rival}]").code == 0

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("lower: false", "lower: true", "has data.unit=char data.lower=True"),
            ("seed: 42", "seed: 43", "chosen_on: the data are not those that rival saw"),
        ],
    )
    def test_dev_lines_that_are_not_as_they_were(
        self, door: Door, rival: Path, old: str, new: str, said: str
    ) -> None:
        path = rival / "config.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        refused = door.call(f"chosen_on={rival}")
        assert (refused.code, door.looks) == (2, [])
        assert said in refused.err

    def test_a_dead_claim_is_finished_for_its_own_runs_alone(self, door: Door, rival: Path) -> None:
        def die() -> None:
            sealed.load_test = lambda *given: os._exit(9)

        process = door.forked(f"beside=[{rival}]", before=die)
        process.join()
        assert process.exitcode == 9
        refused = door.call("complete=true")
        assert refused.code == 2
        assert "was claimed for beside=[" in refused.err
        done = door.call("complete=true", f"beside=[{rival}]")
        assert done.code == 0, done.err
        assert_complete(door)


class TestOneLook:
    def test_first_and_second(self, door: Door, reads: list[str]) -> None:
        first = door.call()
        assert first.code == 0, first.err
        assert reads == [door.fingerprint]
        second = door.call()
        assert second.code == 0, second.err
        assert reads == [door.fingerprint]
        which = second.out[: second.out.index("test     ")].splitlines()
        assert which[0] == f"run      {door.run}"
        assert "seed=7" in which[1].split()
        assert which[2] == f"split    fingerprint {door.fingerprint}"
        assert all(line.startswith("seen ") for line in which[3:])  # by committed looks
        receipt = door.place / "looks" / f"{door.fingerprint}-1.json"
        assert f"git add {receipt} && git commit" in first.err
        assert result_in(first) == result_in(second)
        assert "look     1 of 1 (20" in second.out
        assert [(look.number, look.result is None) for look in door.looks] == [(1, False)]

    def test_shows_what_it_will_evaluate_before_it_claims(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*given: object) -> None:
            raise Refused("at the claim", cure="")

        monkeypatch.setattr(Ledger, "claim", refuse)
        called = door.call()
        assert called.code == 3
        for told in (f"run      {door.run}", "parameters", "as recorded", door.fingerprint):
            assert told in called.out

    def test_second_call_reads_neither_data_nor_model(self, door: Door) -> None:
        first = door.call()
        door.data.write_text("nothing\nof\nthe\nkind\n")
        (door.run / "config.yaml").write_text("nothing: of the kind\n")
        second = door.call()
        assert second.code == 0, second.err
        assert result_in(first) == result_in(second)

    def test_a_receipt_that_was_removed_is_told_and_restored(self, door: Door) -> None:
        first = door.call()
        kept = receipts(door.place / "looks")
        shutil.rmtree(door.place / "looks")
        second = door.call()
        assert second.code == 0
        assert result_in(first) == result_in(second)
        assert "restored the receipt of look 1" in second.err
        assert receipts(door.place / "looks") == kept == door.looks
        assert "restored" not in door.call().err

    def test_a_database_that_was_removed_gets_its_row_again(
        self, door: Door, reads: list[str]
    ) -> None:
        """As in a fresh clone, whose receipts are committed."""
        first, kept = door.call(), door.looks
        (door.place / "outputs" / "studies.db").unlink()
        second = door.call()
        assert (second.code, len(reads)) == (0, 1), second.err
        assert result_in(first) == result_in(second)
        assert "restored the row of look 1" in second.err
        shutil.rmtree(door.place / "looks")
        assert door.looks == kept

    def test_the_committed_looks_are_read_whatever_the_settings(
        self, door: Door, reads: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = door.call()
        monkeypatch.setattr(evaluate_test, "LOOKS", str(door.place / "looks"))
        elsewhere = door.place / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "other.db").touch()
        words = f"run={door.run}", f"outputs={elsewhere}", f"looks={elsewhere / 'looks'}"
        for more in ((), (f"storage=sqlite:///{elsewhere / 'other.db'}",)):
            called = call_script(evaluate_test, *words, *more)
            assert called.returncode == 0, called.stderr
            assert result_in(first) == called.stdout[called.stdout.index("test     ") :]
        assert len(reads) == 1
        assert receipts(elsewhere / "looks") == []

    def test_result_json_fits_the_schema(self, door: Door) -> None:
        before = door.result()
        VALID.validate(before)
        door.call()
        after = door.result()
        VALID.validate(after)
        (look,) = door.looks
        assert look.result is not None
        about = {"look": 1, "claimed": look.claimed, "reason": None}
        assert after == {**before, "test": {**about, **look.result}}

    @pytest.mark.parametrize("words", [(), ("study=a", "run=b")])
    def test_study_or_run(self, door: Door, words: tuple[str, ...]) -> None:
        out = io.StringIO()
        with contextlib.redirect_stderr(out), pytest.raises(SystemExit) as ended:
            cli.command(evaluate_test.Arguments, evaluate_test.main, list(words))
        assert ended.value.code == 2
        assert "one of the two is needed" in out.getvalue()

    def test_last_run(self, door: Door) -> None:
        assert f"run      {door.run}" in door.call("run=last").out

    def test_a_study_s_trial_is_a_run_like_any_other(self, door: Door, reads: list[str]) -> None:
        """Its look counts for the checkpoint, whichever way it is named."""
        trial = door.place / "outputs" / "studies" / "s" / "0017"
        shutil.copytree(door.run, trial)
        first = door.call("study=s", "trial=17")
        assert first.code == 0, first.err
        assert f"run      {trial}" in first.out
        assert files.read_json(trial / "result.json")["test"]["look"] == 1
        assert result_in(first) == result_in(door.call("study=last", "trial=17"))
        assert result_in(first) == result_in(door.call())
        assert (len(reads), len(door.looks)) == (1, 1)

    def test_counting_may_look_further_back_than_the_net(self, door: Door) -> None:
        door.call()
        net = json.loads(json.dumps(door.result()))["test"]
        assert net["counting_order"] > 4  # of block size 3; these names are sorted


class TestAnotherLook:
    def test_is_shown_beside_every_number_from_then_on(self, door: Door, reads: list[str]) -> None:
        door.call()
        again = door.call("another_look=a bug in the bootstrap")
        assert again.code == 0, again.err
        assert "look     2 of 2: a bug in the bootstrap (20" in again.out
        assert len(reads) == 2
        later = door.call()
        assert "look     2 of 2: a bug in the bootstrap (20" in later.out
        assert len(reads) == 2
        assert door.result()["test"]["reason"] == "a bug in the bootstrap"
        VALID.validate(door.result())

    def test_of_another_checkpoint(self, door: Door, here: TrainHere, reads: list[str]) -> None:
        door.call()
        other = here(door.place / "outputs" / "runs" / "other", "seed=8", f"data.path={door.data}")
        refused = door.call(f"run={other}")
        assert refused.code == 3
        assert "looked at before, with another checkpoint: look 1, taken 20" in refused.err
        assert "claimed, no result" not in refused.err
        assert "Any other data.seed is another split" in refused.err
        assert len(reads) == 1
        assert door.call(f"run={other}", "another_look=why").code == 0
        first = door.call()  # whose own number is of look 1, and no longer alone
        assert first.code == 0
        assert "look     1 of 2 (20" in first.out
        assert "later    2 of 2: why (20" in first.out

    def test_of_one_number_from_another_database(self, door: Door, tmp_path: Path) -> None:
        """Both are shown beside either's number."""
        door.call()
        receipt = door.ledger.path(door.looks[0])
        fields = json.loads(receipt.read_text())
        receipt.write_text(json.dumps({**fields, "claimed": "2026-01-02T03:04:05+00:00"}))
        called = door.call()
        assert called.code == 0, called
        assert "look     1 of 2 (20" in called.out
        assert "earlier  1 of 2 (2026-01-02)" in called.out

    def test_of_the_same_lines_under_another_fingerprint(
        self, door: Door, here: TrainHere, reads: list[str]
    ) -> None:
        """Settings that change none of these lines; another seed is another split."""
        door.call()
        runs = door.place / "outputs" / "runs"
        words = f"data.path={door.data}", "optim.steps=8"
        same = here(runs / "same", *words, "data.lower=true")
        refused = door.call(f"run={same}")
        assert refused.code == 3
        told = f"40 of its 40 items were looked at before, under the fingerprint {door.fingerprint}"
        assert told in refused.err
        assert "Any other data.seed is another split" in refused.err
        assert refused.out == ""
        assert len(reads) == 1
        assert door.call(f"run={same}", "another_look=a slip").code == 0
        assert files.read_json(same / "result.json")["test"]["reason"] == "a slip"
        other = here(runs / "other", *words, ANOTHER_SPLIT)
        called = door.call(f"run={other}")
        assert called.code == 0, called.err
        seen = [line for line in called.out.splitlines() if line.startswith("seen ")]
        by = {line.split(" by look 1 at ")[1].split()[0] for line in seen[:-1]}
        assert by >= {look.fingerprint[:8] for look in door.ledger.known()} - {reads[-1][:8]}
        assert "by any of these looks" in seen[-1]
        (look,) = door.ledger.looks(reads[-1])
        assert look.reason is None
        assert result_in(called) == result_in(door.call(f"run={other}"))

    def test_what_earlier_looks_saw_is_shown_before_the_claim_and_once(
        self, door: Door, here: TrainHere, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        door.call()
        runs = door.place / "outputs" / "runs"
        other = here(runs / "other", f"data.path={door.data}", "optim.steps=8", ANOTHER_SPLIT)

        def refuse(*given: object) -> None:
            raise Refused("at the claim", cure="")

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "claim", refuse)
            calls = [door.call(f"run={other}")]
        assert calls[0].code == 3
        killed(door, f"run={other}", at=killing(sealed, "load_test", "before"))
        calls += [door.call(f"run={other}", *word) for word in (["complete=true"], [])]
        seen = [[line for line in called.out.splitlines() if line.startswith("seen ")]
                for called in calls]  # fmt: skip
        assert seen[0] == seen[1] == seen[2]
        assert len(set(seen[0])) == len(seen[0]) > 0
        for called in calls[1:]:
            assert called.out.index("seen ") < called.out.index("test  ")

    def test_completes_an_earlier_receipt_and_says_so(self, door: Door, here: TrainHere) -> None:
        """One from before there were keys; the line to commit it comes with it, once."""
        door.call()
        path = without_keys(door)
        runs = door.place / "outputs" / "runs"
        other = here(runs / "other", f"data.path={door.data}", "optim.steps=8", ANOTHER_SPLIT)
        called = door.call(f"run={other}")
        assert called.code == 0, called
        assert f"completed the receipt {path}: it now says which lines the look saw" in called.err
        assert f"git add {path} && git commit -m 'Lines of an earlier look'" in called.err
        assert json.loads(path.read_text())["keys"]
        assert "completed" not in door.call(f"run={other}", "another_look=why").err

    def test_with_complete_contradicts(self, door: Door) -> None:
        called = door.call("another_look=a", "complete=true")
        assert (called.code, door.looks) == (2, [])
        assert "contradict" in called.err


class TestRefusedBeforeTheClaim:
    @pytest.fixture(autouse=True)
    def nothing_happened(self, door: Door, reads: list[str]) -> Iterator[None]:
        yield
        assert (door.looks, reads) == ([], [])

    def refused(self, door: Door, told: str, code: int = 2) -> None:
        called = door.call()
        assert called.code == code, called
        assert told in called.err

    def test_data_changed(self, door: Door) -> None:
        lines = door.data.read_text().splitlines()
        door.data.write_text("\n".join([*lines[1:], "newcomer"]) + "\n")
        self.refused(door, "The data are not those that r saw.")

    def test_data_gone(self, door: Door) -> None:
        door.data.unlink()
        self.refused(door, "No such file")

    def test_fingerprint_rewritten(self, door: Door) -> None:
        """To claim under another name what is evaluated."""
        path = door.run / "provenance.json"
        path.write_text(path.read_text().replace(door.fingerprint, "0" * 32))
        self.refused(door, "The data are not those that r saw.")

    def test_checkpoint_of_another_run(self, door: Door, here: TrainHere) -> None:
        other = here(door.place / "other", "seed=8", f"data.path={door.data}")
        shutil.copy(other / "model.safetensors", door.run)
        self.refused(door, "is recorded")

    def test_one_bit_flipped(self, door: Door) -> None:
        path = door.run / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)
        self.refused(door, "digest does not fit")

    def test_checkpoint_truncated(self, door: Door) -> None:
        path = door.run / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-8])
        self.refused(door, "not a whole safetensors file")

    def test_checkpoint_gone(self, door: Door) -> None:
        (door.run / "model.safetensors").unlink()
        self.refused(door, "holds no model.safetensors")

    @pytest.mark.parametrize("change", [0.001, None])
    def test_dev_loss_differs(self, door: Door, change: float | None) -> None:
        result = door.result()
        loss = None if change is None else result["dev_loss"] + change
        (door.run / "result.json").write_text(json.dumps({**result, "dev_loss": loss}))
        self.refused(door, "On dev the weights give")

    def test_receipts_cannot_be_written(self, door: Door) -> None:
        (door.place / "looks").write_text("a file in the way")
        self.refused(door, "The ledger: ")

    def test_ledger_cannot_be_read(self, door: Door) -> None:
        database = door.place / "outputs" / "studies.db"
        database.write_text("not a database, but long enough to be taken for one")
        self.refused(door, "cannot be opened: file is not a database")
        database.unlink()

    def test_run_of_a_folder_that_is_none(self, door: Door) -> None:
        called = door.call("run=nowhere")
        assert called.code == 2
        assert "nowhere is not a run" in called.err

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("study=nowhere", "trial=0"), "There is no study nowhere"),
            (("study=s", "trial=1"), "s has no run of a trial 1."),
            (("study=s", "trial=0"), "Trial 0 of s holds no model.safetensors"),
            (("run=r", "trial=0"), "run=r and trial=0 are two runs."),
            (("run=r", "study=s", "trial=0"), "one of the two is needed"),
        ],
    )
    def test_trial_that_is_none(self, door: Door, words: tuple[str, ...], told: str) -> None:
        trial = door.place / "outputs" / "studies" / "s" / "0000"
        trial.mkdir(parents=True)
        shutil.copy(door.run / "config.yaml", trial)
        called = door.call(*words)
        assert called.code == 2
        assert told in called.err

    def test_trial_without_its_study(self, door: Door) -> None:
        """A look is for ever: the last study is not guessed."""
        words = [f"outputs={door.place / 'outputs'}", f"looks={door.place / 'looks'}", "trial=0"]
        out = io.StringIO()
        with contextlib.redirect_stderr(out), pytest.raises(SystemExit) as ended:
            cli.command(evaluate_test.Arguments, evaluate_test.main, words)
        assert ended.value.code == 2
        assert "one of the two is needed" in out.getvalue()

    @pytest.mark.parametrize("word", ["outputs={}", "storage=sqlite:///{}/studies.db"])
    def test_a_misspelt_place_begins_no_ledger(self, door: Door, word: str) -> None:
        typo = door.place / "typo"
        words = f"run={door.run}", f"looks={door.place / 'looks'}", word.format(typo)
        called = call_script(evaluate_test, *words)
        assert called.returncode == 2
        assert "here is no" in called.stderr
        assert "such file" in called.stderr or str(typo) in called.stderr
        assert not typo.exists()

    def test_study_that_is_none(self, door: Door) -> None:
        called = door.call("study=nowhere")
        assert called.code == 2
        assert "There is no study nowhere" in called.err


def test_data_that_change_after_the_claim_are_not_evaluated(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, claim = door.data.read_text(), Ledger.claim

    def then_changed(*given: Any) -> Look:
        look = claim(*given)
        door.data.write_text(before + "latecomer\n")
        return look

    monkeypatch.setattr(Ledger, "claim", then_changed)
    process = door.forked(before=lambda: None)
    process.join(120)
    assert process.exitcode == 2
    (look,) = door.looks
    assert look.result is None
    door.data.write_text(before)
    assert door.call("complete=true").code == 0


def without_keys(door: Door) -> Path:
    """Row and receipt as they were before there were keys; returns the receipt's path."""
    with sqlalchemy.create_engine(door.ledger.url).begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE sweepmore_look_keys"))
    path = door.ledger.path(door.looks[0])
    fields = json.loads(path.read_text())
    del fields["keys"], fields["overlap"]
    path.write_text(json.dumps(fields))
    return path


# Where a kill comes: of what, before or after it. What may follow: "free", it runs again as if
# nothing had been; "claimed", complete=true alone goes on; "done", the number is known.
KILLS: list[tuple[object, str, str, str]] = [
    (evaluate_test, "find", "after", "free"),
    (evaluate_test, "check", "before", "free"),
    (evaluate_test, "check", "after", "free"),
    (Ledger, "prepare", "after", "free"),
    (evaluate_test, "hashed", "after", "free"),
    (evaluate_test, "show_subject", "after", "free"),
    (Ledger, "claim", "before", "free"),
    (ledgers, "write_receipt", "before", "claimed"),  # the row is there
    (json, "dump", "before", "claimed"),  # an empty receipt
    (ledgers, "write_receipt", "after", "claimed"),
    (sealed, "load_test", "before", "claimed"),
    (sealed, "load_test", "after", "claimed"),
    (sealed, "evaluate", "after", "claimed"),
    (Ledger, "finish", "before", "claimed"),
    (Rows, "update", "before", "claimed"),
    (Rows, "update", "after", "done"),  # its receipt still without the result
    (receipt_files, "write_json", "before", "done"),
    (receipt_files, "write_json", "after", "done"),
    (evaluate_test, "show_result", "before", "done"),
    (evaluate_test, "keep", "before", "done"),
    (files, "write_json", "before", "done"),
    (files, "write_json", "after", "done"),
    (evaluate_test, "keep", "after", "done"),
]


def killing(owner: object, name: str, when: str) -> Callable[[], None]:
    """kill -9 this process before or after it calls that function."""

    def arm() -> None:
        call = getattr(owner, name)

        def deadly(*given: Any, **more: Any) -> Any:
            if when == "after":
                call(*given, **more)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, name, deadly)

    return arm


def killed(door: Door, *words: str, at: Callable[[], None]) -> None:
    process = door.forked(*words, before=at)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(("owner", "name", "when", "state"), KILLS)
def test_killed_at_each_point(
    door: Door, reads: list[str], owner: object, name: str, when: str, state: str
) -> None:
    killed(door, at=killing(owner, name, when))
    called = door.call()
    if state == "claimed":
        assert called.code == 3, called
        assert "claimed, no result" in called.err
        assert "complete=true" in called.err
        assert (called.out, reads) == ("", [])
        assert "test" not in door.result()
        called = door.call("complete=true")
    assert called.code == 0, called.err
    assert "look     1 of 1 (20" in called.out
    assert len(reads) == (0 if state == "done" else 1)
    assert_complete(door)
    assert door.call("complete=true").code == 0  # there is nothing to complete: it prints
    assert len(reads) == (0 if state == "done" else 1)


def test_completing_can_be_killed_and_completed(door: Door) -> None:
    killed(door, at=killing(sealed, "load_test", "before"))
    for owner, name, when in [
        (Rows, "update", "after"),  # the claim is taken over, its receipt names the dead
        (sealed, "load_test", "after"),
        (sealed, "evaluate", "before"),
    ]:
        killed(door, "complete=true", at=killing(owner, name, when))
    assert door.call().code == 3
    assert door.call("complete=true").code == 0
    assert_complete(door)


def test_another_look_that_died_is_completed(door: Door, reads: list[str]) -> None:
    """Although the first has a number for the same weights, which is printed otherwise."""
    door.call()
    killed(door, "another_look=why", at=killing(sealed, "load_test", "before"))
    printed = door.call()
    assert (printed.code, len(reads)) == (0, 1)
    assert [look.result is None for look in door.looks] == [False, True]
    completed = door.call("complete=true")
    assert (completed.code, len(reads)) == (0, 2), completed
    assert "look     2 of 2: why (20" in completed.out
    assert [look.result is None for look in door.looks] == [False, False]


def test_complete_is_for_the_same_checkpoint_and_a_dead_process(
    door: Door, here: TrainHere
) -> None:
    other = here(door.place / "outputs" / "runs" / "other", "seed=8", f"data.path={door.data}")
    assert door.call("complete=true").code == 2  # nothing is claimed
    killed(door, at=killing(sealed, "load_test", "before"))
    refused = door.call(f"run={other}", "complete=true")
    assert refused.code == 3
    assert "another checkpoint" in refused.err
    assert door.call("another_look=the first died").code == 0  # the other documented way
    assert [look.result is None for look in door.looks] == [True, False]


@pytest.fixture
def confirmed(door: Door) -> optuna.Study:
    """The confirmation that named the door's run the winner."""
    storage = open_storage(door.ledger.url)
    optuna.create_study(study_name="s", storage=storage).set_user_attr("command", {"words": []})
    study = optuna.create_study(study_name="s.confirm", storage=storage)
    study.set_user_attr("command", {"words": []})
    study.set_user_attr("winner", {"run": str(door.run), "files": {}})
    return study


@pytest.fixture
def stale(door: Door, confirmed: optuna.Study) -> str:
    """Trial 0 was confirmed and won; since then the search has found a better one. Returns what is
    said of that."""
    searched = optuna.load_study(study_name="s", storage=confirmed._storage)
    for at, value in enumerate([1.0, 0.5]):
        attrs = {"slot": at, "root": at}
        searched.add_trial(create_trial(value=value, params={"x": at}, user_attrs=attrs,
                                        distributions={"x": IntDistribution(0, 1)}))  # fmt: skip
    plan = {"top": 1, "roots": [0], "seeds": [1, 2], "seed_key": "seed"}
    searched.set_user_attr("plan.confirm", plan)
    searched.set_user_attr("uid", "abc123")
    confirmed.set_user_attr("uid", "def456")
    named = confirmed.user_attrs["winner"]
    confirmed.set_user_attr("winner", {**named, "searched": 1.0, "top": 1, "roots": [0]})
    set_run_id(door.run, "s.confirm-def456-0000-s1")
    return "1 trial looks better and is not confirmed"


def set_run_id(run: Path, run_id: str) -> None:
    path = run / "provenance.json"
    path.write_text(json.dumps({**files.read_json(path), "run_id": run_id}))


def trial_of(door: Door, here: TrainHere, study: str, run_id: str) -> Path:
    """A run of that study with other weights, on the door's data."""
    folder = door.place / "outputs" / "studies" / study / "0001"
    here(folder, "seed=8", f"data.path={door.data}")
    set_run_id(folder, run_id)
    return folder


def test_a_stale_confirmation_is_refused_or_accepted(
    door: Door, stale: str, reads: list[str]
) -> None:
    refused = door.call("study=s")
    assert (refused.code, reads, door.looks) == (2, [], [])
    assert stale in refused.err
    again = f"sweepmore confirm s --outputs {door.place / 'outputs'}"
    assert again in refused.err
    assert door.call("study=s", "stale=maybe").code == 2
    accepted = door.call("study=s", "stale=accept")
    assert accepted.code == 0, accepted
    assert f"since    {stale}\n" in accepted.out
    (look,) = door.looks
    assert look.about["stale"] == stale
    (receipt,) = receipts(door.place / "looks", door.fingerprint)
    assert receipt.about["stale"] == stale
    second = door.call("study=s")  # reads nothing, so nothing is refused
    assert (second.code, len(reads)) == (0, 1)
    assert stale in second.out


def test_the_winner_of_a_stale_confirmation_named_as_a_run(
    door: Door, stale: str, reads: list[str]
) -> None:
    """Or a copy of it; it is what study= names, so the study gets its number, too."""
    copied = door.place / "outputs" / "runs" / "copied"
    shutil.copytree(door.run, copied)
    for words in ((), (f"run={copied}",)):
        refused = door.call(*words)
        assert (refused.code, reads, door.looks) == (2, [], [])
        assert stale in refused.err
        assert "sweepmore confirm s --outputs" in refused.err
    accepted = door.call("stale=accept")
    assert accepted.code == 0, accepted
    assert "not the winner" not in accepted.out
    (look,) = door.looks
    assert (look.about["study"], look.about["stale"]) == ("s.confirm", stale)
    study = optuna.load_study(study_name="s.confirm", storage=open_storage(door.ledger.url))
    assert stored(study)["test"]["look"] == 1
    assert stored(study)["tested_run"] == str(door.run)


@pytest.mark.parametrize("study", ["s", "s.confirm"])
def test_another_run_of_a_confirmed_study(
    door: Door, here: TrainHere, stale: str, study: str, reads: list[str]
) -> None:
    uid = {"s": "abc123", "s.confirm": "def456"}[study]
    other = trial_of(door, here, study, f"{study}-{uid}-0001")
    for words in (f"run={other}",), (f"study={study}", "trial=1"):
        refused = door.call(*words)
        assert (refused.code, reads, door.looks) == (2, [], [])
        assert stale in refused.err
    accepted = door.call(f"study={study}", "trial=1", "stale=accept")
    assert accepted.code == 0, accepted
    note = "not the winner that s.confirm has named"
    assert f"note     {note}\n" in accepted.out
    (look,) = door.looks
    assert (look.about["study"], look.about["stale"], look.about["note"]) == (None, stale, note)
    assert f"note     {note}\n" in door.call(f"run={other}").out
    confirmed = optuna.load_study(study_name="s.confirm", storage=open_storage(door.ledger.url))
    assert "test" not in stored(confirmed)


def test_a_run_of_another_study_of_that_name(door: Door, here: TrainHere, stale: str) -> None:
    """It was deleted and begun anew, or is in another database: nothing is known of it."""
    other = trial_of(door, here, "s", "s-ffffff-0001")
    called = door.call(f"run={other}")
    assert called.code == 0, called
    assert "not the winner" not in called.out


def test_weights_that_began_on_another_split_are_told_and_recorded(
    door: Door, here: TrainHere
) -> None:
    """Their train lines may be test lines here."""
    words = (f"data.path={door.data}", "optim.steps=4", ANOTHER_SPLIT)
    other = here(door.place / "outputs" / "runs" / "other", f"start_from={door.run}", *words)
    called = door.call(f"run={other}")
    assert called.code == 0, called
    told = f"the weights come from r, which learned from another split ({door.fingerprint[:8]})"
    assert f"start    {told}" in called.out
    fingerprint = files.read_json(other / "provenance.json")["data"]["fingerprint"]
    (look,) = door.ledger.looks(fingerprint)
    assert look.about["start_from"].startswith(told)
    assert f"start    {told}" in door.call(f"run={other}").out
    assert "start " not in door.call().out


def looked_with_a_full_disk(door: Door, *words: str) -> Ended:
    """evaluate_test.py, to which nothing more can be written once the number is in the ledger."""
    faults = Faults(1, "ENOSPC", (door.place,), door.place.parent / "log", lasting=True)

    def action() -> None:
        keep = keeping_look.keep

        def full(*given: Any) -> None:
            install(faults)
            keep(*given)

        setattr(evaluate_test, "keep", full)  # noqa: B010  # in this process, a fork
        cli.command(evaluate_test.Arguments, evaluate_test.main, door.words("study=s", *words))

    return forked(action)


def test_a_study_that_cannot_take_the_number_gets_it_later(
    door: Door, confirmed: optuna.Study, reads: list[str]
) -> None:
    """Whoever asks sees the number, what failed, and the way on; the ledger has it all."""
    calls = [
        looked_with_a_full_disk(door),
        looked_with_a_full_disk(door),  # which reads nothing
        looked_with_a_full_disk(door, "another_look=a better bootstrap"),
    ]
    for called in calls:
        assert called.code == 2, called
        assert called.refused, called
        assert "test     " in called.out
        assert "database or disk is full" in called.err
        assert "the same command, without another_look and complete" in called.err
    assert ["git add" in called.err for called in calls] == [True, False, True]
    assert "nothing was read now" in calls[1].err
    assert receipts(door.place / "looks", door.fingerprint) == door.looks
    assert [look.result is None for look in door.looks] == [False, False]
    assert "test" not in {**stored(confirmed), **door.result()}
    again = door.call("study=s")
    assert (again.code, reads) == (0, []), again
    assert stored(confirmed)["test"] == door.result()["test"]
    assert door.result()["test"]["look"] == 2


@pytest.mark.parametrize("size", [2, pytest.param(8, marks=pytest.mark.system)])
def test_of_many_that_start_together_one_reads(door: Door, size: int) -> None:
    """The whole script in processes that start at a barrier; each read leaves a line."""
    context = multiprocessing.get_context("fork")
    barrier, log = context.Barrier(size), door.place / "reads"
    load = sealed.load_test

    def before() -> None:
        def counted(*given: Any) -> Any:
            with log.open("a") as file:
                file.write(f"{os.getpid()}\n")
            return load(*given)

        setattr(sealed, "load_test", counted)  # noqa: B010  # in this process, a fork
        barrier.wait(60)

    processes = [door.forked(before=before) for _ in range(size)]
    for process in processes:
        process.join(120)
    codes = sorted(str(process.exitcode) for process in processes)
    assert len(log.read_text().splitlines()) == 1
    assert set(codes) <= {"0", "3"}  # one that comes late enough prints the result
    assert "0" in codes
    assert_complete(door)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 8, 32])
def test_of_many_real_processes_one_reads(door: Door, size: int) -> None:
    log = door.place / "reads"
    code = (
        "import os, runpy, sys; import nplm.sealed as s; load = s.load_test\n"
        "def counted(*given):\n"
        f"    os.write(os.open({str(log)!r}, os.O_APPEND | os.O_CREAT | os.O_WRONLY), b'x')\n"
        "    return load(*given)\n"
        "s.load_test = counted; print('ready', flush=True); sys.stdin.readline()\n"
        f"runpy.run_path({str(ROOT / 'evaluate_test.py')!r}, run_name='__main__')\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *door.words()],
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(size)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=200)[1] for process in processes]
    assert log.read_text() == "x", errors
    assert {process.returncode for process in processes} <= {0, 3}, errors
    assert_complete(door)


# From the sweep to the second call, with the real scripts.


@dataclass(frozen=True)
class Story:
    door: Door
    winner: dict[str, Any]
    before_confirm: Called
    said: dict[str, str]
    first: str
    second: str


def canary_file(path: Path, lines: list[str]) -> None:
    """``lines``, but those that the split's rule will make test lines are recognisable."""
    places = list(range(len(lines)))
    random.Random(42).shuffle(places)  # as split_lines does, with data.seed=42
    changed = list(lines)
    for place in places[int(0.9 * len(lines)) :]:
        changed[place] = CANARY + lines[place]
    path.write_text("\n".join(changed) + "\n")


@pytest.fixture(scope="module")
def story(few_names: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    place = tmp_path_factory.mktemp("story")
    door = Door(place)
    canary_file(door.data, few_names.read_text().splitlines())
    outputs = f"outputs={place / 'outputs'}"
    said = {
        "sweep": ok(
            "train.py",
            "-m",
            "experiment=smoke",
            "data=text",
            f"data.path={door.data}",
            "optim.steps=40",
            "model.hidden=8,16",
            "hydra.sweeper.study_name=s",
            f"hydra.sweeper.{outputs}",
        )
    }
    before_confirm = door.call("study=s")
    done = run_command("confirm", "s", "--top=2", "--seeds=2", f"--{outputs}")
    assert done.returncode == 0, done.stdout + done.stderr
    said["confirm"] = done.stdout + done.stderr
    winner = files.read_json(place / "outputs" / "studies" / "s.confirm" / "winner.json")
    first = ok("evaluate_test.py", *door.words("study=s"))
    door.data.write_text("replaced\nby\nother\nlines\n")
    second = ok("evaluate_test.py", *door.words("study=s"))
    return Story(door, winner, before_confirm, said, first, second)


def ok(script: str, *words: str) -> str:
    done = run_script(script, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class TestStory:
    def test_study_without_a_winner_is_refused(self, story: Story) -> None:
        assert story.before_confirm.code == 2
        assert "There is no study s.confirm" in story.before_confirm.err
        assert "sweepmore confirm s" in story.before_confirm.err

    def test_second_call_says_the_same_without_the_data(self, story: Story) -> None:
        def shown(text: str) -> str:
            return text[text.index("test     ") : text.index("\n", text.index("look     "))]

        assert shown(story.first) == shown(story.second)
        assert story.second.startswith(
            f"run      {story.winner['run']}\nsettings experiment=smoke "
        )
        assert "nothing was read now" in story.second
        assert "nothing was read now" not in story.first

    def test_the_winners_run_was_evaluated(self, story: Story) -> None:
        run = Path(story.winner["run"])
        assert f"run      {run}\n" in story.first
        assert run.parent.parent.name == "s.confirm-final"
        result = files.read_json(run / "result.json")
        VALID.validate(result)
        assert result["seed"] == story.winner["seed"]
        assert result["test"]["look"] == 1
        (receipt,) = receipts(story.door.place / "looks", result["data"]["fingerprint"])
        assert receipt.about["study"] == "s.confirm"
        assert receipt.checkpoint == story.winner["files"]["model.safetensors"]

    def test_the_study_holds_the_result(self, story: Story) -> None:
        url = URL.create("sqlite", database=str(story.door.place / "outputs" / "studies.db"))
        study = optuna.load_study(study_name="s.confirm", storage=open_storage(url))
        result = files.read_json(Path(story.winner["run"]) / "result.json")
        assert stored(study)["test"] == result["test"]
        assert stored(study)["tested_run"] == story.winner["run"]
        assert stored(study)["winner"] == story.winner

    def test_wandb_has_a_run_of_its_own(self, story: Story) -> None:
        run = Path(story.winner["run"])
        found = list(wandb_records(run, "*-test1"))
        opened, _ = [r.run for r in found if r.WhichOneof("record_type") == "run"]
        assert (opened.job_type, opened.run_group) == ("test", "s.confirm")
        assert opened.display_name == f"s.confirm-final/0000/{run.name} · test 1"
        summary = wandb_summary(found)
        test = files.read_json(run / "result.json")["test"]
        assert summary["test.loss.mean"] == pytest.approx(test["loss"]["mean"])
        assert summary["test.difference.high"] == pytest.approx(test["difference"]["high"])

    def test_no_test_line_in_any_artifact(self, story: Story) -> None:
        files = [path for path in story.door.place.rglob("*") if path.is_file()]
        names = {path.name for path in files}
        assert {"studies.db", "winner.json", "metrics.jsonl", "samples.txt"} <= names
        assert any(path.suffix == ".wandb" for path in files)
        assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
        assert not any(CANARY in text for text in (*story.said.values(), story.first))

    def test_the_canary_sings(self, few_names: Path, tmp_path: Path) -> None:
        """The lines that it marks are the test lines, all of them and no other."""
        from nplm.config import Data
        from nplm.data import load_splits
        from nplm.vocabulary import vocabulary_of

        path = tmp_path / "data.txt"
        canary_file(path, few_names.read_text().splitlines())
        data = Data(name="text", path=str(path))
        splits = load_splits(data, 3)
        assert not any(CANARY in line for line in (*splits.train.lines, *splits.dev.lines))
        letters = vocabulary_of(path.read_text().splitlines(), path)
        test = sealed.load_test(data, letters, 3, splits.fingerprint)
        assert all(line.startswith(CANARY) for line in test.lines)
        assert len(test.lines) == splits.test_lines == 40

    def test_weights_swapped_since_the_confirmation(self, story: Story, tmp_path: Path) -> None:
        """With everything else of the other run, so that its dev loss fits."""
        run = Path(story.winner["run"])
        other = next(p for p in sorted(run.parent.iterdir()) if p != run)
        kept = tmp_path / "kept"
        shutil.copytree(run, kept)
        try:
            for name in ("model.safetensors", "result.json", "config.yaml"):
                shutil.copy(other / name, run / name)
            called = story.door.call("study=s", "another_look=swapped")
        finally:
            shutil.rmtree(run)
            shutil.copytree(kept, run)
        assert called.code == 2
        assert "not those that were confirmed" in called.err


def test_the_header_of_a_run_shows_the_looks(
    few: Splits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A receipt that cannot be read counts, too."""
    for number in range(3):
        (tmp_path / f"{few.fingerprint}-{number + 1}.json").write_text("{}")
        console.header(Config(), few, begin(Config(), few), str(looks_at(few, tmp_path, None)))
        plural = "look" if number == 0 else "looks"
        assert f"sealed, {number + 1} {plural}\n" in capsys.readouterr().out


def test_the_same_lines_under_another_fingerprint_are_no_0_looks(
    few: Splits, few_names: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """data.lower=true is another fingerprint of the same test lines. A run must not hash them: it
    counts what was looked at in data of that name, in either layer, and in no other data."""
    ledger = Ledger(URL.create("sqlite", database=str(tmp_path / "db")), tmp_path / "looks")
    lower = load_splits(Data(name="text", path=str(few_names), lower=True), block_size=3)
    assert lower.fingerprint != few.fingerprint
    look = ledger.claim(few.fingerprint, "a" * 64, {"data": few.name})
    ledger.claim("b" * 32, "a" * 64, {"data": "other.txt"})

    def header() -> str:
        seen = looks_at(lower, ledger.folder, ledger.url)
        console.header(Config(), lower, begin(Config(), lower), str(seen))
        out = capsys.readouterr().out
        return next(line for line in out.splitlines() if line.startswith("test "))

    known = "of few_names.txt, which may hold the same lines"
    assert header() == f"test     sealed, 0 looks; 1 at another split {known}"
    ledger.path(look).unlink()  # the row is left
    ledger.claim("c" * 32, "a" * 64, {"data": few.name})
    assert header() == f"test     sealed, 0 looks; 2 at other splits {known}"
    ledger.claim(lower.fingerprint, "a" * 64, {"data": few.name})
    assert header() == f"test     sealed, 1 look; 2 at other splits {known}"
    assert looks_at(few, ledger.folder, ledger.url) == Looks(1, 2, few.name)
    (tmp_path / "db").write_text("no database, but long enough to be one")  # the receipts are left
    assert looks_at(lower, ledger.folder, ledger.url).own == 1


def test_a_look_counts_by_its_row_alone(
    few: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receipt that was removed does not make it 0 looks; the row may be in a database that the
    run's own settings name."""
    monkeypatch.setenv("STUDIES", f"sqlite:///{tmp_path / 'elsewhere' / 'studies.db'}")

    def looks_had(**sweeper: Any) -> int:
        return recorded_looks(few, tmp_path, OmegaConf.create(sweeper)).own

    ways: list[tuple[str, dict[str, Any]]] = [
        ("outputs", {}),  # of another sweeper than ours, too
        ("outputs", {"storage": None, "outputs": "outputs"}),
        ("others", {"storage": None, "outputs": "others"}),
        ("elsewhere", {"storage": "${oc.env:STUDIES}", "outputs": "outputs"}),
        ("elsewhere", {"storage": {"url": "${oc.env:STUDIES}"}, "outputs": "outputs"}),
    ]
    assert [looks_had(**sweeper) for _, sweeper in ways] == [0] * 5
    assert list(tmp_path.iterdir()) == []
    counts = {"outputs": 1, "others": 2, "elsewhere": 3}
    for place, count in counts.items():
        url = URL.create("sqlite", database=str(tmp_path / place / "studies.db"))
        ledger = Ledger(url, tmp_path / "receipts")
        for _ in range(count):
            ledger.claim(few.fingerprint, "a" * 64, {}, "again")
        shutil.rmtree(ledger.folder)
    assert [looks_had(**sweeper) for _, sweeper in ways] == [counts[place] for place, _ in ways]
    for refused in ("${oc.env:NOT_THERE}", "no url", "oracle://host"):
        assert looks_had(storage=refused) == 0


@pytest.mark.parametrize("reason", ["none", "None", "' '"])
def test_a_word_that_is_no_reason_opens_nothing(door: Door, reason: str) -> None:
    refused = door.call(f"another_look={reason}")
    assert refused.code == 2
    assert "gives no reason" in refused.err
    assert not door.looks
