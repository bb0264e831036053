"""Lines to examples: the lecture's double loop, and nplm's ``encode`` on the same lines.

``python -m benchmarks.encode``
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.common import Comparison, lecture_data, measure, text
from nplm.data import encode, load_splits

BLOCK_SIZE = 3
PAIRS = 15
MILLISECONDS = 1e3


def build_dataset(words: Sequence[str], stoi: dict[str, int]) -> tuple[Tensor, Tensor]:
    """The notebook's function, its names too."""
    X, Y = [], []
    for w in words:
        context = [0] * BLOCK_SIZE
        for ch in w + ".":
            ix = stoi[ch]
            X.append(context)
            Y.append(ix)
            context = context[1:] + [ix]  # noqa: RUF005 -- as the lecture writes it
    return torch.tensor(X), torch.tensor(Y)


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * MILLISECONDS


def compare() -> Comparison:
    splits = load_splits(lecture_data(), BLOCK_SIZE)
    parts = [splits.train.lines, splits.dev.lines]
    stoi = {token: i for i, token in enumerate(splits.vocabulary.tokens)}
    for lines in parts:
        X, Y = build_dataset(lines, stoi)
        split = encode(lines, splits.vocabulary, BLOCK_SIZE)
        assert torch.equal(split.contexts, X)
        assert torch.equal(split.targets, Y)
    torch.set_num_threads(1)
    mine, theirs = measure(
        lambda: milliseconds(
            lambda: [encode(lines, splits.vocabulary, BLOCK_SIZE) for lines in parts]
        ),
        lambda: milliseconds(lambda: [build_dataset(lines, stoi) for lines in parts]),
        PAIRS,
    )
    examples = len(splits.train) + len(splits.dev)
    work = f"train and dev lines of {splits.name} to {examples:,} examples at block 3, equal bits"
    return Comparison("encoding, against the lecture's loop", work, "ms", mine, theirs)


if __name__ == "__main__":
    print(text(compare()))
