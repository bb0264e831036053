"""Properties over drawn inputs: data, overrides, splits, the states of the ledger; and fuzzing,
where whatever is given ends in a result or in one message."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy.engine import URL

import evaluate_test
import sample
from nplm.app import rates
from nplm.config import Config, Data, from_hydra, to_plain
from nplm.data import encode, load_splits
from nplm.lines import fingerprint, read_lines, split_lines
from nplm.vocabulary import vocabulary_of
from sweepmore.compose import cli
from sweepmore.compose.composing import composing, resolved
from sweepmore.compose.keys import Settings
from sweepmore.compose.overrides import override_text, read_overrides
from sweepmore.errors import ConfigError, DataError, UserError
from sweepmore.process.identity import this_process
from sweepmore.seal import ledger
from sweepmore.seal.ledger import Ledger
from sweepmore.seal.receipts import Look, receipts
from sweepmore.seal.refusals import Refused
from sweepmore.sweep.checks import without_hydra
from sweepmore.typed import dotted
from tests.support.composed import TRAIN, Script, check_setting, composed
from tests.support.helpers import ROOT

pytestmark = pytest.mark.properties
# A few inputs, the same at each `make test`; others, and five times as many, in `make test-faults`:
# the profile (tests/conftest.py) is loaded before this file is.
SCRIPTS = (sample, evaluate_test)
quick = settings(deadline=None, max_examples=settings().max_examples // 4)

lines = st.lists(st.text("abé漢 😀-", min_size=1, max_size=9).filter(str.strip), min_size=10)
shares = st.tuples(st.integers(1, 8), st.integers(1, 4), st.integers(1, 4)).map(
    lambda parts: tuple(part / sum(parts) for part in parts)
)


@contextlib.contextmanager
def in_file(content: bytes, **more: Any) -> Iterator[Data]:
    """Settings of a file that holds it."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(content)
        file.flush()
        yield Data(name="text", path=file.name, **more)


# data and split


@quick
@given(lines, st.integers(0, 2**40), shares)
def test_a_split_is_a_partition_by_the_shares(
    given_lines: list[str], seed: int, parts: tuple[float, float, float]
) -> None:
    data = Data(seed=seed, split=parts)
    try:
        split = split_lines(given_lines, data)
    except DataError:
        assert min(parts) * len(given_lines) < 1.001  # one share is not a line
        return
    assert Counter(line for part in split for line in part) == Counter(given_lines)
    for part, share in zip(split, parts, strict=True):
        assert abs(len(part) - share * len(given_lines)) < 1.001
    assert split == split_lines(given_lines, data)


@quick
@given(lines, st.integers(1, 6))
def test_the_counts_of_a_split_are_its_examples(given_lines: list[str], block_size: int) -> None:
    split = encode(given_lines, vocabulary_of(given_lines, Path("x")), block_size)
    pairs = Counter(zip(map(tuple, split.contexts.tolist()), split.targets.tolist(), strict=True))
    counts = split.counts
    contexts = [tuple(row) for row in counts.contexts.tolist()]
    counted = {
        (contexts[row], target): number
        for row, target, number in zip(
            counts.rows.tolist(), counts.targets.tolist(), counts.numbers.tolist(), strict=True
        )
    }
    assert counted == pairs
    assert len(split) == sum(len(line) + 1 for line in given_lines)


@quick
@given(lines, lines, st.integers(0, 9), st.integers(0, 9))
def test_fingerprints_are_equal_for_equal_splits_alone(
    one: list[str], other: list[str], seed: int, another: int
) -> None:
    same = (one, seed) == (other, another)
    prints = fingerprint(one, Data(seed=seed)), fingerprint(other, Data(seed=another))
    assert (prints[0] == prints[1]) is same
    assert prints[0] == fingerprint(list(one), Data(seed=seed))


@quick
@given(lines, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_a_file_is_its_lines_however_it_is_stored(
    given_lines: list[str], end: str, mark: bool, last: bool
) -> None:
    text = ("\ufeff" if mark else "") + end.join(given_lines) + (end if last else "")
    with in_file(text.encode()) as data:
        assert read_lines(data) == given_lines


@quick
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=200).map(str.encode),
        st.tuples(lines, st.integers(0, 99), st.binary(min_size=1, max_size=3)).map(
            lambda drawn: b"%b%b" % ("\n".join(drawn[0]).encode()[: drawn[1]], drawn[2])
        ),
    ),
    st.sampled_from(["keep", "drop"]),
)
def test_any_file_is_split_or_refused(content: bytes, duplicates: str) -> None:
    with in_file(content, duplicates=duplicates) as data:
        try:
            splits = load_splits(data, 3)
        except DataError:
            return
    assert len(splits.train) > 0
    assert len(splits.dev) > 0
    assert splits.test_lines > 0
    assert splits.vocabulary.tokens[0] == "."


# settings and overrides

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KNOWN = sorted(key for key in dotted(to_plain(Config())) if not key.endswith("name"))


