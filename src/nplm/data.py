"""A text file becomes lines, a vocabulary, and the examples of train and dev.

Symbols: n examples, b = block_size, V tokens. ``contexts`` (n, b) int64, ``targets`` (n,) int64.
Token 0 is the boundary (``.`` between characters): it pads a context on the left and ends a line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import random
import re
import sys
import threading
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nplm.config import Data, from_hydra
from nplm.vocabulary import Unit, Vocabulary, unit_of, vocabulary_of
from sweepmore.errors import DataError, UserError, line_number
from sweepmore.wording import plural

SHIPPED = ("given_names", "austen")
MAX_LINE = 10_000  # characters; a longer line is a file without line ends, not an item
MAX_BYTES = 256 * 2**20  # of a file; loading takes up to 24 GB then (docs/faults.md, Memory)

# Bytes of the splits that are kept for the next model: a sweep over block_size alternates between
# a few. names.txt takes 9, 21 and 38 MiB at block sizes 3, 8 and 16.
KEPT_BYTES = 2**28

NAMES_URL = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
NAMES_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"


@dataclass(frozen=True)
class Counts:
    """The examples of a split, counted: its sufficient statistics.

    ``contexts`` (m, b) are the distinct ones. Each of the k pairs has the row of its context in
    ``rows`` (k,), its next token in ``targets`` (k,) and how often it occurs in ``numbers`` (k,)
    float64. At block size 3, names.txt has 182,625 training examples, but 5,438 distinct contexts.
    """

    contexts: Tensor
    rows: Tensor
    targets: Tensor
    numbers: Tensor

    def to(self, device: torch.device) -> Counts:
        """Return the counts on ``device``."""
        numbers = self.numbers if device.type != "mps" else self.numbers.float()  # no float64 there
        return Counts(*(t.to(device) for t in (self.contexts, self.rows, self.targets, numbers)))


@dataclass(frozen=True)
class Split:
    """Train, dev or test: its lines, their examples (contexts (n, b), targets (n,)), and the counts
    of these."""

    lines: tuple[str, ...]
    contexts: Tensor
    targets: Tensor
    counts: Counts

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> Split:
        """Return the split on ``device``; a split that is already there is not copied."""
        counts = self.counts.to(device)
        return Split(self.lines, self.contexts.to(device), self.targets.to(device), counts)


@dataclass(frozen=True)
class Splits:
    """What training may see: train and dev. The test lines are counted and dropped.

    ``fingerprint`` names the split: sha256 over all lines in file order and the rule that cuts
    them into splits and tokens. ``dev_in_train`` is how many dev lines also appear in train.
    """

    name: str
    vocabulary: Vocabulary
    train: Split
    dev: Split
    test_lines: int
    fingerprint: str
    dev_in_train: int


def load_splits(data: Data, block_size: int) -> Splits:
    """Return train and dev of the data that ``data`` names; the test lines are dropped here.

    Raises DataError for a file that cannot be used, before anything is computed from it. The last
    splits are kept, up to ``KEPT_BYTES``: a worker trains many models on the same ones.
    """
    state = origin_of(data).stat() if origin_of(data).exists() else None
    stamp = None if state is None else (state.st_mtime_ns, state.st_size, state.st_ino)
    return _kept.get((data, block_size, stamp), lambda: _load_splits(data, block_size))


class _Kept:
    """The splits that were used last: as many as fit into ``limit`` bytes, and at least one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: dict[Hashable, tuple[Splits, int]] = {}  # with bytes; in order of use
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], Splits]) -> Splits:
        """Return the splits with this key; ``load`` makes them where they are not kept."""
        if (entry := self._entries.get(key)) is None:
            splits = load()
            entry = splits, size_in_bytes(splits)
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = entry
            while len(self._entries) > 1 and self._size() > self.limit:
                del self._entries[next(iter(self._entries))]
        return entry[0]

    def _size(self) -> int:
        return sum(size for _, size in self._entries.values())


_kept = _Kept(KEPT_BYTES)


def size_in_bytes(splits: Splits) -> int:
    """Return the bytes that the tensors and lines of the splits occupy."""
    tensors: list[Tensor] = [
        tensor
        for split in (splits.train, splits.dev)
        for tensor in (split.contexts, split.targets, *vars(split.counts).values())
    ]
    lines = [*splits.train.lines, *splits.dev.lines]
    return sum(int(tensor.nbytes) for tensor in tensors) + sum(map(sys.getsizeof, lines))


