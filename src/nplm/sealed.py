"""The test lines and their evaluation. Only ``evaluate_test.py`` may import this module, and it
claims the split before it calls ``load_test``; a test of the imports enforces the first half.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nplm.baselines import KneserNey
from nplm.config import Data
from nplm.data import Split, Vocabulary, encode, fingerprint, read_lines, split_lines
from nplm.losses import token_losses
from nplm.model import MLP
from sweepmore.errors import DataError

# 10,000 resamples put the ends of a 95 % interval within about 1 % of its width (Efron &
# Tibshirani 1993 ask for 1,000 or more).
RESAMPLES = 10_000
COVERED = (2.5, 97.5)
# Lines drawn at once: 16 MB of float64 for sums and as much for tokens (guess).
CHUNK = 2**21

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over tokens with its 95 % bootstrap interval over lines."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class TestResult:
    """Losses in nats per token; ``unseen`` over the lines that stand in neither train nor dev,
    ``difference`` is the net's loss less counting's, on the same tokens."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    lines: int
    tokens: int
    loss: Estimate
    bits_per_token: float
    perplexity: float
    unseen_lines: int
    unseen: Estimate | None
    counting: Estimate
    counting_order: int
    difference: Estimate

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def load_test(data: Data, vocabulary: Vocabulary, block_size: int, claimed: str) -> Split:
    """Read the test lines. Whoever calls this has claimed the split with that fingerprint;
    DataError where the file holds another one by now."""
    lines = read_lines(data)
    if (found := fingerprint(lines, data)) != claimed:
        cure = "Restore the file, then finish the claim with complete=true."
        raise DataError("The data changed after the claim.", value=found, cure=cure)
    return encode(split_lines(lines, data)[2], vocabulary, block_size)


def evaluate(
    model: MLP, counting: KneserNey, order: int, test: Split, seen: set[str], seed: int
) -> TestResult:
    """The model and counting on every token of ``test``, whose contexts are as long as the longer
    of the two needs; ``seen`` are the lines of train and dev, ``seed`` is of the resampling."""
    contexts = test.contexts[:, -model.shape.block_size :]
    net = line_sums(token_losses(model, contexts, test.targets).double().numpy(), test)
    counts = line_sums(counting.losses(test.contexts.numpy(), test.targets.numpy()), test)
    tokens = np.array([len(line) + 1.0 for line in test.lines])
    unseen = np.array([line not in seen for line in test.lines])
    loss = bootstrap(net, tokens, seed)
    return TestResult(
        lines=len(test.lines),
        tokens=int(tokens.sum()),
        loss=loss,
        bits_per_token=loss.mean / float(np.log(2)),
        perplexity=float(np.exp(loss.mean)),
        unseen_lines=int(unseen.sum()),
        unseen=bootstrap(net[unseen], tokens[unseen], seed) if unseen.any() else None,
        counting=bootstrap(counts, tokens, seed),
        counting_order=order,
        difference=bootstrap(net - counts, tokens, seed),
    )


def line_sums(nats: Floats, split: Split) -> Floats:
    """(lines,) nats of each line, from those of its tokens in order."""
    ends = np.flatnonzero((split.targets == 0).numpy())
    sums: Floats = np.diff(np.concatenate([[0.0], np.cumsum(nats)[ends]]))
    return sums


def bootstrap(sums: Floats, tokens: Floats, seed: int) -> Estimate:
    """Sum over sum, with a percentile interval over resampled lines: the tokens of a line depend
    on each other, lines do not."""
    generator, n = np.random.default_rng(seed), len(sums)
    ratios = []
    for rows in _chunks(RESAMPLES, max(1, CHUNK // n)):
        drawn = generator.integers(0, n, (rows, n))
        ratios.append(sums[drawn].sum(1) / tokens[drawn].sum(1))
    low, high = np.percentile(np.concatenate(ratios), COVERED)
    return Estimate(float(sums.sum() / tokens.sum()), float(low), float(high))


def _chunks(total: int, most: int) -> list[int]:
    return [min(most, total - begin) for begin in range(0, total, most)]
