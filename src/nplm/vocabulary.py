"""How a line becomes tokens and tokens become a line again: as characters or as words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweepmore.errors import DataError

Ints = NDArray[np.int64]

# exp of this is about the largest float
MOST_NATS = 709.0


def perplexity(loss: float) -> float:
    """Of how many equally likely tokens the loss, in nats, would be; infinite where no float is
    as large."""
    return math.exp(loss) if loss < MOST_NATS else math.inf


@dataclass(frozen=True)
class Unit:
    """What a token is. ``boundary`` is token 0, ``joint`` stands between the tokens of a line.

    A token that is not in the vocabulary becomes ``unknown``; where that is empty it is refused.
    """

    name: str
    boundary: str
    joint: str
    unknown: str
    lower: bool = False  # capital letters become small ones

    @property
    def of_words(self) -> bool:
        return self.name == "word"

    def clean(self, line: str) -> str:
        """The line as its tokens spell it: words apart by one blank each."""
        line = line.lower() if self.lower else line
        return self.joint.join(line.split()) if self.of_words else line

    def split(self, line: str) -> Sequence[str]:
        line = self.clean(line)
        return line.split() if self.of_words else line

    def told(self, loss: float) -> str:
        """What stands behind a loss: of words its perplexity, as the paper has it."""
        return f" (perplexity {perplexity(loss):.1f})" if self.of_words else ""


CHARACTERS = Unit("char", boundary=".", joint="", unknown="")
WORDS = Unit("word", boundary="<s>", joint=" ", unknown="<unk>")
UNITS = {unit.name: unit for unit in (CHARACTERS, WORDS)}


def unit_of(name: str = "char", lower: bool = False) -> Unit:
    return replace(UNITS[name], lower=lower)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by index; index 0 is the boundary. Characters are sorted by code point, words by how
    often train has them, the most frequent first."""

    tokens: tuple[str, ...]
    unit: Unit = CHARACTERS

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Indices of the tokens of ``text``; DataError names the boundary, and a token that is
        unknown where the unit has none for it."""
        index, tokens = self._index(), self.unit.split(text)
        if self.unit.boundary in tokens:
            raise DataError(
                f"{self.unit.boundary!r} in {text!r} is the boundary between lines.",
                value=text,
                cure="Give the tokens of one line; it stands before and behind them by itself.",
            )
        unknown = self.unknown(text)
        if unknown and self.unit.unknown not in index:
            raise DataError(
                f"{unknown[0]!r} in {text!r} is not in the vocabulary.",
                value=unknown[0],
                cure=f"Known: {' '.join(self.tokens)}",
            )
        return [index[token if token in index else self.unit.unknown] for token in tokens]

    def unknown(self, text: str) -> list[str]:
        """The tokens of ``text`` that are not here, each once, as they come."""
        known = set(self.tokens)
        return [token for token in dict.fromkeys(self.unit.split(text)) if token not in known]

    def stream(self, lines: Sequence[str]) -> Ints:
        """(n,) the tokens of all lines one after another, a 0 after each. All are known."""
        if not self.unit.of_words:
            return self._characters(lines)
        index = self._index()
        unknown = index[self.unit.unknown]
        found = (
            index.get(token, unknown)
            for line in lines
            for token in (*self.unit.split(line), self.unit.boundary)
        )
        return np.fromiter(found, dtype=np.int64)

    def text(self, indices: Iterable[int]) -> str:
        """The tokens of these indices, as they stand in a line."""
        return self.unit.joint.join(self.tokens[i] for i in indices)

    def spelt(self, lines: Iterable[str]) -> set[str]:
        """The lines as samples would spell them: words that are unknown as the token for them."""
        if not self.unit.of_words:
            return set(lines)
        known, unknown = set(self.tokens), self.unit.unknown
        split = map(self.unit.split, lines)
        return {
            self.unit.joint.join(token if token in known else unknown for token in tokens)
            for tokens in split
        }

    def _index(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def _characters(self, lines: Sequence[str]) -> Ints:
        """One pass over the joined text, tens of times faster than a loop over characters."""
        boundary = self.unit.boundary
        points = _code_points(boundary.join(lines) + boundary)
        order = np.array([ord(token) for token in self.tokens[1:]], dtype=np.uint32)
        tokens = np.searchsorted(order, points) + 1
        tokens[points == ord(boundary)] = 0
        return tokens


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def vocabulary_of(
    lines: Sequence[str], origin: Path, unit: Unit = CHARACTERS, min_count: int = 1
) -> Vocabulary:
    """The tokens of ``lines``: the whole file's characters, test lines too (what may be predicted
    is not what is), or train's words. Words that ``lines`` have fewer than ``min_count`` times are
    left to the unknown token, which is always there."""
    if not any(lines):
        raise DataError(f"{origin} has no characters.", value=str(origin), cure="Give lines.")
    if not unit.of_words:
        return Vocabulary((unit.boundary, *sorted(set().union(*map(unit.split, lines)))), unit)
    numbers = Counter(token for line in lines for token in unit.split(line))
    words = {token: number for token, number in numbers.items() if token != unit.unknown}
    if not words:
        problem = f"The train lines of {origin} have no word but {unit.unknown}."
        raise DataError(problem, value=str(origin), cure="Give lines of words.")
    kept = {token: number for token, number in words.items() if number >= min_count}
    if not kept:
        raise DataError(
            f"No word stands {min_count} times in the train lines of {origin}.",
            value=min_count,
            cure="Give more lines or a smaller data.min_count.",
        )
    kept[unit.unknown] = numbers.total() - sum(kept.values())
    return Vocabulary((unit.boundary, *sorted(kept, key=lambda t: (-kept[t], t))), unit)