def _load_splits(data: Data, block_size: int) -> Splits:
    lines, unit = read_lines(data), unit_of(data.unit, data.lower)
    train, dev, test = split_lines(lines, data)
    # words that only dev or test contains are unknown to the model, so train alone gives them
    source = train if unit.of_words else lines
    vocabulary = vocabulary_of(source, origin_of(data), unit, data.min_count)
    lines_in_train = set(train)
    return Splits(
        name=data.name if data.name != "text" else Path(str(data.path)).name,
        vocabulary=vocabulary,
        train=encode(train, vocabulary, block_size),
        dev=encode(dev, vocabulary, block_size),
        test_lines=len(test),
        fingerprint=fingerprint(lines, data),
        dev_in_train=sum(line in lines_in_train for line in dev),
    )


def identity(node: Mapping[str, Any]) -> dict[str, str]:
    """Return what a study's question holds of the data: the fingerprint of the split.

    ``node`` is a composed config. Raises DataError for a file that cannot be used.
    """
    data = from_hydra(node).data
    return {"fingerprint": fingerprint(read_lines(data), data)}


def origin_of(data: Data) -> Path:
    """Return the path of the data file. names.txt is downloaded into the cache if it is not there;
    raises DataError where that fails."""
    if data.name in SHIPPED:
        return Path(str(resources.files("nplm") / f"{data.name}.txt"))
    return names_file() if data.name == "names" else Path(str(data.path)).expanduser()


