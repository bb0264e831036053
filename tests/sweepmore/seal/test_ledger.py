"""The claim on a test split: one winner in every race, and every doubt counts as a look."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.engine import URL

from sweepmore.errors import UserError
from sweepmore.process import identity
from sweepmore.seal.ledger import Ledger
from sweepmore.seal.receipts import Look, receipts, write_receipt
from sweepmore.seal.refusals import Refused
from sweepmore.seal.rows import Rows
from tests.support.race_ledger import FINGERPRINT, ledger_in, race_ended

MINE, OTHER = "a" * 64, "b" * 64
RESULT = {"loss": {"mean": 2.1, "low": 2.0, "high": 2.2}}
# Of Linux: nobody. Who is root reads and writes whatever the modes say.
NOBODY = 65534


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    return ledger_in(tmp_path)


def claim(book: Ledger, checkpoint: str = MINE, reason: str | None = None) -> Look:
    return book.claim(FINGERPRINT, checkpoint, {"run": "r"}, reason)


def done(book: Ledger, checkpoint: str = MINE, reason: str | None = None) -> Look:
    return book.finish(claim(book, checkpoint, reason), RESULT)


def receipt(book: Ledger, number: int = 1) -> Path:
    return book.folder / f"{FINGERPRINT}-{number}.json"


def in_child(action: Callable[[], object], user: int | None = None) -> int:
    """Exit code of a forked process that does it: 0, 3 for Refused, 2 for another UserError."""

    def run() -> None:
        if user is not None and os.getuid() == 0:
            os.setgid(user)
            os.setuid(user)
        try:
            action()
        except UserError as error:
            os._exit(error.exit_code)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def claim_and_die(book: Ledger) -> None:
    def action() -> None:
        claim(book)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(action) == -signal.SIGKILL


class TestRace:
    """Fresh processes on an empty database: the table's creation is part of the race."""

    @pytest.mark.parametrize(
        ("size", "rounds"),
        [(2, 10), *(pytest.param(*many, marks=pytest.mark.system) for many in ((8, 6), (32, 2)))],
    )
    def test_exactly_one_wins(self, tmp_path: Path, size: int, rounds: int) -> None:
        one_wins(tmp_path, size, rounds)

    @pytest.mark.faults
    @pytest.mark.slow
    @pytest.mark.parametrize("size", [2, 8, 32])
    def test_exactly_one_wins_each_of_200_rounds(self, tmp_path: Path, size: int) -> None:
        one_wins(tmp_path, size, 200)


def one_wins(folder: Path, size: int, rounds: int) -> None:
    ends = race_ended(folder, size, rounds)
    assert ends == [Counter(won=1, refused=size - 1)] * rounds
    for turn in range(rounds):
        book = ledger_in(folder / str(turn))
        (row,) = book.looks(FINGERPRINT)
        assert book.known(FINGERPRINT) == [row]
        assert json.loads(receipt(book).read_text()) == dataclasses.asdict(row)


class TestFirstLook:
    def test_row_and_receipt_say_the_same(self, book: Ledger) -> None:
        look = claim(book)
        assert look == Look(
            FINGERPRINT, 1, MINE, look.claimed, identity.this_process(), {"run": "r"}, None, None
        )
        assert book.looks(FINGERPRINT) == [look]
        assert receipts(book.folder, FINGERPRINT) == [look]
        assert len(receipts(book.folder, FINGERPRINT)) == 1
        assert len(receipts(book.folder, "0" * 32)) == 0

    def test_another_split_is_free(self, book: Ledger) -> None:
        claim(book)
        book.check("0" * 32, MINE)
        assert book.claim("0" * 32, MINE, {}).number == 1

    def test_result_is_in_both_layers(self, book: Ledger) -> None:
        look = done(book)
        assert look.result == RESULT
        assert book.looks(FINGERPRINT) == [look] == receipts(book.folder, FINGERPRINT)

    def test_a_reason_without_an_earlier_look_is_none(self, book: Ledger) -> None:
        assert claim(book, reason="curious").reason is None

    def test_checking_and_reading_claim_nothing_and_make_no_file(self, book: Ledger) -> None:
        book.check(FINGERPRINT, MINE)
        assert book.known(FINGERPRINT) == []
        assert list(book.folder.parent.iterdir()) == []
        book.prepare()
        assert book.known(FINGERPRINT) == []

    def test_optuna_and_the_ledger_share_a_database(self, book: Ledger) -> None:
        from sweepmore.storage.opening import open_storage

        claim(book)
        storage = open_storage(book.url)
        storage.delete_study(storage.create_new_study([], "s"))
        assert len(book.looks(FINGERPRINT)) == 1


