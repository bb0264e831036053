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
    """Return the number of equally likely tokens that has this loss (nats per token); infinite
    where no float is as large."""
    return math.exp(loss) if loss < MOST_NATS else math.inf


@dataclass(frozen=True)
class Unit:
    """What a token is. ``boundary`` is token 0, ``joint`` separates the tokens of a line.

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
        """Return the line as its tokens spell it, with one blank between words."""
        line = line.lower() if self.lower else line
        return self.joint.join(line.split()) if self.of_words else line

    def split(self, line: str) -> Sequence[str]:
        """Return the tokens of the line, without a boundary."""
        line = self.clean(line)
        return line.split() if self.of_words else line

    def loss_note(self, loss: float) -> str:
        """Return what follows a loss (nats per token) in print: the perplexity of words, as in
        Bengio et al. (2003), and nothing for characters."""
        return f" (perplexity {perplexity(loss):.1f})" if self.of_words else ""


CHARACTERS = Unit("char", boundary=".", joint="", unknown="")
WORDS = Unit("word", boundary="<s>", joint=" ", unknown="<unk>")
UNITS = {unit.name: unit for unit in (CHARACTERS, WORDS)}


def unit_of(name: str = "char", lower: bool = False) -> Unit:
    """Return the unit that ``data.unit`` names."""
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
        """Return the indices of the tokens of ``text``.

        Raises DataError for a boundary in the text, and for an unknown token where the unit has
        no token to put in its place.
        """
        index, tokens = self._index(), self.unit.split(text)
        if self.unit.boundary in tokens:
            raise DataError(
                f"{self.unit.boundary!r} in {text!r} is the boundary between lines.",
                value=text,
                cure="Give the tokens of one line without it; it is added at both ends.",
            )
        unknown = self.unknown(text)
        if unknown and self.unit.unknown not in index:
            raise DataError(
                f"{unknown[0]!r} in {text!r} is not in the vocabulary.",
                value=unknown[0],
                cure=f"Use these tokens only: {' '.join(self.tokens)}",
            )
        return [index[token if token in index else self.unit.unknown] for token in tokens]

    def unknown(self, text: str) -> list[str]:
        """Return the tokens of ``text`` that are not in the vocabulary, each once, in order."""
        vocabulary = set(self.tokens)
        return [token for token in dict.fromkeys(self.unit.split(text)) if token not in vocabulary]

    def stream(self, lines: Sequence[str]) -> Ints:
        """Return (n,) int64: the tokens of all lines in order, with a 0 at the end of each line.

        Characters must all be in the vocabulary; other words become the unknown token.
        """
        if not self.unit.of_words:
            return self._characters(lines)
        index = self._index()
        unknown = index[self.unit.unknown]
        indices = (
            index.get(token, unknown)
            for line in lines
            for token in (*self.unit.split(line), self.unit.boundary)
        )
        return np.fromiter(indices, dtype=np.int64)

    def text(self, indices: Iterable[int]) -> str:
        """Return the tokens of these indices, joined as in a line."""
        return self.unit.joint.join(self.tokens[i] for i in indices)

    def spelt(self, lines: Iterable[str]) -> set[str]:
        """Return the lines as samples would spell them, with the unknown token for other words."""
        if not self.unit.of_words:
            return set(lines)
        vocabulary, unknown = set(self.tokens), self.unit.unknown
        split = map(self.unit.split, lines)
        return {
            self.unit.joint.join(token if token in vocabulary else unknown for token in tokens)
            for tokens in split
        }

    def _index(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def _characters(self, lines: Sequence[str]) -> Ints:
        """One pass over the joined text, tens of times faster than a loop over characters."""
        boundary = self.unit.boundary
        points = _code_points(boundary.join(lines) + boundary)
        letters = [ord(token) for token in self.tokens]
        table = np.zeros(max(letters) + 1, dtype=np.int64)
        table[letters] = range(len(letters))
        return table[points]


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def vocabulary_of(
    lines: Sequence[str], origin: Path, unit: Unit = CHARACTERS, min_count: int = 1
) -> Vocabulary:
    """Return the vocabulary of ``lines``, which come from the file ``origin``.

    For characters, give the lines of the whole file, test lines too: which tokens may be predicted
    says nothing about which ones are. For words, give the lines of train. Words with fewer than
    ``min_count`` occurrences become the unknown token, which is always in the vocabulary. Raises
    DataError where no token is left.
    """
    if not any(lines):
        raise DataError(
            f"{origin} has no characters.", value=str(origin), cure="Give lines of text."
        )
    if not unit.of_words:
        return Vocabulary((unit.boundary, *sorted(set().union(*map(unit.split, lines)))), unit)
    numbers = Counter(token for line in lines for token in unit.split(line))
    words = {token: number for token, number in numbers.items() if token != unit.unknown}
    if not words:
        problem = f"The train lines of {origin} contain no word but {unit.unknown}."
        raise DataError(problem, value=str(origin), cure="Give lines with other words.")
    frequent = {token: number for token, number in words.items() if number >= min_count}
    if not frequent:
        raise DataError(
            f"No word appears {min_count} times in the train lines of {origin}.",
            value=min_count,
            cure="Give more lines or a smaller data.min_count.",
        )
    frequent[unit.unknown] = numbers.total() - sum(frequent.values())
    return Vocabulary((unit.boundary, *sorted(frequent, key=lambda t: (-frequent[t], t))), unit)
