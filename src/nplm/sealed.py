"""The test lines and their evaluation.

Only ``evaluate_test.py`` may import this module, which a test of the imports enforces. It claims
the split before it calls ``load_test``. A call of ``hashed`` is not a look.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Set

import numpy as np
import numpy.typing as npt

from nplm.config import Data
from nplm.data import Split, encode
from nplm.estimates import Floats, bootstrap, line_sums, line_tokens
from nplm.kneser_ney import KneserNey
from nplm.lines import fingerprint as fingerprint_of
from nplm.lines import read_lines, split_lines
from nplm.losses import token_losses
from nplm.model import LanguageModel
from nplm.result import Beside, Estimate, TestResult
from nplm.vocabulary import Vocabulary, perplexity
from sweepmore.errors import DataError
from sweepmore.seal.overlap import Items, key_of


def hashed(data: Data, fingerprint: str) -> Items:
    """Return prefixes of hashes of the test lines, and nothing else of them, before the claim.

    The hashes identify the test lines under any settings. Raises DataError if the file no longer
    holds the split of that fingerprint.
    """
    lines = read_lines(data)
    if (actual := fingerprint_of(lines, data)) != fingerprint:
        cure = "Restore the file; nothing was claimed."
        raise DataError("The data changed before the claim.", value=actual, cure=cure)
    test = split_lines(lines, data)[2]
    times = Counter(map(_key, lines))
    return Items(frozenset(map(_key, test)), times, len(test) / len(lines))


def _key(line: str) -> str:
    """Return a key that lines share if they differ only in how they are written.

    That is in capitals, in the number of blanks between words, in invisible characters, or in how
    Unicode writes the same letter.
    """
    folded = unicodedata.normalize("NFC", _visible(line)).casefold()
    return key_of(" ".join(unicodedata.normalize("NFC", folded).split()))


# Characters that Unicode calls default-ignorable but does not count as format (Cf): fillers, and
# selectors of a letter's variant.
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U000e0000-\U000e0fff]"
)


def _visible(line: str) -> str:
    """Return a line without format and control characters, but with what separates its words.

    Such characters are zero-width spaces, soft hyphens and direction marks.
    """
    if line.isascii() and line.isprintable():
        return line
    kept = (c for c in line if c.isspace() or unicodedata.category(c) not in ("Cf", "Cc"))
    return _IGNORABLE.sub("", "".join(kept))


def load_test(data: Data, vocabulary: Vocabulary, block_size: int, claimed: str) -> Split:
    """Read the test lines of the split whose fingerprint the caller has ``claimed``.

    Contexts are ``block_size`` tokens long. Raises DataError if the file has changed since.
    """
    lines = read_lines(data)
    if (actual := fingerprint_of(lines, data)) != claimed:
        cure = "Restore the file, then finish the claim with complete=true."
        raise DataError("The data changed after the claim.", value=actual, cure=cure)
    return encode(split_lines(lines, data)[2], vocabulary, block_size)


def evaluate(
    model: LanguageModel,
    counting: KneserNey,
    order: int,
    test: Split,
    familiar: set[str],
    seed: int,
    beside: Mapping[str, LanguageModel] | None = None,
    chosen_on: Set[str] | None = None,
) -> TestResult:
    """Evaluate the model and counting on every token of ``test``, in nats per token.

    The contexts of ``test`` are as long as the model that needs the longest. ``familiar`` holds the
    lines of train and dev: ``unseen`` is the loss on all other lines. ``chosen_on`` holds the dev
    lines on which the settings were chosen: ``fresh`` leaves these out, too. ``beside`` are the
    models of other runs. The intervals resample lines, with ``seed``.
    """
    # sums over lines, because the tokens of a line are not independent of each other
    net = _nats(model, test)
    counts = line_sums(counting.losses(test.contexts.numpy(), test.targets.numpy()), test)
    tokens = line_tokens(test)
    unseen = np.array([line not in familiar for line in test.lines])
    fresh = unseen & np.array([line not in (chosen_on or ()) for line in test.lines])

    def estimated(nats: Floats, lines: npt.NDArray[np.bool_]) -> Estimate | None:
        return bootstrap(nats[lines], tokens[lines], seed) if lines.any() else None

    loss = bootstrap(net, tokens, seed)
    others = []
    for run, other in (beside or {}).items():
        nats = _nats(other, test)
        others.append(
            Beside(
                run=run,
                parameters=other.size,
                loss=bootstrap(nats, tokens, seed),
                unseen=estimated(nats, unseen),
                fresh=None if chosen_on is None else estimated(nats, fresh),
                difference=bootstrap(net - nats, tokens, seed),
            )
        )
    return TestResult(
        lines=len(test.lines),
        tokens=int(tokens.sum()),
        loss=loss,
        bits_per_token=loss.mean / float(np.log(2)),
        perplexity=perplexity(loss.mean),
        unseen_lines=int(unseen.sum()),
        unseen=estimated(net, unseen),
        counting=bootstrap(counts, tokens, seed),
        counting_order=order,
        difference=bootstrap(net - counts, tokens, seed),
        fresh_lines=None if chosen_on is None else int(fresh.sum()),
        fresh=None if chosen_on is None else estimated(net, fresh),
        beside=tuple(others),
    )


def _nats(model: LanguageModel, test: Split) -> Floats:
    """Return (lines,) the nats of each test line under a model."""
    contexts = test.contexts[:, -model.shape.block_size :]
    return line_sums(token_losses(model, contexts, test.targets).double().numpy(), test)