def names_file() -> Path:
    """Return the path of the lecture's names.txt in ``$SWEEPMORE_DATA_DIR`` (default: the user's
    cache). It is downloaded if it is not there, and verified by its sha256 before it gets its
    name. Raises DataError where the download fails."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # the bar shows a download, and our message its failure
    folder = Path(os.environ.get("SWEEPMORE_DATA_DIR") or pooch.os_cache("sweepmore"))
    fetcher = pooch.create(
        folder,
        base_url="",
        registry={"names.txt": f"sha256:{NAMES_SHA256}"},
        urls={"names.txt": NAMES_URL},
        retry_if_failed=2,
    )
    try:
        download = pooch.HTTPDownloader(progressbar=True, timeout=10)
        return Path(fetcher.fetch("names.txt", downloader=download))
    except (
        OSError,
        ValueError,
    ) as error:  # requests' errors are OSErrors, a wrong hash a ValueError
        raise DataError(
            f"names.txt is not in {folder} and could not be fetched ({type(error).__name__}).",
            value=NAMES_URL,
            cure="Give data=given_names, which ships with nplm, or data=text data.path=FILE.",
        ) from error


def read_lines(data: Data) -> list[str]:
    """Return the non-blank lines of the file in file order, as their tokens spell them, without
    line ends (LF, CRLF or CR) and without a BOM.

    Raises DataError, with the line, for a file that is no UTF-8 text or that no run can use.
    """
    path, unit = origin_of(data), unit_of(data.unit, data.lower)
    content = _read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = line_number(content, error.start)
        cure = "Save the file as UTF-8."
        raise DataError(f"{path}, line {line}: not UTF-8.", value=line, cure=cure) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    _refuse(path, text.lower() if unit.lower else text, unit)
    lines = [unit.clean(line) for line in text.split("\n") if line.strip()]
    if data.duplicates == "drop":
        lines = list(dict.fromkeys(lines))
    return lines


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(
                f"{path} has {size:,} bytes.",
                value=size,
                cure=f"At most {MAX_BYTES:,} bytes are read; train on a sample of the lines.",
            )
        return path.read_bytes()
    except OSError as error:
        cure = "Give the path of a text file with one item a line: data=text data.path=FILE."
        raise DataError(f"{path}: {error.strerror}.", value=str(path), cure=cure) from error


def _refuse(path: Path, text: str, unit: Unit) -> None:
    """Raise DataError for characters and line lengths that no run can use."""
    if not text.strip():
        what = "has only blank lines" if text else "is empty"
        raise DataError(
            f"{path} {what}.", value=str(path), cure="Give a file with one item a line."
        )
    boundary = re.escape(unit.boundary)
    token = rf"(?<!\S){boundary}(?!\S)" if unit.of_words else boundary
    named = f"the boundary token {unit.boundary!r}"
    for refused, what in (("\0", "a NUL byte"), (token, named)):
        if (match := re.search(refused, text)) is not None:
            line = text.count("\n", 0, match.start()) + 1
            cure = "Remove it, or replace it with another character."
            raise DataError(f"{path}, line {line}: contains {what}.", value=line, cure=cure)
    longest = max(text.split("\n"), key=len)
    if len(longest) > MAX_LINE:
        line = text.count("\n", 0, text.find(longest)) + 1
        raise DataError(
            f"{path}, line {line}: the line has {len(longest):,} characters.",
            value=len(longest),
            cure=f"A line may have at most {MAX_LINE:,} characters; put one item on each line.",
        )


def split_lines(lines: Sequence[str], data: Data) -> tuple[list[str], list[str], list[str]]:
    """Return the lines of train, dev and test, cut by the shares in ``data.split``: after the
    lecture's shuffle, or in file order (Bengio et al. 2003, section 4).

    Raises DataError where a split would be empty.
    """
    ordered = list(lines)
    if data.order == "shuffled":
        random.Random(data.seed).shuffle(ordered)
    n = len(ordered)
    # int() as in the lecture; rounded before it, because 0.29 * 100 is 28.999…
    first = int(round(data.split[0] * n, 6))
    second = int(round((data.split[0] + data.split[1]) * n, 6))
    parts = ordered[:first], ordered[first:second], ordered[second:]
    if not all(parts):
        raise DataError(
            f"{plural(n, 'line')} split by {list(data.split)} gives "
            f"{' / '.join(str(len(part)) for part in parts)} lines for train / dev / test.",
            value=n,
            cure="Each split needs a line at least: give more lines or other shares in data.split.",
        )
    return parts


def fingerprint(lines: Sequence[str], data: Data) -> str:
    """Return 32 hex digits of the sha256 over the lines in file order and the rule that makes
    splits and tokens of them. Settings at their defaults are left out, so that a new setting
    changes no recorded fingerprint."""
    rule: dict[str, Any] = {"seed": data.seed, "split": data.split, "duplicates": data.duplicates}
    if data.order == "contiguous":
        del rule[
            "seed"
        ]  # another seed gives the same split, so it must not give another look at the test lines
    settings = ("order", "unit", "lower", "min_count")
    chosen = {key: getattr(data, key) for key in settings}
    rule |= {key: value for key, value in chosen.items() if value != getattr(Data, key)}
    digest = hashlib.sha256(json.dumps(rule).encode())
    digest.update("\n".join(lines).encode())
    return digest.hexdigest()[:32]


def reproduced(data: Data, fingerprints: Collection[str]) -> dict[str, Data]:
    """Return which of the ``fingerprints`` the file of ``data`` gives, and with which settings:
    those of ``data``, or some of them at their defaults. Nothing about the lines is returned."""
    names = ("seed", "split", "duplicates", "order", "unit", "lower", "min_count")
    changed = [name for name in names if getattr(data, name) != getattr(Data, name)]
    settings: dict[str, Data] = {}
    sizes = range(len(changed) + 1)
    for back in itertools.chain(*(itertools.combinations(changed, size) for size in sizes)):
        if set(fingerprints) <= settings.keys():
            break
        with contextlib.suppress(
            UserError
        ):  # settings that contradict each other or do not suit the file
            other = dataclasses.replace(data, **{name: getattr(Data, name) for name in back})
            settings.setdefault(fingerprint(read_lines(other), other), other)
    return {digest: other for digest, other in settings.items() if digest in fingerprints}


def encode(lines: Sequence[str], vocabulary: Vocabulary, block_size: int) -> Split:
    """Return every (context, next token) pair of the lines; the boundary ends each line.

    It makes one pass over the joined text, linear in time and memory.
    """
    tokens = vocabulary.stream(lines)
    contexts = np.zeros((len(tokens), block_size), dtype=np.int64)
    for back in range(1, min(block_size, len(tokens) - 1) + 1):
        column = contexts[back:, block_size - back]
        column[:] = tokens[:-back]
        # a context ends at the start of its line: beyond a boundary there are only zeros
        if back > 1:
            column[contexts[back:, block_size - back + 1] == 0] = 0
    counts = count(contexts, tokens, len(vocabulary))
    return Split(tuple(lines), torch.from_numpy(contexts), torch.from_numpy(tokens), counts)


def count(contexts: NDArray[np.int64], targets: NDArray[np.int64], size: int) -> Counts:
    """Count how often each token follows each distinct context, these in lexicographic order;
    ``contexts`` (n, b), ``targets`` (n,), ``size`` V."""
    first, rows = distinct(contexts, size)
    pairs, numbers = np.unique(rows * size + targets, return_counts=True)
    return Counts(
        torch.from_numpy(contexts[first]),
        torch.from_numpy(pairs // size),
        torch.from_numpy(pairs % size),
        torch.from_numpy(numbers.astype(np.float64)),
    )


def distinct(contexts: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (m,) the first position of each distinct row, in lexicographic order of the rows, and
    (n,) which distinct row each row is.

    ``np.unique(axis=0)`` does the same but compares whole rows, about ten times slower.
    """
    _, first, which = np.unique(ranks(contexts, size), return_index=True, return_inverse=True)
    return first, which


def ranks(contexts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return (n,) an integer for each context: equal for equal contexts, and in their lexicographic
    order."""
    keys = np.zeros(len(contexts), dtype=np.int64)
    highest = 1
    for column in contexts.T:
        if highest > np.iinfo(np.int64).max // size:  # another factor would overflow
            _, keys = np.unique(keys, return_inverse=True)
            highest = len(contexts)
        keys = keys * size + column
        highest *= size
    return keys