class TestSecondLook:
    @pytest.mark.parametrize("checkpoint", [MINE, OTHER])
    @pytest.mark.parametrize("first", [claim, done])
    def test_is_refused_and_names_the_first(
        self, book: Ledger, checkpoint: str, first: Callable[[Ledger], Look]
    ) -> None:
        look = first(book)
        for refusing in (book.check, lambda f, c: book.claim(f, c, {})):
            with pytest.raises(Refused) as refused:
                refusing(FINGERPRINT, checkpoint)
            assert refused.value.exit_code == 3
            assert str(look) in str(refused.value)
            assert ("another checkpoint" in str(refused.value)) is (checkpoint == OTHER)
        assert book.known(FINGERPRINT) == [look]

    def test_with_a_reason_is_recorded_and_counted(self, book: Ledger) -> None:
        done(book)
        second = done(book, OTHER, reason="a bug in the first")
        assert (second.number, second.reason) == (2, "a bug in the first")
        assert '"a bug in the first"' in str(second)
        assert [look.number for look in book.known(FINGERPRINT)] == [1, 2]
        assert len(receipts(book.folder, FINGERPRINT)) == 2
        with pytest.raises(Refused, match="a bug in the first"):
            book.check(FINGERPRINT, MINE)

    def test_numbers_sort_as_numbers(self, book: Ledger) -> None:
        for number in range(11):
            claim(book, reason=f"look {number}")
        assert [look.number for look in book.known(FINGERPRINT)] == list(range(1, 12))
        assert claim(book, reason="twelfth").number == 12


