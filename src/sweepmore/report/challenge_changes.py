"""What a challenge changes, against the champion that it met: settings, other words, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepmore.compose.overrides import override_text
from sweepmore.study.attributes import Winner
from sweepmore.study.campaigns import Challenge
from sweepmore.wording import last_parts

# Files that are named in a table.
_NAMED = 4


@dataclass(frozen=True)
class Change:
    """Settings by their key, keys that the champion sets and this does not, words that are new."""

    settings: Mapping[str, str]
    without: Sequence[str]
    words: Sequence[str]
    files: Sequence[str]

    def told(self, width: int) -> str:
        """The change in full, its words cut after ``width`` characters."""
        parts = [*self.words, *(f"{key}={value}" for key, value in self.settings.items()),
                 *(f"without {key}" for key in self.without)]  # fmt: skip
        more = ["…"] if len(self.files) > _NAMED else []
        files = ", ".join([*self.files[:_NAMED], *more])
        told = " · ".join(part for part in (_cut(" ".join(parts), width), files) if part)
        return told or "nothing: the champion's command and code"

    def brief(self, width: int) -> str:
        """The change in a few words: settings by the last part of their names, else files."""
        settings = [f"{name}={value}" for name, value in last_parts(self.settings).items()]
        names = [Path(name).name for name in self.files]
        without = [f"no {name}" for name in self.without]
        return _cut(" ".join([*self.words, *settings] or names or without), width)


def changes(
    challenges: Sequence[Challenge], command: Mapping[str, Any], winner: Winner
) -> dict[int, Change]:
    """What each challenge changes; ``command`` is the study's, whose winner is champion 0."""
    fixed = [
        *command.get("fixed", ()),
        *(f"{k}={override_text(v)}" for k, v in winner.params.items()),
    ]
    commands = {0: [*command["script"], *command.get("flags", ()), *fixed]}
    commands |= {each.number: [*each.words] for each in challenges}
    return {
        each.number: _change(each, commands[each.number], commands[each.champion])
        for each in challenges
    }


def _change(challenge: Challenge, words: Sequence[str], champions: Sequence[str]) -> Change:
    mine, theirs = _settings(words), _settings(champions)
    settings = {key: value for key, value in mine.items() if not _same(value, theirs.get(key))}
    without = [key for key in theirs if key not in mine]
    known = {Path(word).name for word in champions}
    others = [word for word in _others(words) if Path(word).name not in known]
    return Change(settings, without, others, challenge.changed)


def _settings(words: Sequence[str]) -> dict[str, str]:
    """The overrides of a command, without their pluses."""
    parts = [word.lstrip("+").partition("=") for word in words if _is_setting(word)]
    return {key: value for key, _, value in parts}


def _others(words: Sequence[str]) -> list[str]:
    """The words that are no overrides, without the interpreter."""
    others = [word for word in words if not _is_setting(word)]
    return others[1:] if others and Path(others[0]).name.startswith("python") else others


def _is_setting(word: str) -> bool:
    return "=" in word and not word.startswith("-")


def _same(value: str, other: str | None) -> bool:
    """Whether two values are the same, as text or as numbers: ``1`` is ``1.0``."""
    if other is None or value == other:
        return value == other
    try:
        return float(value) == float(other)
    except ValueError:
        return False


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
