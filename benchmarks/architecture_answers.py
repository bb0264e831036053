"""What the searches of sweeps/architectures found, compared within a size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from sweepmore.confirm.winner import Candidate, Row, confirm

ARCHITECTURES = ("mlp", "wavenet", "gru", "transformer")


@dataclass(frozen=True)
class Trial:
    """A trial of a search: what it took in seconds, and its dev loss, None if it has none."""

    number: int
    state: str
    seconds: float
    loss: float | None
    settings: str


@dataclass(frozen=True)
class Answer:
    """A search, and its best trial confirmed by fresh seeds. Losses in nats per token."""

    architecture: str
    size: str
    trials: tuple[Trial, ...]
    settings: str  # of the best
    parameters: int
    training: float  # seconds, of the last seed
    seeds: tuple[int, ...]
    values: tuple[float, ...]  # the dev loss of each seed; infinite where it diverged
    measured: str  # when, with which commit, on which machine

    @property
    def name(self) -> str:
        return f"{self.architecture}-{self.size}"

    @property
    def searched(self) -> float:
        """The seconds of the search."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def searched_before(self) -> float:
        """The seconds of the search before its last trial, which are less than its budget."""
        return sum(trial.seconds for trial in self.trials[:-1])

    def best_so_far(self) -> Iterator[tuple[float, float]]:
        """Yield the seconds at each trial's end and the lowest loss by then; inf before any."""
        ends = accumulate(trial.seconds for trial in self.trials)
        losses = (t.loss if t.state == "COMPLETE" else None for t in self.trials)
        return zip(ends, accumulate((float("inf") if v is None else v for v in losses), min))


def compared(answers: Sequence[Answer]) -> list[tuple[Answer, Row]]:
    """Return the answers with their rows, best mean first: differences are paired by seed, and
    their interval allows for all pairs (Tukey)."""
    if not answers:
        return []
    candidates = [
        Candidate(number, {}, float("nan"), answer.values, (answer.parameters, 0.0))
        for number, answer in enumerate(answers)
    ]
    return [(answers[row.candidate.root], row) for row in confirm(candidates).rows]


@dataclass(frozen=True)
class Missing:
    """A search of which nothing can be reported, and the ``reason``."""

    architecture: str
    size: str
    reason: str


def verdict(answers: Sequence[Answer]) -> str:
    """Say who is best at one size, and who is tied with it; or why nobody is named."""
    if missing := sorted({*ARCHITECTURES} - {answer.architecture for answer in answers}):
        return f"No verdict while any is missing: {', '.join(missing)}."
    least = min(answer.searched for answer in answers)
    if least <= max(answer.searched_before for answer in answers):
        most = max(answer.searched for answer in answers)
        return f"No verdict: their searches had from {least:,.0f} to {most:,.0f} s."
    (best, _), *others = compared(answers)
    tied = [answer.architecture for answer, row in others if row.tied]
    beside = f"; tied with it: {', '.join(tied)}" if tied else ", and is better than the others"
    return f"At {best.size} parameters {best.architecture} has the lowest mean{beside}."


T = TypeVar("T", bound=Answer | Missing)


def by_size(searches: Sequence[T]) -> Mapping[str, list[T]]:
    """Return the searches of each size, the smallest first."""
    sizes = dict.fromkeys(sorted((s.size for s in searches), key=lambda s: int(s.rstrip("k"))))
    return {size: [s for s in searches if s.size == size] for size in sizes}
