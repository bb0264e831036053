"""The test lines and their evaluation.

Only ``evaluate_test.py`` may import this module, which a test of the imports enforces, and it
claims the split before it calls ``load_test``. Calling ``hashed`` is not a look.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import numpy as np

from nplm.config import Data
from nplm.data import Split, encode
from nplm.estimates import bootstrap, line_sums, line_tokens
from nplm.kneser_ney import KneserNey
from nplm.lines import fingerprint as fingerprint_of
from nplm.lines import read_lines, split_lines
from nplm.losses import token_losses
from nplm.model import LanguageModel
from nplm.result import TestResult
from nplm.vocabulary import Vocabulary, perplexity
from sweepmore.errors import DataError
from sweepmore.seal.overlap import Items, key_of


def hashed(data: Data, fingerprint: str) -> Items:
    """Prefixes of hashes and nothing else, before the claim: by them the test lines are known
    under any settings. DataError where the file no longer holds the split of that fingerprint."""
    lines = read_lines(data)
    if (found := fingerprint_of(lines, data)) != fingerprint:
        cure = "Restore the file; nothing was claimed."
        raise DataError("The data changed before the claim.", value=found, cure=cure)
    test = split_lines(lines, data)[2]
    times = Counter(map(_key, lines))
    return Items(frozenset(map(_key, test)), times, len(test) / len(lines))


def _key(line: str) -> str:
    """The same for lines that differ in capitals, in how many blanks part their words, in
    characters that nobody sees, or in how Unicode writes the same letters."""
    folded = unicodedata.normalize("NFC", _visible(line)).casefold()
    return key_of(" ".join(unicodedata.normalize("NFC", folded).split()))


# What Unicode calls default-ignorable and does not count as format (Cf): fillers, and selectors of
# a letter's variant.
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U000e0000-\U000e0fff]"
)


def _visible(line: str) -> str:
    """Without format and control characters (zero-width spaces, soft hyphens, marks of direction),
    but with what parts words."""
    if line.isascii() and line.isprintable():
        return line
    kept = (c for c in line if c.isspace() or unicodedata.category(c) not in ("Cf", "Cc"))
    return _IGNORABLE.sub("", "".join(kept))


def load_test(data: Data, vocabulary: Vocabulary, block_size: int, claimed: str) -> Split:
    """Read the test lines. Whoever calls this has claimed the split with that fingerprint;
    DataError where the file holds another one by now."""
    lines = read_lines(data)
    if (found := fingerprint_of(lines, data)) != claimed:
        cure = "Restore the file, then finish the claim with complete=true."
        raise DataError("The data changed after the claim.", value=found, cure=cure)
    return encode(split_lines(lines, data)[2], vocabulary, block_size)


def evaluate(
    model: LanguageModel, counting: KneserNey, order: int, test: Split, seen: set[str], seed: int
) -> TestResult:
    """The model and counting on every token of ``test``, whose contexts are as long as the longer
    of the two needs; ``seen`` are the lines of train and dev, ``seed`` is of the resampling."""
    contexts = test.contexts[:, -model.shape.block_size :]
    net = line_sums(token_losses(model, contexts, test.targets).double().numpy(), test)
    counts = line_sums(counting.losses(test.contexts.numpy(), test.targets.numpy()), test)
    tokens = line_tokens(test)
    unseen = np.array([line not in seen for line in test.lines])
    loss = bootstrap(net, tokens, seed)
    return TestResult(
        lines=len(test.lines),
        tokens=int(tokens.sum()),
        loss=loss,
        bits_per_token=loss.mean / float(np.log(2)),
        perplexity=perplexity(loss.mean),
        unseen_lines=int(unseen.sum()),
        unseen=bootstrap(net[unseen], tokens[unseen], seed) if unseen.any() else None,
        counting=bootstrap(counts, tokens, seed),
        counting_order=order,
        difference=bootstrap(net - counts, tokens, seed),
    )
