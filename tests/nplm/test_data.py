"""From a file to examples: equal to the lecture's plain loop, and named by a fingerprint."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nplm.config import Data
from nplm.data import Splits, _Kept, count, encode, load_splits, size_in_bytes
from nplm.lines import fingerprint, read_lines, split_lines
from nplm.vocabulary import Vocabulary, vocabulary_of
from sweepmore.errors import DataError
from tests.support.helpers import ROOT

HERE = Path("a file")
# What loading takes at most, as docs/faults.md says: in all, for each line, for each byte of the
# file at block size 3, and for each byte and further token of context.
BYTES_IN_ALL, BYTES_A_LINE, BYTES_A_BYTE, BYTES_A_TOKEN = 300e6, 100, 60, 20


def of_a_line(width: int, block_size: int) -> int:
    """The most bytes of memory for a line of ``width`` bytes, its end among them."""
    return BYTES_A_LINE + width * (BYTES_A_BYTE + BYTES_A_TOKEN * (block_size - 3))


def random_lines(folder: Path, lines: int, width: int) -> Data:
    """Random letters, of which more contexts are distinct than of any language."""
    letters = np.random.default_rng(0).integers(97, 123, (lines, width), dtype=np.uint8)
    letters[:, -1] = ord("\n")
    return written(folder, letters.tobytes())


def lecture_loop(lines: list[str], vocabulary: Vocabulary, block_size: int) -> tuple[Any, Any]:
    """build_dataset of the lecture."""
    index = {token: i for i, token in enumerate(vocabulary.tokens)}
    X, Y = [], []
    for word in lines:
        context = [0] * block_size
        for character in word + ".":
            X.append(context)
            Y.append(index[character])
            context = [*context[1:], index[character]]
    return X, Y


def written(tmp_path: Path, content: bytes, **settings: Any) -> Data:
    path = tmp_path / "lines.txt"
    path.write_bytes(content)
    return Data(name="text", path=str(path), **settings)


def lines_of(n: int) -> list[str]:
    return [f"line{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(n)]


# examples


def assert_equals_the_loop(lines: list[str], block_size: int) -> None:
    vocabulary = vocabulary_of(lines, HERE)
    split = encode(lines, vocabulary, block_size)
    X, Y = lecture_loop(lines, vocabulary, block_size)
    assert torch.equal(split.contexts, torch.tensor(X))
    assert torch.equal(split.targets, torch.tensor(Y))


@pytest.mark.parametrize("block_size", [1, 3, 8])
def test_encoding_of_names_equals_the_lecture_loop(names_dir: Path, block_size: int) -> None:
    assert_equals_the_loop(read_lines(Data(name="names")), block_size)


@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_encoding_of_given_names_equals_the_lecture_loop(block_size: int) -> None:
    assert_equals_the_loop(read_lines(Data()), block_size)


@settings(deadline=None)
@given(
    st.lists(st.text("ab é漢😀", min_size=1, max_size=12), min_size=1, max_size=8),
    st.integers(1, 15),
)
def test_encoding_of_any_text_equals_the_lecture_loop(lines: list[str], block_size: int) -> None:
    assert_equals_the_loop(lines, block_size)


def test_context_longer_than_all_lines_together() -> None:
    assert_equals_the_loop(["a"], 256)


@pytest.mark.parametrize(
    ("size", "n", "block_size"),
    [
        (27, 1, 1),
        (27, 2000, 1),  # a table for all
        (27, 2000, 3),  # a table, then sorting
        (5, 2000, 9),  # tables in between
        (3, 500, 256),
        (17_000, 300, 5),  # sorted in between: five factors overflow
    ],
)
def test_distinct_contexts_and_their_counts_are_numpys(size: int, n: int, block_size: int) -> None:
    generator = np.random.default_rng(0)
    contexts = generator.integers(0, size, (n, block_size)) * generator.integers(0, 2, (n, 1))
    targets = generator.integers(0, size, n)
    counts = count(contexts, targets, size)
    kinds, rows = np.unique(contexts, axis=0, return_inverse=True)
    pairs, numbers = np.unique(np.stack([rows, targets], 1), axis=0, return_counts=True)
    assert np.array_equal(counts.contexts, kinds)
    assert np.array_equal(np.stack([counts.rows, counts.targets], 1), pairs)
    assert np.array_equal(counts.numbers, numbers)


@pytest.mark.system
def test_a_million_lines_are_encoded() -> None:
    letters = np.random.default_rng(0).integers(97, 123, (1_000_000, 7), dtype=np.uint8)
    letters[:, 6] = ord("\n")
    lines = letters.tobytes().decode().splitlines()
    split = encode(lines, vocabulary_of(lines, HERE), block_size=3)
    assert split.contexts.shape == (7_000_000, 3)


@pytest.mark.parametrize(("width", "block_size"), [(16, 3), (100, 4)])
def test_a_line_takes_no_more_memory_than_documented(
    width: int, block_size: int, tmp_path: Path
) -> None:
    """At two sizes, as Python and numpy count what they allocate: imports are left out. What is in
    all is mostly theirs; these sizes may take 10 MB of it."""
    for lines in (160_000 // width, 640_000 // width):
        data = random_lines(tmp_path, lines, width)
        tracemalloc.start()
        try:
            load_splits(data, block_size)
            taken = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert taken <= 10e6 + lines * of_a_line(width, block_size)


def test_the_document_says_how_much_memory_is_taken() -> None:
    text = " ".join((ROOT / "docs" / "faults.md").read_text().split())
    assert (
        f"at most {BYTES_IN_ALL / 1e9:g} GB, plus {BYTES_A_LINE} bytes per line, plus "
        f"{BYTES_A_BYTE} bytes per byte of the file at block size 3 and {BYTES_A_TOKEN} more for "
        "each further token of context"
    ) in text


@pytest.mark.faults
@pytest.mark.parametrize(
    ("lines", "width", "block_size"),
    [(1_000_000, 3, 3), (1_000_000, 16, 3), (1_000_000, 8, 8), (10_000_000, 4, 3)],
)
def test_memory_grows_by_lines_and_bytes_as_documented(
    lines: int,
    width: int,
    block_size: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """In a process of its own, whose greatest size the system tells."""
    data = random_lines(tmp_path, lines, width)
    code = (
        "import resource, sys; from nplm.config import Data; from nplm.data import load_splits\n"
        "splits = load_splits(Data(name='text', path=sys.argv[1]), int(sys.argv[2]))\n"
        "print(len(splits.train), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(data.path), str(block_size)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    examples, kibibytes = map(int, done.stdout.split())
    assert examples == lines * width * 8 // 10  # the share of train
    most = BYTES_IN_ALL + lines * of_a_line(width, block_size)
    taken = kibibytes * 1024
    told = f"{taken / 1e9:.2f} GB of memory, of {most / 1e9:.2f}"
    record_property(f"{lines:,} lines of {width} bytes, block size {block_size}", told)
    assert taken <= most


# reading


@pytest.mark.parametrize(
    "content",
    [b"anna\r\nben\r\ncleo\r\n", b"anna\rben\r\rcleo\r", b"anna\r\nben\rcleo\n",
     b"\xef\xbb\xbfanna\nben\ncleo\n", b"anna\nben\ncleo", b"anna\n\n  \nben\ncleo\n\n"],
    ids=["CRLF", "CR", "all three", "BOM", "no last newline", "blank lines"],
)  # fmt: skip
def test_line_ends_marks_and_blank_lines_change_nothing(tmp_path: Path, content: bytes) -> None:
    assert read_lines(written(tmp_path, content)) == ["anna", "ben", "cleo"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_the_line_of_a_wrong_byte_is_told_with_any_line_end(tmp_path: Path, end: bytes) -> None:
    content = end.join([b"anna", b"ben", b"cl\xffo", b"dora"])
    with pytest.raises(DataError, match="line 3: not UTF-8"):
        read_lines(written(tmp_path, content))
    with pytest.raises(DataError, match="line 3: contains a NUL byte"):
        read_lines(written(tmp_path, content.replace(b"\xff", b"\0")))


def test_a_line_of_the_greatest_length_is_read_with_any_line_end(tmp_path: Path) -> None:
    longest = "a" * 10_000
    for end in ("\n", "\r\n", "\r"):
        content = f"{longest}{end}b{end}".encode()
        assert read_lines(written(tmp_path, content)) == [longest, "b"]


def test_text_of_several_scripts_is_read(tmp_path: Path) -> None:
    content = "Ægir\n漢字 😀\nanna maria\n" * 4
    splits = load_splits(written(tmp_path, content.encode()), 3)
    assert set("Ægir漢字 😀") <= set(splits.vocabulary.tokens)


def test_duplicates_are_kept_or_dropped(tmp_path: Path) -> None:
    content = b"ben\nanna\nben\ncleo\nanna\n"
    assert read_lines(written(tmp_path, content)) == ["ben", "anna", "ben", "cleo", "anna"]
    assert read_lines(written(tmp_path, content, duplicates="drop")) == ["ben", "anna", "cleo"]


def test_dropped_duplicates_leave_no_dev_line_in_train(tmp_path: Path) -> None:
    content = "\n".join(lines_of(60) * 3).encode()
    assert load_splits(written(tmp_path, content), 3).dev_in_train > 0
    assert load_splits(written(tmp_path, content, duplicates="drop"), 3).dev_in_train == 0


def test_dev_lines_in_train_are_counted_as_lines_not_as_distinct_ones(tmp_path: Path) -> None:
    splits = load_splits(written(tmp_path, "\n".join(lines_of(20) * 10).encode()), 3)
    assert splits.dev_in_train == sum(line in splits.train.lines for line in splits.dev.lines)
    assert splits.dev_in_train == len(splits.dev.lines) == 20


# splitting


@pytest.mark.parametrize("n", [*range(10, 200), 32_033])
def test_split_is_the_shuffle_of_the_lecture(n: int) -> None:
    shuffled = [str(i) for i in range(n)]
    random.Random(42).shuffle(shuffled)
    n1, n2 = int(0.8 * n), int(0.9 * n)
    wanted = shuffled[:n1], shuffled[n1:n2], shuffled[n2:]
    assert split_lines([str(i) for i in range(n)], Data()) == wanted


def test_split_leaves_its_input_and_the_global_generator_alone() -> None:
    lines, before = [str(i) for i in range(20)], random.getstate()
    split_lines(lines, Data())
    assert lines == [str(i) for i in range(20)]
    assert random.getstate() == before


def test_fractions_and_seed_are_configurable() -> None:
    lines = [str(i) for i in range(100)]
    halves = split_lines(lines, Data(split=(0.5, 0.3, 0.2)))
    assert [len(part) for part in halves] == [50, 30, 20]
    assert split_lines(lines, Data(seed=0)) != split_lines(lines, Data(seed=1))


@pytest.mark.parametrize("share", [i / 100 for i in range(1, 90)])
def test_shares_are_cut_where_their_decimals_say(share: float) -> None:
    rest = round(1 - share - 0.1, 2)
    parts = split_lines([str(i) for i in range(100)], Data(split=(share, rest, 0.1)))
    assert [len(part) for part in parts] == [round(100 * share), round(100 * rest), 10]


# the fingerprint

LINES = ["anna", "ben", "cleo", "anna"]
CHANGES = {
    "a line more": ([*LINES, "dora"], Data()),
    "a letter": (["anne", "ben", "cleo", "anna"], Data()),
    "order": (["ben", "anna", "cleo", "anna"], Data()),
    "seed": (LINES, Data(seed=43)),
    "split": (LINES, Data(split=(0.7, 0.2, 0.1))),
    "duplicates": (LINES, Data(duplicates="drop")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_changes_with(change: str) -> None:
    assert fingerprint(*CHANGES[change]) != fingerprint(LINES, Data())


def test_fingerprint_ignores_where_and_how_the_same_lines_are_stored(tmp_path: Path) -> None:
    wanted = fingerprint(LINES, Data())
    for content in (b"anna\nben\ncleo\nanna\n", b"\xef\xbb\xbfanna\r\nben\r\n\r\ncleo\r\nanna"):
        data = written(tmp_path, content)
        assert fingerprint(read_lines(data), data) == wanted


def test_fingerprint_does_not_depend_on_the_block_size(few_names: Path, few: Splits) -> None:
    data = Data(name="text", path=str(few_names))
    assert load_splits(data, block_size=5).fingerprint == few.fingerprint


# the seal


def texts_in(value: Any) -> set[str]:
    """Every text that can be reached from ``value``; tensors are decoded by the caller."""
    if isinstance(value, str):
        return {value}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return texts_in(vars(value))
    if isinstance(value, dict):
        return set().union(*map(texts_in, value.values()))
    if isinstance(value, (list, tuple, set)):
        return set().union(*map(texts_in, value))
    return set()


def spelled(contexts: Tensor, targets: Tensor, vocabulary: Vocabulary) -> set[str]:
    """The lines that examples spell."""
    text = "".join(vocabulary.tokens[i] for i in targets.tolist())
    return set(text.split("."))


def test_test_lines_are_in_no_attribute_of_the_splits() -> None:
    lines = read_lines(Data())
    hidden = set(split_lines(lines, Data())[2])
    splits = load_splits(Data(), block_size=3)
    assert not hidden & texts_in(splits)
    for part in (splits.train, splits.dev):
        assert not hidden & spelled(part.contexts, part.targets, splits.vocabulary)
    assert splits.test_lines == len(hidden) == 2_926


def test_the_search_for_test_lines_would_find_one(few: Splits) -> None:
    leaking = dataclasses.replace(few, name="x", dev=dataclasses.replace(few.dev, lines=("zed",)))
    assert "zed" in texts_in(leaking)


def test_splits_are_kept_up_to_so_many_bytes(few: Splits) -> None:
    """The last ones whatever their size; of the others those that were asked for last."""
    loads: list[str] = []

    def get(kept: _Kept, key: str) -> None:
        def load() -> Splits:
            loads.append(key)
            return few

        assert kept.get(key, load) is few

    of_two = _Kept(limit=2 * size_in_bytes(few))
    for key in ("a", "b", "a", "c", "a", "b"):  # c takes the place of b, which was used before a
        get(of_two, key)
    assert loads == ["a", "b", "c", "b"]
    of_none = _Kept(limit=0)
    for key in ("x", "x", "y", "x"):
        get(of_none, key)
    assert loads[4:] == ["x", "y", "x"]