def nested(key: str, value: Any) -> dict[str, Any]:
    """Config's defaults, but for one key."""
    plain = to_plain(Config())
    *groups, leaf = key.split(".")
    node = plain
    for group in groups:
        node = node[group]
    node[leaf] = value
    return plain


@quick
@given(st.sampled_from(KNOWN), values)
def test_any_value_of_a_setting_is_taken_or_refused(key: str, value: Any) -> None:
    try:
        config = from_hydra(nested(key, value))
    except ConfigError:
        return
    assert from_hydra(to_plain(config)) == config


FIND_LR = Script("find_lr", partial(rates.register, ROOT), rates.read)


@contextlib.contextmanager
def one_message_or_none() -> Iterator[None]:
    """What a root script does around all: it may exit 2 with one message, or go on."""
    said, code = io.StringIO(), None
    with contextlib.redirect_stderr(said):
        try:
            with cli.errors_reported():
                yield
        except SystemExit as ended:
            code = ended.code
    if code is None:
        return
    assert code == 2
    assert said.getvalue().startswith("error: ")
    assert len(said.getvalue().splitlines()) > 1  # the cure
    assert "Traceback" not in said.getvalue()


def read(script: Script, given_words: Sequence[str]) -> None:
    """What the script's task reads, and what ``--help`` and ``-m`` do."""
    node = composed(script, given_words)
    with composing():
        assert str(node.hydra.help.template)
    script.read(without_hydra(node))


texts = st.text("[]{}(),:=$'\"\\ab1. -~+*é", max_size=8)
GROUPS = ("model", "optim", "data", "wandb", "experiment", "sweeps", "hydra/sweeper", "hydra/help")

words = st.one_of(
    st.tuples(
        st.sampled_from([*KNOWN, *GROUPS, "find_lr.lo", "find_lr", "nothing.x"]),
        st.one_of(
            values.map(lambda value: written(value)),
            texts,
        ),
        st.sampled_from(["", "+", "++", "~"]),
    ).map(lambda drawn: f"{drawn[2]}{drawn[0]}={drawn[1]}"),
    st.tuples(st.sampled_from(GROUPS), values).map(
        lambda drawn: f"~{drawn[0]}={written(drawn[1])}",
    ),
    st.text(max_size=12),
)


def written(value: Any) -> str:
    try:
        return override_text(value)
    except ConfigError:
        return "x"


@quick
@given(st.sampled_from([TRAIN, FIND_LR]), st.lists(words, min_size=1, max_size=3))
@example(TRAIN, ["~model=[]"])
@example(TRAIN, ["~optim=1_000"])
@example(TRAIN, ["~experiment=-0"])
@example(FIND_LR, ["~find_lr"])
@example(FIND_LR, ["find_lr=5"])
def test_any_words_are_composed_or_refused_by_one_message(
    script: Script, given_words: list[str]
) -> None:
    with one_message_or_none():
        read(script, given_words)


# No word of these is a run of train.py: Hydra's parser alone is asked.
@quick
@given(st.lists(st.text("-=acfhipx10 ", max_size=6) | st.text(max_size=6), max_size=4))
@example(["--hidden", "200"])
@example(["--h"])
@example(["a=1", "--cfg", "job", "b=2"])
def test_any_flags_are_taken_or_refused_by_one_message(given_words: list[str]) -> None:
    asked = {"--version", "--shell-completion"}
    with one_message_or_none():
        cli.refuse_flags([w for w in given_words if w not in asked], ROOT / "conf", "nowhere")


@quick
@given(st.sampled_from(SCRIPTS), st.data())
def test_any_words_of_a_script_are_read_or_refused_by_one_message(
    script: ModuleType, data: st.DataObject
) -> None:
    keys = [field.name for field in dataclasses.fields(script.Arguments)]
    drawn = st.tuples(st.sampled_from([*keys, "n.x", "[0]", "", "a"]), texts | values.map(written))
    given_words = data.draw(st.lists(drawn.map("=".join) | st.text(max_size=9), max_size=3))
    with one_message_or_none(), contextlib.redirect_stdout(io.StringIO()):
        cli.command(script.Arguments, lambda arguments: None, given_words)


@quick
@given(st.lists(words, min_size=1, max_size=4))
def test_any_words_of_a_sweep_are_read_or_refused(given_words: list[str]) -> None:
    try:
        read = read_overrides(given_words, {})
    except ConfigError:
        return
    assert len(read) == len(given_words)


@quick
@given(
    st.one_of(
        st.binary(max_size=120),
        st.text("ab:{}[]!&*#-?|>'\"%@`\n\t 1", max_size=60).map(str.encode),
        st.tuples(st.sampled_from(KNOWN), values).map(
            lambda drawn: f"{drawn[0]}: {drawn[1]!r}".encode()
        ),
    )
)
def test_any_source_is_composed_or_refused_by_one_message(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, one_message_or_none():
        (Path(folder) / "experiment").mkdir()
        (Path(folder) / "experiment" / "mine.yaml").write_bytes(b"# @package _global_\n" + content)
        mine = [f"hydra.searchpath=[file://{folder}]", "experiment=mine"]
        from_hydra(resolved(without_hydra(composed(TRAIN, mine))))


# the sweeper's settings

anything = values | st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=3), values)


