"""What counts as looked at: lines, whatever gives the same ones another fingerprint."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.engine import URL

from nplm import sealed
from nplm.config import Data
from nplm.lines import fingerprint, read_lines, reproduced, split_lines
from sweepmore.errors import DataError
from sweepmore.seal import ledger as ledgers
from sweepmore.seal.ledger import Ledger
from sweepmore.seal.overlap import DIGITS, Items, compare, key_of
from sweepmore.seal.receipts import Look, receipts, write_receipt
from sweepmore.seal.refusals import Refused, UsedUp
from tests.support.helpers import ROOT
from tests.support.race_ledger import ledger_in, race_ended

Lines = list[str]


@dataclasses.dataclass(frozen=True)
class Variant:
    """Other settings, or a change of the file, that give the test lines another fingerprint."""

    change: Callable[[Lines], Lines] = list
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


def with_blank(lines: Lines) -> Lines:
    return [lines[0] + " ", *lines[1:]]


def with_invisible(lines: Lines) -> Lines:
    return [f"{line}\u200b" for line in lines]


def swapped(lines: Lines) -> Lines:
    return [lines[0], *reversed(lines[1:3]), *lines[3:]]


def appended(lines: Lines) -> Lines:
    return [*lines, "newcomer"]


VARIANTS = {
    "lower": Variant(settings={"lower": True}),
    "upper": Variant(lambda lines: [line.upper() for line in lines]),
    "shares": Variant(settings={"split": (0.79, 0.11, 0.10)}),
    "min_count": Variant(settings={"unit": "word", "min_count": 5}),
    "blank": Variant(with_blank),
    "invisible": Variant(with_invisible),
    "swapped": Variant(swapped),
    "appended": Variant(appended),
    "drop": Variant(settings={"duplicates": "drop"}),
    "half": Variant(settings={"split": (0.4, 0.1, 0.5)}),
    "all at once": Variant(appended, {"unit": "word", "split": (0.75, 0.1, 0.15)}),
}
# That are no other lines of a text in order.
IN_ORDER = ("lower", "upper", "shares", "min_count", "blank", "invisible", "swapped", "appended")


@pytest.fixture(scope="module")
def lines(few_names: Path) -> Lines:
    """440, of which 20 stand there twice."""
    few = few_names.read_text().splitlines()
    return [*few, *few[:20], *(f"{name}ette" for name in few[:20])]


@dataclasses.dataclass(frozen=True)
class Split:
    data: Data
    fingerprint: str
    items: Items


def written(path: Path, lines: Lines, **settings: Any) -> Split:
    path.write_text("\n".join(lines) + "\n")
    data = Data(name="text", path=str(path), **settings)
    name = fingerprint(read_lines(data), data)
    return Split(data, name, sealed.hashed(data, name))


def asked(split: Split) -> tuple[str, str]:
    return split.fingerprint, "another checkpoint"


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    return ledger_in(tmp_path / "ledger")


class TestKeys:
    def test_prefixes_and_nothing_else(self, lines: Lines, tmp_path: Path) -> None:
        split = written(tmp_path / "a", lines)
        test = split_lines(lines, split.data)[2]
        assert split.items.keys == {key_of(line) for line in test}
        assert split.items.times == Counter(map(key_of, lines))
        assert split.items.share == len(test) / len(lines)
        assert all(len(key) == DIGITS and int(key, 16) >= 0 for key in split.items.times)

    @pytest.mark.parametrize(
        "same", ["Ren\u00e9e  Anne ", " RENE\u0301E ANNE", "ren\u00e9e\tanne", "rene\u0301e anne"]
    )
    def test_the_same_line_has_the_same_key(self, same: str, tmp_path: Path) -> None:
        few = [*"abcdefghi"]
        one = written(tmp_path / "a", [*few, "ren\u00e9e anne"])
        assert written(tmp_path / "b", [*few, same]).items.times == one.items.times

    @pytest.mark.parametrize(
        "hidden",
        [
            "\u200b",
            "\ufeff",
            "\u00ad",
            "\u2060",
            "\u202e",
            "\U000e0061",
            "\u3164",
            "\ufe0f",
            "\x01",
        ],
    )
    @pytest.mark.parametrize("at", [0, 3, 4, 99])
    def test_what_nobody_sees_changes_no_key(self, hidden: str, at: int, tmp_path: Path) -> None:
        """Within the letters that compose to one, too (at 4)."""
        few, line = [*"abcdefghi"], "rene\u0301e anne"
        one = written(tmp_path / "a", [*few, line])
        other = written(tmp_path / "b", [*few, line[:at] + hidden + line[at:]])
        assert other.items.times == one.items.times

    def test_of_a_file_that_changed_there_are_none(self, lines: Lines, tmp_path: Path) -> None:
        split = written(tmp_path / "a", lines)
        (tmp_path / "a").write_text("\n".join(appended(lines)))
        with pytest.raises(DataError, match="changed before the claim"):
            sealed.hashed(split.data, split.fingerprint)


class TestRule:
    def test_by_hand(self) -> None:
        """Of ten items a look saw four, of which the data now hold three, one of them twice."""
        times = {"a": 1, "b": 1, "c": 2, "d": 1}
        look = Look("f", 1, "c", "now", {}, {}, keys="a b c gone")
        (one,) = compare(Items(frozenset("abd"), times, 0.2), [look]).before
        p = (0.2, 0.2, 1 - 0.8**2)
        assert one.shared == 2
        assert one.expected == pytest.approx(sum(p))
        spread = math.sqrt(sum(chance * (1 - chance) for chance in p))
        assert one.limit == pytest.approx(sum(p) + 6 * spread)

    def test_looks_apart_and_together(self) -> None:
        items = Items(frozenset(map(str, range(10))), dict.fromkeys(map(str, range(20)), 1), 0.5)
        seen = ("0 1 2 15", "2 3", "16", None)
        looks = [Look("f", k, "c", "now", {}, {}, keys=text) for k, text in enumerate(seen)]
        overlap = compare(items, looks)
        assert [one.shared for one in overlap.before] == [3, 2]
        assert (overlap.union, overlap.is_used_up) == (4, False)
        assert overlap.unknown == [looks[3]]
        told = overlap.as_json()
        assert (told["items"], told["union"]) == (10, 4)
        assert told["unknown"] == [{"fingerprint": "f", "number": 3}]
        assert json.loads(json.dumps(told)) == told

    def test_half_of_it_is_all_of_it(self) -> None:
        items = Items(frozenset("abcd"), dict.fromkeys("abcdefgh", 1), 0.5)
        looks = [Look("f", 1, "c", "now", {}, {}, keys=key) for key in "ab"]
        overlap = compare(items, looks)
        assert overlap.beyond_chance is None
        assert overlap.is_used_up


class TestVariants:
    @pytest.mark.parametrize("name", VARIANTS)
    def test_is_the_same_split_to_the_ledger(
        self, name: str, lines: Lines, book: Ledger, tmp_path: Path
    ) -> None:
        first = written(tmp_path / "a", lines)
        variant = VARIANTS[name]
        other = written(tmp_path / "b", variant.change(lines), **variant.settings)
        assert other.fingerprint != first.fingerprint
        look = book.claim(*asked(first), {}, items=first.items)
        for refusing in (book.check, lambda f, c, items: book.claim(f, c, {}, items=items)):
            with pytest.raises(Refused, match=f"under the fingerprint {first.fingerprint}"):
                refusing(*asked(other), items=other.items)
        assert book.known() == [look]
        again = book.claim(*asked(other), {}, "a slip", other.items)
        assert (again.number, again.reason) == (1, "a slip")
        assert again.overlap is not None
        assert again.overlap["looks"][0]["fingerprint"] == first.fingerprint
        assert again.overlap["union"] == len(first.items.keys & other.items.keys)
        assert receipts(book.folder, other.fingerprint) == book.looks(other.fingerprint) == [again]

    def test_another_seed_is_another_split(
        self, lines: Lines, book: Ledger, tmp_path: Path
    ) -> None:
        first = written(tmp_path / "a", lines)
        book.claim(*asked(first), {}, items=first.items)
        for seed in range(8):
            split = written(tmp_path / "a", lines, seed=seed)
            book.check(*asked(split), items=split.items)
        look = book.claim(*asked(split), {}, "needless", split.items)
        assert look.reason is None  # a reason says why a look is taken once more
        assert look.overlap is not None
        assert 0 < look.overlap["union"] < len(split.items.keys) / 3

    def test_of_many_splits_none_is_fresh(self, lines: Lines, book: Ledger, tmp_path: Path) -> None:
        """Each overlaps with each by chance, and together they have seen half of the file."""
        splits = [written(tmp_path / "a", lines, seed=seed) for seed in range(12)]
        for split in splits[:4]:
            book.claim(*asked(split), {}, items=split.items)
        for split in splits[4:11]:
            book.claim(*asked(split), {}, "practice", split.items)
        with pytest.raises(UsedUp, match="items were looked at in 11 looks"):
            book.claim(*asked(splits[11]), {}, items=splits[11].items)

    @pytest.mark.parametrize("name", IN_ORDER)
    def test_a_text_in_order_shares_all(
        self, name: str, lines: Lines, book: Ledger, tmp_path: Path
    ) -> None:
        first = written(tmp_path / "a", lines, order="contiguous")
        variant = VARIANTS[name]
        settings = {**variant.settings, "order": "contiguous"}
        other = written(tmp_path / "b", variant.change(lines), **settings)
        book.claim(*asked(first), {}, items=first.items)
        with pytest.raises(Refused, match="looked at before"):
            book.check(*asked(other), items=other.items)

    def test_or_nothing(self, lines: Lines, book: Ledger, tmp_path: Path) -> None:
        """Another text, and these lines shuffled."""
        few = list(dict.fromkeys(lines))
        first = written(tmp_path / "a", few, order="contiguous")
        book.claim(*asked(first), {}, items=first.items)
        other = written(tmp_path / "b", [f"{line}zz" for line in few], order="contiguous")
        assert compare(other.items, book.known()).union == 0
        for split in (other, written(tmp_path / "a", few, seed=1)):
            book.check(*asked(split), items=split.items)


@pytest.mark.system
def test_on_the_lecture_s_names(names_dir: Path, tmp_path: Path) -> None:
    """The figures that the rule was chosen by; one seed overlaps with another by 11 %."""
    lines = (names_dir / "names.txt").read_text().splitlines()
    (committed,) = receipts(ROOT / "sweeps" / "looks", "6fdda8d384094015051b519143392eeb")
    first = written(tmp_path / "a", lines)
    assert committed.items == first.items.keys
    shares = {"swapped": 100, "shares": 100, "appended": 96, "drop": 65, "half": 21}
    for name, percent in shares.items():
        variant = VARIANTS[name]
        other = written(tmp_path / "b", variant.change(lines), **variant.settings)
        overlap = compare(other.items, [committed])
        assert overlap.beyond_chance is not None, name
        assert round(100 * overlap.union / overlap.items) == percent
    for seed in range(5):
        overlap = compare(written(tmp_path / "a", lines, seed=seed).items, [committed])
        assert overlap.beyond_chance is None
        assert 9 <= 100 * overlap.union / overlap.items <= 13


class TestFromBeforeThereWereKeys:
    @pytest.fixture
    def first(self, lines: Lines, tmp_path: Path) -> Split:
        return written(tmp_path / "a", lines)

    @pytest.fixture
    def old(self, book: Ledger, first: Split) -> Look:
        """A database without the table of keys, a receipt without their fields."""
        look = book.finish(book.claim(*asked(first), {}), {"loss": 2.0})
        with sqlalchemy.create_engine(book.url).begin() as connection:
            connection.execute(sqlalchemy.text("DROP TABLE sweepmore_look_keys"))
        path = book.path(look)
        fields = json.loads(path.read_text())
        del fields["keys"], fields["overlap"]
        path.write_text(json.dumps(fields))
        return look

    def test_it_opens_and_counts(self, book: Ledger, first: Split, old: Look) -> None:
        assert book.looks() == book.known() == receipts(book.folder) == [old]
        with pytest.raises(Refused, match="has had look 1"):
            book.claim(*asked(first), {}, items=first.items)
        again = book.claim(*asked(first), {}, "why", first.items)
        assert again.overlap is not None  # the fingerprint is the same, so are the lines
        assert again.overlap["union"] == len(first.items.keys)

    @pytest.mark.parametrize("settings", [{"lower": True}, {"seed": 5, "duplicates": "drop"}])
    def test_completed_where_the_file_gives_its_split(
        self, book: Ledger, first: Split, old: Look, settings: dict[str, Any], lines: Lines
    ) -> None:
        other = written(Path(str(first.data.path)), lines, **settings)
        found = reproduced(other.data, book.without_keys())
        assert found == {first.fingerprint: first.data}
        book.prepare()
        keys = {name: sealed.hashed(data, name).keys for name, data in found.items()}
        assert book.add_keys(keys) == [book.path(old)]
        assert book.add_keys(keys) == []
        complete = dataclasses.replace(old, keys=first.items.text)
        assert book.looks() == receipts(book.folder) == [complete]
        assert book.without_keys() == set()
        seen = compare(other.items, book.known())
        assert (seen.beyond_chance is not None) is (settings == {"lower": True})

    def test_told_where_it_does_not(
        self, book: Ledger, first: Split, old: Look, lines: Lines
    ) -> None:
        other = written(Path(str(first.data.path)), swapped(lines))
        assert reproduced(other.data, book.without_keys()) == {}
        look = book.claim(*asked(other), {}, items=other.items)
        assert look.overlap is not None
        assert look.overlap["unknown"] == [{"fingerprint": first.fingerprint, "number": 1}]

    def test_a_layer_that_lacks_them_gets_them_from_the_other(
        self, book: Ledger, first: Split
    ) -> None:
        look = book.claim(*asked(first), {}, items=first.items)
        fields = json.loads(book.path(look).read_text())
        book.path(look).write_text(json.dumps({**fields, "keys": None}))
        book.mend(first.fingerprint)
        assert receipts(book.folder) == [look]
        with sqlalchemy.create_engine(book.url).begin() as connection:
            connection.execute(sqlalchemy.text("DELETE FROM sweepmore_look_keys"))
        assert book.looks() != [look]
        book.mend(first.fingerprint)
        assert book.looks() == [look]


def test_a_torn_receipt_of_another_split_is_told(
    book: Ledger, lines: Lines, tmp_path: Path
) -> None:
    book.folder.mkdir(parents=True)
    (book.folder / f"{'e' * 32}-1.json").write_text("{")
    split = written(tmp_path / "a", lines)
    look = book.claim(*asked(split), {}, items=split.items)
    assert look.overlap is not None
    assert look.overlap["unknown"] == [{"fingerprint": "e" * 32, "number": 1}]


# the race


def race(folder: Path, lines: Lines, size: int, rounds: int) -> None:
    """Each process claims another variant of the same file."""
    kinds = list(VARIANTS.values())
    splits = [written(folder / "first", lines)]
    for number in range(1, size):
        kind = kinds[number % len(kinds)]
        more = [f"newcomer{k}" for k in range(number // len(kinds))]
        changed = [*kind.change(lines), *more]
        splits.append(written(folder / "other", changed, **kind.settings))
    assert len({split.fingerprint for split in splits}) == size
    variants = folder / "variants.json"
    content = [(s.fingerprint, sorted(s.items.keys), s.items.times, s.items.share) for s in splits]
    variants.write_text(json.dumps(content))
    ends = race_ended(folder / "races", size, rounds, f"variants={variants}")
    assert ends == [Counter(won=1, refused=size - 1)] * rounds
    for turn in range(rounds):
        (row,) = ledger_in(folder / "races" / str(turn)).looks()
        assert receipts(folder / "races" / str(turn) / "looks") == [row]


@pytest.fixture(scope="module")
def many_lines() -> Lines:
    """Enough that half of them as test are recognised by any variant's test lines: chance may give
    half of 40 lines and 6 · √10 = 19 more, but not half of 150 and 6 · √37.5 = 37 more."""
    return (ROOT / "src" / "nplm" / "given_names.txt").read_text().splitlines()[:1500]


@pytest.mark.system
def test_of_four_variants_one_is_looked_at(many_lines: Lines, tmp_path: Path) -> None:
    race(tmp_path, many_lines, 4, 3)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize(("size", "rounds"), [(8, 20), (32, 20)])
def test_of_many_variants_one_is_looked_at(
    many_lines: Lines, tmp_path: Path, size: int, rounds: int
) -> None:
    race(tmp_path, many_lines, size, rounds)


def test_of_two_databases_at_most_one(
    book: Ledger, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sees the other's row: the receipts, which are there before a line is read, do."""
    first, other = written(tmp_path / "a", lines), written(tmp_path / "b", swapped(lines))
    elsewhere = Ledger(URL.create("sqlite", database=str(tmp_path / "other.db")), book.folder)
    monkeypatch.setattr(ledgers, "write_receipt", late := Late(book, first))
    with pytest.raises(Refused, match="from another database at the same time"):
        elsewhere.claim(*asked(other), {}, items=other.items)
    assert [look.fingerprint for look in book.looks()] == [first.fingerprint]
    assert len(receipts(book.folder)) == late.written == 2


@dataclasses.dataclass
class Late:
    """The other claims after this one has checked, before its receipt is there."""

    book: Ledger
    split: Split
    written: int = 0

    def __call__(self, path: Path, look: Look) -> None:
        self.written += 1
        if self.written == 1:
            self.book.claim(*asked(self.split), {}, items=self.split.items)
        write_receipt(path, look)