class TestLayersApart:
    def test_receipt_without_row(self, book: Ledger) -> None:
        """A fresh clone with a committed receipt, a new database."""
        look = done(book)
        Path(str(book.url.database)).unlink()
        for refusing in (book.check, book.unfinished, book.resume):
            with pytest.raises((Refused, UserError)) as refused:
                refusing(FINGERPRINT, MINE)
            if refusing == book.check:
                assert f"a receipt of {look}, but no row" in str(refused.value)
        assert claim(book, reason="why").number == 2

    def test_receipt_of_a_claim_without_row_cannot_be_completed(self, book: Ledger) -> None:
        claim_and_die(book)
        Path(str(book.url.database)).unlink()
        with pytest.raises(Refused, match="no row in this database"):
            book.resume(FINGERPRINT, MINE)

    def test_row_without_receipt(self, book: Ledger) -> None:
        look = done(book)
        receipt(book).unlink()
        assert book.looks(FINGERPRINT) == [look]
        with pytest.raises(Refused, match="has had look 1"):
            book.check(FINGERPRINT, MINE)
        assert book.mend(FINGERPRINT) == [f"restored the receipt of {look}: {receipt(book)}"]
        assert receipts(book.folder, FINGERPRINT) == [look]
        assert book.mend(FINGERPRINT) == []

    def test_copied_database_with_its_row_elsewhere(self, book: Ledger, tmp_path: Path) -> None:
        look = done(book)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        shutil.copy(str(book.url.database), elsewhere / "studies.db")
        copied = ledger_in(elsewhere)
        assert copied.looks(FINGERPRINT) == [look]
        with pytest.raises(Refused):
            claim(copied, OTHER)

    def test_database_copied_before_the_look(self, book: Ledger, tmp_path: Path) -> None:
        """It has no row, but the receipts of its checkout."""
        book.prepare()
        before = tmp_path / "before.db"
        shutil.copy(str(book.url.database), before)
        done(book)
        copied = Ledger(URL.create("sqlite", database=str(before)), book.folder)
        with pytest.raises(Refused, match="no row in this database"):
            claim(copied)
        assert copied.looks(FINGERPRINT) == []

    def test_claim_copied_before_its_result(self, book: Ledger, tmp_path: Path) -> None:
        """The copy says "no result", the receipt that there is one: nobody looks again."""
        claim_and_die(book)
        before = tmp_path / "before.db"
        shutil.copy(str(book.url.database), before)
        book.finish(book.resume(FINGERPRINT, MINE), RESULT)
        copied = Ledger(URL.create("sqlite", database=str(before)), book.folder)
        with pytest.raises(UserError, match="no claim without a result"):
            copied.resume(FINGERPRINT, MINE)
        assert copied.looks(FINGERPRINT)[0].result is None
        assert copied.mend(FINGERPRINT) == []  # nothing is new, but the row knows the result
        assert copied.looks(FINGERPRINT)[0].result == RESULT

    def test_a_row_is_restored_from_its_receipt(self, book: Ledger) -> None:
        """So that a receipt which is deleted later is still a look."""
        look = done(book)
        Path(str(book.url.database)).unlink()
        (told,) = book.mend(FINGERPRINT)
        assert told == f"restored the row of {look}, from its receipt"
        receipt(book).unlink()
        assert book.looks(FINGERPRINT) == [look]
        with pytest.raises(Refused):
            claim(book)

    def test_a_restored_claim_is_completed_where_it_was_claimed(
        self, book: Ledger, tmp_path: Path
    ) -> None:
        """One receipt, two databases: the one that has it from the receipt looks at nothing."""
        claim_and_die(book)
        other = Ledger(URL.create("sqlite", database=str(tmp_path / "other.db")), book.folder)
        assert len(other.mend(FINGERPRINT)) == 1
        with pytest.raises(Refused, match="no row in this database"):
            other.resume(FINGERPRINT, MINE)
        look = book.finish(book.resume(FINGERPRINT, MINE), RESULT)
        other.mend(FINGERPRINT)
        assert other.looks(FINGERPRINT)[0].result == RESULT
        assert receipts(book.folder, FINGERPRINT) == [look]

    def test_a_receipt_that_its_process_may_still_write_is_left_to_it(self, book: Ledger) -> None:
        look = claim(book)
        receipt(book).unlink()
        assert book.mend(FINGERPRINT) == []
        assert not receipt(book).exists()
        done = book.finish(look, RESULT)
        assert receipts(book.folder, FINGERPRINT) == [done]

    def test_a_dead_process_s_receipt_is_restored(self, book: Ledger) -> None:
        claim_and_die(book)
        receipt(book).unlink()
        assert len(book.mend(FINGERPRINT)) == 1
        assert receipts(book.folder, FINGERPRINT) == book.looks(FINGERPRINT)

    def test_the_committed_folder_is_read_wherever_the_others_are(
        self, book: Ledger, tmp_path: Path
    ) -> None:
        look = done(book)
        elsewhere = tmp_path / "elsewhere"
        other = dataclasses.replace(ledger_in(elsewhere), committed=book.folder)
        with pytest.raises(Refused, match="no row in this database"):
            claim(other)
        other.mend(FINGERPRINT)
        assert other.looks(FINGERPRINT) == [look]
        assert list(other.folder.iterdir()) == []  # it is in one folder already

    def test_looks_are_counted_by_row_or_receipt(self, book: Ledger) -> None:
        done(book)
        assert len(book.known(FINGERPRINT)) == 1
        receipt(book).unlink()
        assert len(book.known(FINGERPRINT)) == 1
        book.mend(FINGERPRINT)
        Path(str(book.url.database)).write_text("no database, but long enough to be one")
        assert len(receipts(book.folder, FINGERPRINT)) == 1

    def test_two_databases_one_folder(self, book: Ledger, tmp_path: Path) -> None:
        """The receipt decides; the loser's claim counts, and cannot be completed either."""
        other = Ledger(URL.create("sqlite", database=str(tmp_path / "other.db")), book.folder)

        def late() -> None:
            """Both have found nothing; then ours writes its receipt first."""
            book_of_loser = Ledger(other.url, tmp_path / "nothing yet")
            look = claim(book_of_loser)
            claim(book)
            write_receipt(other.path(look), look)

        with pytest.raises(FileExistsError):
            late()
        assert [look.number for look in other.looks(FINGERPRINT)] == [1]
        with pytest.raises(Refused):
            other.resume(FINGERPRINT, MINE)

    def test_two_claims_of_one_number_are_two_looks(self, book: Ledger, tmp_path: Path) -> None:
        """In the database that has one of them; mending keeps both as they are."""
        other = ledger_in(tmp_path / "other")
        theirs, mine = done(other, OTHER), done(book)
        shutil.copy(other.path(theirs), book.path(mine))  # as after a merge in git
        for _ in range(2):
            assert book.known(FINGERPRINT) == book.known() == [theirs, mine]
            assert len(book.known(FINGERPRINT)) == 2
            assert book.mend(FINGERPRINT) == []
        assert receipts(book.folder) == [theirs]
        assert book.looks() == [mine]
        assert claim(book, reason="why").number == 2
        assert len(book.known(FINGERPRINT)) == 3

    def test_two_claims_of_one_number_in_two_folders(self, book: Ledger, tmp_path: Path) -> None:
        committed = ledger_in(tmp_path / "other")
        theirs, mine = done(committed, OTHER), done(book)
        both = dataclasses.replace(book, committed=committed.folder)
        assert both.known(FINGERPRINT) == [theirs, mine]
        receipt(book).write_text("")  # torn: it tells nothing of another look
        assert both.known(FINGERPRINT) == [theirs, mine]
        receipt(committed).write_text("")
        assert both.known(FINGERPRINT) == [mine]

    def test_beside_another_claim_of_its_number_none_is_completed(
        self, book: Ledger, tmp_path: Path
    ) -> None:
        claim_and_die(book)
        other = ledger_in(tmp_path / "other")
        theirs = claim(other)
        shutil.copy(other.path(theirs), receipt(book))
        with pytest.raises(Refused, match="look 1"):
            book.resume(FINGERPRINT, MINE)
        shutil.copy(other.path(other.finish(theirs, RESULT)), receipt(book))
        with pytest.raises(Refused, match="look 1"):
            book.resume(FINGERPRINT, MINE)

    @pytest.mark.parametrize("torn", ["", "{", "[]", "null", '{"number": 1}', "\x00\x00"])
    def test_torn_receipt_counts(self, book: Ledger, torn: str) -> None:
        book.folder.mkdir()
        receipt(book).write_text(torn)
        assert len(receipts(book.folder, FINGERPRINT)) == 1
        with pytest.raises(Refused, match="look 1, at an unknown time"):
            claim(book)
        assert book.looks(FINGERPRINT) == []
        assert claim(book, reason="torn").number == 2

    @pytest.mark.parametrize("change", [
        {"keys": ["a", "b"]}, {"keys": 3}, {"claimant": None}, {"claimant": {}},
        {"claimant": {"host": "h", "boot": "b", "pid": "1"}}, {"result": "good"}, {"about": 3},
        {"number": "1"}, {"number": None}, {"reason": {}}, {"checkpoint": 1}, {"claimed": 2026},
        {"overlap": []}, {"overlap": {}}, {"overlap": {"items": 1, "union": 1, "looks": 3}},
        {"overlap": {"items": 1, "union": 1, "looks": [{}], "unknown": []}}, {"more": 1},
    ])  # fmt: skip
    def test_a_receipt_of_wrong_types_counts_and_stays(
        self, book: Ledger, change: dict[str, Any], tmp_path: Path
    ) -> None:
        """Its contents are not known; nothing is written over it, with a row beside it or not."""
        look = done(book)
        written = json.dumps({**json.loads(receipt(book).read_text()), **change})
        assert_counts_and_stays(book, look, written, tmp_path)

    @pytest.mark.parametrize("mark", ["<<<<<<< ours", "edited by hand"])
    def test_a_receipt_that_may_hold_more_than_can_be_read_stays(
        self, book: Ledger, mark: str, tmp_path: Path
    ) -> None:
        look = done(book)
        text = receipt(book).read_text()
        text = text.replace('  "number"', f'{mark}\n  "number"') if "<" in mark else mark
        assert_counts_and_stays(book, look, text, tmp_path)

    def test_of_a_wrong_receipt_no_claim_is_completed(self, book: Ledger) -> None:
        """Who wrote it is not known, so its lines may have been read."""
        claim_and_die(book)
        receipt(book).write_text("[]")
        with pytest.raises(Refused, match="look 1"):
            book.resume(FINGERPRINT, MINE)
        assert receipt(book).read_text() == "[]"

    def test_torn_receipt_beside_its_row_is_completed(self, book: Ledger) -> None:
        claim_and_die(book)
        receipt(book).write_text("")
        look = book.finish(book.resume(FINGERPRINT, MINE), RESULT)
        assert receipts(book.folder, FINGERPRINT) == [look]

    def test_receipt_that_a_kill_kept_without_the_result_is_mended(self, book: Ledger) -> None:
        look = claim(book)
        before = receipt(book).read_text()
        look = book.finish(look, RESULT)
        receipt(book).write_text(before)
        assert book.mend(FINGERPRINT) == []
        assert receipts(book.folder, FINGERPRINT) == [look]