@quick
@given(st.sampled_from([field.name for field in dataclasses.fields(Settings)]), anything)
@example("enqueue", 5)
def test_any_setting_of_the_sweeper_is_taken_or_refused_by_one_message(
    key: str, value: Any
) -> None:
    with one_message_or_none():
        check_setting(key, value)


# the ledger

SPLIT = "f" * 32
DEAD = {"host": this_process()["host"], "boot": "an earlier one", "pid": 1, "started": 0.0}


class LedgerStates(RuleBasedStateMachine):
    """Whatever comes in whatever order: a look that was claimed is never forgotten, unless both
    layers were deleted; only a reason opens the split again; a result never changes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.place = Path(self.folder.name)
        url = URL.create("sqlite", database=str(self.place / "studies.db"))
        self.book = Ledger(url, self.place / "looks")
        self.numbers: set[int] = set()  # claimed, and not deleted in both layers
        self.rows: set[int] = set()
        self.restored: set[int] = set()  # rows that came from receipts
        self.results: dict[int, Any] = {}
        self.mine: list[Look] = []  # owned and unfinished
        self.patch = pytest.MonkeyPatch()

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    def claim_it(self, checkpoint: str, reason: str | None) -> Look | None:
        try:
            look = self.book.claim(SPLIT, checkpoint, {"run": "r"}, reason)
        except Refused:
            assert self.numbers
            assert reason is None
            return None
        assert not self.numbers or reason is not None
        assert look.number == max(self.numbers, default=0) + 1
        self.numbers.add(look.number)
        self.rows.add(look.number)
        return look

    @rule(checkpoint=st.sampled_from("ab"), reason=st.sampled_from([None, "why"]))
    def claim(self, checkpoint: str, reason: str | None) -> None:
        look = self.claim_it(checkpoint, reason)
        if look is not None:
            self.mine.append(look)

    @rule(checkpoint=st.sampled_from("ab"), reason=st.sampled_from([None, "why"]))
    def claim_and_die(self, checkpoint: str, reason: str | None) -> None:
        with self.patch.context() as patch:
            patch.setattr(ledger, "this_process", lambda: DEAD)
            self.claim_it(checkpoint, reason)

    @precondition(lambda self: self.mine)
    @rule(loss=st.floats(0, 9))
    def finish(self, loss: float) -> None:
        look = self.mine.pop()
        if look.number not in self.rows - self.restored:
            with pytest.raises((Refused, UserError)):
                self.book.finish(look, {"loss": loss})
            return
        done = self.book.finish(look, {"loss": loss})
        self.results[look.number] = done.result

    @rule(checkpoint=st.sampled_from("ab"))
    def complete(self, checkpoint: str) -> None:
        last = max(self.numbers, default=0)
        try:
            look = self.book.resume(SPLIT, checkpoint)
        except UserError:
            return
        assert (look.number, look.checkpoint) == (last, checkpoint)
        assert look.number in self.rows - self.restored
        assert look.number not in self.results
        assert look not in self.mine
        self.mine.append(look)

    @precondition(lambda self: self.numbers)
    @rule(how=st.sampled_from(["delete", "tear"]))
    def harm_the_last_receipt(self, how: str) -> None:
        number = max(self.numbers)
        path = self.book.folder / f"{SPLIT}-{number}.json"
        if not path.exists():
            return
        if how == "delete":
            path.unlink()
            self.numbers &= self.rows | {number_of(p) for p in self.book.folder.iterdir()}
        else:
            path.write_bytes(path.read_bytes()[:20])

    @rule()
    def delete_the_database(self) -> None:
        (self.place / "studies.db").unlink(missing_ok=True)
        self.rows.clear()
        self.restored.clear()
        self.results.clear()
        kept = self.book.folder.iterdir() if self.book.folder.exists() else ()
        self.numbers &= {number_of(path) for path in kept}

    @rule()
    def mend(self) -> None:
        """Rows come from receipts that can be read, results from either layer, and none changes."""
        self.book.mend(SPLIT)
        rows = {look.number: look for look in self.book.looks(SPLIT)}
        assert rows.keys() >= self.rows
        self.restored |= rows.keys() - self.rows
        self.rows = set(rows)
        results = {number: look.result for number, look in rows.items() if look.result}
        assert results.items() >= self.results.items()
        self.results = results
        torn = {look.number for look in receipts(self.book.folder, SPLIT) if look.is_torn}
        assert torn == self.numbers - self.rows

    @invariant()
    def no_look_is_forgotten(self) -> None:
        assert {look.number for look in self.book.known(SPLIT)} == self.numbers
        rows = {look.number: look for look in self.book.looks(SPLIT)}
        assert rows.keys() == self.rows
        assert {n: look.result for n, look in rows.items() if look.result} == self.results
        if self.numbers:
            with pytest.raises(Refused):
                self.book.check(SPLIT, "a")


def number_of(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


TestLedgerStates = LedgerStates.TestCase
TestLedgerStates.settings = settings(
    quick, max_examples=quick.max_examples // 2, stateful_step_count=10
)
