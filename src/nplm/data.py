"""A text file becomes lines, a vocabulary, and the examples of train and dev.

Symbols: n examples, b = block_size, V tokens. ``contexts`` (n, b) int64, ``targets`` (n,) int64.
Token 0 is the boundary (``.`` between characters): it pads a context on the left and ends a line.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nplm.config import Data, from_hydra
from nplm.lines import fingerprint, origin_of, read_lines, split_lines
from nplm.vocabulary import Vocabulary, unit_of, vocabulary_of

# Bytes of the splits that are kept for the next model: a sweep over block_size alternates between
# a few. names.txt takes 9, 21 and 38 MiB at block sizes 3, 8 and 16.
KEPT_BYTES = 2**28
# The most places for each key in a table that ranks keys. Here it is 2.5 to 5 times as fast as
# sorting them, at one place 5 to 20 times (2.7 M and 170,000 keys, 2026-11), and takes no more
# memory: 40 bytes a key.
PLACES = 4


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


def encode(lines: Sequence[str], vocabulary: Vocabulary, block_size: int) -> Split:
    """Return every (context, next token) pair of the lines; the boundary ends each line.

    It makes one pass over the joined text, linear in time and memory.
    """
    tokens = vocabulary.stream(lines)
    contexts = np.zeros((len(tokens), block_size), dtype=np.int64)
    for back in range(1, min(block_size, len(tokens) - 1) + 1):
        # a context ends at the start of its line: beyond a boundary there are only zeros
        inside = contexts[back:, block_size - back + 1] != 0 if back > 1 else True
        np.multiply(tokens[:-back], inside, out=contexts[back:, block_size - back])
    counts = count(contexts, tokens, len(vocabulary))
    return Split(tuple(lines), torch.from_numpy(contexts), torch.from_numpy(tokens), counts)


def count(contexts: NDArray[np.int64], targets: NDArray[np.int64], size: int) -> Counts:
    """Count how often each token follows each distinct context, these in lexicographic order;
    ``contexts`` (n, b), ``targets`` (n,), ``size`` V."""
    first, rows = distinct(contexts, size)
    rows *= size
    rows += targets
    pairs, numbers = tally(rows, len(first) * size)
    return Counts(
        torch.from_numpy(contexts[first]),
        torch.from_numpy(pairs // size),
        torch.from_numpy(pairs % size),
        torch.from_numpy(numbers.astype(np.float64)),
    )


def distinct(contexts: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (m,) a position of each distinct row, in lexicographic order of the rows, and (n,)
    which distinct row each row is."""
    n = len(contexts)
    rows, bound = np.zeros(n, dtype=np.int64), 1  # each key is below the bound
    for column in contexts.T:
        # while a table has a place for each key; then only where another factor would overflow
        if bound <= PLACES * n < bound * size or bound > np.iinfo(np.int64).max // size:
            rows, bound = ranks(rows, bound)
        rows *= size
        rows += column
        bound *= size
    rows, m = ranks(rows, bound)
    position = np.empty(m, dtype=np.int64)
    position[rows] = np.arange(n)  # of equal rows, any will do
    return position, rows


def ranks(keys: NDArray[np.int64], bound: int) -> tuple[NDArray[np.int64], int]:
    """Return (n,) the rank of each key among the distinct ones, and how many these are; all are
    from 0 to below ``bound``."""
    if bound > PLACES * len(keys):
        kinds, which = np.unique(keys, return_inverse=True)
        return which, len(kinds)
    table = np.zeros(bound, dtype=np.int64)
    table[keys] = 1
    np.cumsum(table, out=table)
    table -= 1
    return table[keys], int(table[-1]) + 1


def tally(keys: NDArray[np.int64], bound: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct keys in order, and how often each occurs; all are below ``bound``."""
    if bound > PLACES * len(keys):
        return np.unique(keys, return_counts=True)
    numbers = np.bincount(keys, minlength=bound)
    kinds = np.flatnonzero(numbers)
    return kinds, numbers[kinds]