def assert_counts_and_stays(book: Ledger, look: Look, written: str, place: Path) -> None:
    path = receipt(book)
    path.write_text(written)
    fresh = Ledger(URL.create("sqlite", database=str(place / "fresh.db")), book.folder)
    (seen,) = fresh.known()
    assert (seen.is_torn, seen.number) == (True, 1)
    assert book.known() == [look]
    for either in (book, fresh):
        assert either.mend(FINGERPRINT) == []
        either.add_keys({FINGERPRINT: frozenset({"0123"})})
        with pytest.raises(Refused, match="look 1"):
            claim(either)
    assert fresh.looks() == []
    assert path.read_text() == written


class TestComplete:
    def test_a_dead_claim_is_completed_once(self, book: Ledger) -> None:
        claim_and_die(book)
        (dead,) = book.looks(FINGERPRINT)
        mine = book.resume(FINGERPRINT, MINE)
        assert mine == dataclasses.replace(dead, claimant=identity.this_process())
        assert receipts(book.folder, FINGERPRINT) == [mine]
        assert book.finish(mine, RESULT).result == RESULT
        with pytest.raises(UserError, match="no claim without a result"):
            book.resume(FINGERPRINT, MINE)

    def test_refused_while_the_claimant_lives(self, book: Ledger) -> None:
        claim(book)
        with pytest.raises(Refused, match=f"its process {os.getpid()} still runs"):
            book.resume(FINGERPRINT, MINE)

    def test_refused_to_another_checkpoint(self, book: Ledger) -> None:
        claim_and_die(book)
        with pytest.raises(Refused, match="another checkpoint"):
            book.resume(FINGERPRINT, OTHER)

    @pytest.mark.parametrize(
        ("change", "told"),
        [({"host": "elsewhere"}, "on another host"), ({"boot": "an earlier one"}, None),
         ({"ticks": 1}, None)],
    )  # fmt: skip
    def test_by_host_boot_and_start_time(
        self, book: Ledger, change: dict[str, Any], told: str | None
    ) -> None:
        """A process id alone means nothing after a reboot, or once it is given again."""
        claimant = {**claim(book).claimant, **change}
        with sqlalchemy.create_engine(book.url).begin() as connection:
            connection.execute(
                sqlalchemy.text("UPDATE sweepmore_looks SET claimant = :it"),
                {"it": json.dumps(claimant)},
            )
        if told is None:
            assert book.resume(FINGERPRINT, MINE).number == 1
        else:
            with pytest.raises(Refused, match=told):
                book.resume(FINGERPRINT, MINE)

    def test_of_many_that_resume_one_succeeds(self, book: Ledger) -> None:
        claim_and_die(book)
        context = multiprocessing.get_context("fork")
        barrier, codes = context.Barrier(6), []

        def resume() -> None:
            barrier.wait(120)
            code = 0
            try:
                book.resume(FINGERPRINT, MINE)
            except Refused:
                code = 3
            barrier.wait(120)  # nobody dies before all have tried
            os._exit(code)

        children = [context.Process(target=resume) for _ in range(6)]
        for child in children:
            child.start()
        for child in children:
            child.join(120)
            codes.append(child.exitcode)
        assert sorted(map(str, codes)) == ["0", "3", "3", "3", "3", "3"]

    def test_a_claim_that_was_taken_over_is_not_finished_by_the_first(self, book: Ledger) -> None:
        claim_and_die(book)
        (dead,) = book.looks(FINGERPRINT)
        book.resume(FINGERPRINT, MINE)
        with pytest.raises(Refused, match="no longer this process's"):
            book.finish(dead, RESULT)

    def test_nothing_to_complete(self, book: Ledger) -> None:
        with pytest.raises(UserError, match="no claim without a result"):
            book.unfinished(FINGERPRINT, MINE)

    def test_a_result_that_is_no_json_is_not_recorded(self, book: Ledger) -> None:
        look = claim(book)
        with pytest.raises(ValueError, match="Out of range"):
            book.finish(look, {"loss": float("nan")})
        assert book.looks(FINGERPRINT) == [look]


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """Reachable by everybody: pytest's own folders are 0700."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
        if folder.name.startswith("pytest-of"):
            break
    return tmp_path


class TestDoubt:
    """An exception while claiming: not mine, and it counts where a trace is left."""

    def test_database_read_only(self, open_folder: Path) -> None:
        book = ledger_in(open_folder)
        done(book)
        Path(str(book.url.database)).chmod(0o444)
        open_folder.chmod(0o755)
        user = NOBODY if os.getuid() == 0 else None
        assert in_child(book.prepare, user) == 2
        assert in_child(lambda: claim(book, reason="why"), user) == 2
        assert in_child(lambda: book.claim("0" * 32, MINE, {}), user) == 2
        assert in_child(lambda: read_one(book), user) == 0  # what is known can be read
        assert len(book.known(FINGERPRINT)) == 1
        Path(str(book.url.database)).chmod(0o644)

    def test_folder_of_the_database_read_only(self, open_folder: Path) -> None:
        """SQLite opens the file, but cannot make its journal beside it."""
        book = Ledger(ledger_in(open_folder / "db").url, open_folder / "looks")
        book.prepare()
        Path(str(book.url.database)).chmod(0o666)
        book.folder.chmod(0o777)
        (open_folder / "db").chmod(0o555)
        assert in_child(lambda: claim(book), NOBODY if os.getuid() == 0 else None) == 2
        (open_folder / "db").chmod(0o755)
        assert book.known(FINGERPRINT) == []

    @pytest.mark.parametrize("exists", [True, False])
    def test_looks_folder_unwritable(self, open_folder: Path, exists: bool) -> None:
        """Found before the claim: no row is left."""
        (open_folder / "db").mkdir()
        (open_folder / "db").chmod(0o777)
        book = Ledger(ledger_in(open_folder / "db").url, open_folder / "read" / "looks")
        (book.folder if exists else book.folder.parent).mkdir(parents=True)
        (book.folder if exists else book.folder.parent).chmod(0o555)
        assert in_child(lambda: claim(book), NOBODY if os.getuid() == 0 else None) == 2
        assert book.known(FINGERPRINT) == []

    def test_no_database_to_reach(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        book = ledger_in(tmp_path / "file")
        with pytest.raises(UserError, match=r"The ledger: .*File exists") as error:
            claim(book)
        assert error.value.exit_code == 2

    @pytest.mark.parametrize("kind", ["mysql+pymysql", "mariadb+pymysql", "oracle"])
    def test_a_database_in_which_no_claim_is_alone(self, book: Ledger, kind: str) -> None:
        """Its studies are none of the ledger's business; nothing connects to it."""
        other = Ledger(URL.create(kind, host="127.0.0.1", port=1), book.folder)
        for writing in (other.prepare, lambda: claim(other), lambda: other.resume("f", MINE)):
            with pytest.raises(UserError, match="it needs SQLite or PostgreSQL") as error:
                writing()
            assert error.value.exit_code == 2
        assert not book.folder.exists()

    def test_what_is_no_database(self, book: Ledger) -> None:
        Path(str(book.url.database)).write_text("not a database, but long enough to be read as one")
        with pytest.raises(UserError, match="The ledger: file is not a database"):
            book.looks(FINGERPRINT)

    def test_disk_full_while_the_receipt_is_written(
        self, book: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(Refused, match="it counts as a look"):
                claim(book)
        assert [look.result for look in book.looks(FINGERPRINT)] == [None]
        with pytest.raises(Refused):
            claim(book)

    def test_database_lost_between_insert_and_commit(
        self, book: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        book.prepare()
        engine = book.rows.engine()

        @sqlalchemy.event.listens_for(engine, "commit")
        def lost(connection: object) -> None:
            raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("gone"))

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "prepare", lambda self: None)
            patch.setattr(Rows, "engine", lambda self: engine)
            with pytest.raises(Refused, match="gone"):
                claim(book)
        assert len(receipts(book.folder, FINGERPRINT)) == 0  # the caller never went on to a receipt


def read_one(book: Ledger) -> None:
    (look,) = book.looks(FINGERPRINT)
    assert look.result == RESULT
