"""A campaign: all challenges against one line of champions, as its study keeps them.

The line begins with the confirmed winner of a study, champion 0. A challenge that is kept makes the
next champion, which has the challenge's number. The records lie with the study; the runs of a
challenge are a study of their own, ``STUDY.challenge-7``, and so are the fresh runs of the champion
that it met, ``STUDY.champion-0``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import optuna

from sweepmore.statistics.intervals import Interval
from sweepmore.statistics.sequential import Rules, Verdict
from sweepmore.study.attributes import store, stored
from sweepmore.study.terms import Terms

# The keys of the records in a study.
_CAMPAIGN, _CHALLENGE = "campaign", re.compile(r"challenge-([0-9]+)")


@dataclass(frozen=True)
class Campaign:
    """What a campaign declares when it begins; it never changes."""

    horizon: int  # challenges that share its error
    cap: int  # most seeds of a challenge
    alpha: float  # probability that a campaign of changes that change nothing keeps any
    seed_key: str  # the application's setting that holds the seed
    used: tuple[int, ...]  # seeds that the study and its confirmation have run with
    terms: Terms
    evaluators: Mapping[str, str]  # files that decide what a value means → sha256
    begun: str  # UTC

    @property
    def rules(self) -> Rules:
        """The rules by which it decides."""
        return Rules(self.horizon, self.cap, self.alpha)

    @classmethod
    def of(cls, study: optuna.Study) -> Self | None:
        """The campaign of a study; None where none has begun."""
        kept = stored(study).get(_CAMPAIGN)
        if kept is None:
            return None
        return cls(**{**kept, "used": tuple(kept["used"]), "terms": Terms(**kept["terms"])})

    def write(self, study: optuna.Study) -> None:
        """Keep the campaign with its study."""
        store(study, **{_CAMPAIGN: asdict(self)})


@dataclass(frozen=True)
class Challenge:
    """A challenge, from its beginning on; ``verdict`` is None until it is decided.

    ``values`` and ``champion_values`` are those that decided, by ``seeds``. ``gain`` is the mean
    difference, above zero where the challenger is better, and ``half`` half the width of its 95 %
    interval. ``runs`` and ``spent`` count what was trained for it, the champion's runs included.
    """

    number: int
    champion: int  # the number of the challenge that made it; 0: the confirmed winner
    words: tuple[str, ...]  # the command, as it was typed
    folder: str  # where, relative to the application's root
    code: str  # a hash of the application's code and config files
    changed: tuple[str, ...]  # files that differ from the champion's
    begun: str  # UTC
    verdict: Verdict | None = None
    reason: str = ""
    seeds: tuple[int, ...] = ()
    champion_values: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    gain: float | None = None
    half: float | None = None
    seconds: float | None = None  # of one run of the challenger, median
    champion_seconds: float | None = None
    runs: int = 0
    champion_runs: int = 0  # of them
    spent: float = 0.0  # seconds
    ended: str | None = None  # UTC

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Self:
        """The record from JSON; keys of a later version are left out."""
        names = {each.name for each in fields(cls)}
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in kept.items() if k in names
        }
        return cls(**plain)

    def write(self, study: optuna.Study) -> None:
        """Keep the challenge with the study whose campaign it belongs to."""
        store(study, **{f"challenge-{self.number}": asdict(self)})

    def erase(self, study: optuna.Study) -> None:
        """Remove the record: nothing has been trained for it."""
        store(study, **{f"challenge-{self.number}": None})

    @property
    def interval(self) -> Interval | None:
        """The gain with its interval; None where fewer than two pairs of runs tell of it."""
        if self.gain is None or self.half is None:
            return None
        return Interval(self.gain, self.half)

    def is_same(self, other: Challenge, champion: int) -> bool:
        """Whether both run the same command with the same code, against the same ``champion``.

        The challenge that made the champion counts, too.
        """
        same = all(getattr(self, k) == getattr(other, k) for k in ("words", "folder", "code"))
        return same and champion in (self.champion, self.number)


def challenges_of(study: optuna.Study) -> list[Challenge]:
    """The challenges of a study's campaign, in order."""
    kept = [value for key, value in stored(study).items() if _CHALLENGE.fullmatch(key) and value]
    return sorted(map(Challenge.read, kept), key=lambda challenge: challenge.number)


def champions_of(challenges: Sequence[Challenge]) -> list[int]:
    """The numbers of the line of champions, the first of which is the confirmed winner, 0."""
    return [0, *(each.number for each in challenges if each.verdict == "keep")]


def campaign_folder(study_folder: Path) -> Path:
    """The folder in a study's that holds the code and logs of its campaign."""
    return study_folder / "campaign"
