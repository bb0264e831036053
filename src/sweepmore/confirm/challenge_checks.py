"""What a challenge is refused for, and what it cannot go on without: each message has its cure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from sweepmore.compose.overrides import read_overrides
from sweepmore.confirm.campaign import Ground, evaluators_in
from sweepmore.confirm.seeded import Seeded
from sweepmore.confirm.snapshot import Snapshot, leads_out
from sweepmore.errors import ConfigError, StudyError
from sweepmore.runs.names import CHALLENGE
from sweepmore.study.application import Application
from sweepmore.study.campaigns import Campaign, challenges_of, champions_of
from sweepmore.study.parts import application_of
from sweepmore.sweep.processes import is_override
from sweepmore.wording import plural, shown_path

# What may follow Python's own -m.
_MODULE = re.compile(r"[^\W\d][\w.]*")


@dataclass(frozen=True)
class Request:
    """What the user of ``sweepmore challenge`` asks for.

    ``horizon`` and ``cap`` are None where the campaign's own, or the defaults, are meant.
    """

    champion: str  # a study, or the challenge that made its champion
    words: tuple[str, ...]  # the challenger's command; none: only begin, or show
    folder: Path  # where it was typed
    horizon: int | None = None
    cap: int | None = None


def check_words(request: Request, root: Path) -> None:
    """Raise ConfigError where the command is no single run that can be repeated."""
    words = request.words
    if not words:
        return
    if not request.folder.is_relative_to(root):
        problem = f"The study was started in {root}, and this command in {request.folder}."
        cure = f"Go there first: cd {root}"
        raise ConfigError(problem, value=str(request.folder), cure=cure)
    for word in words:
        value = word.rpartition("=")[2]
        if leads_out(value, request.folder, root):
            problem = (
                f"{word} is relative to this folder, and both sides run in copies of the code."
            )
            cure = f"Give the absolute path: {(request.folder / value).resolve()}"
            raise ConfigError(problem, value=word, cure=cure)
    if _is_sweep(words):
        cure = "Give the command of one run, as you would type it, without -m."
        raise ConfigError("A challenge is one configuration, not a sweep.", value=words, cure=cure)
    for override in read_overrides([word for word in words if is_override(word)], {}):
        if override.is_sweep_override():
            problem = f"{override.input_line} names several values."
            cure = "A challenge is one configuration: give one value."
            raise ConfigError(problem, value=override.input_line, cure=cure)


def check_seed(words: Sequence[str], seed_key: str) -> None:
    """Raise ConfigError where the command chooses the seed: a better seed is no better model."""
    for word in words:
        if word.lstrip("+").partition("=")[0] == seed_key:
            problem = f"{word} chooses the seed."
            cure = "Leave it out: the campaign draws the seeds, the same for both sides."
            raise ConfigError(problem, value=word, cure=cure)


def _is_sweep(words: Sequence[str]) -> bool:
    """Whether the words ask Hydra for a sweep; the -m before a module's name is Python's."""
    following = [*words[1:], ""]
    return any(
        word == "--multirun"
        or (word == "-m" and not _MODULE.fullmatch(after))
        or word.lstrip("+~").startswith(("hydra.sweeper", "hydra/sweeper"))
        for word, after in zip(words, following, strict=True)
    )


def check_champion(searched: optuna.Study, named: str) -> None:
    """Raise StudyError where a challenge is named that did not make the present champion."""
    _, mark, number = named.rpartition(CHALLENGE)
    champion = champions_of(challenges_of(searched))[-1]
    if mark and number != str(champion):
        present = f"challenge {champion}" if champion else "the confirmed winner"
        cure = f"Challenge it by the study's name: sweepmore challenge {searched.study_name} -- …"
        problem = f"{named} is not the champion: {present} is."
        raise StudyError(problem, value=named, cure=cure)


def refuse_other_rules(campaign: Campaign, request: Request) -> None:
    """Raise StudyError where the campaign has declared another horizon or cap."""
    for name in ("horizon", "cap"):
        given, declared = getattr(request, name), getattr(campaign, name)
        if given not in (None, declared):
            problem = f"The campaign has declared {name} {declared}, not {given}."
            cure = f"Leave --{name} out: choosing again after a look is what it guards against."
            raise StudyError(problem, value=given, cure=cure)


def refuse_linked(snapshot: Snapshot, folder: Path) -> None:
    """Raise ConfigError where the command's folder is not copied, such as a nested worktree's."""
    if not snapshot.place(folder).resolve().is_relative_to(snapshot.folder.resolve()):
        problem = f"{folder} is not part of the code in {snapshot.root}."
        cure = f"Challenge where the study was started: cd {snapshot.root}"
        raise ConfigError(problem, value=str(folder), cure=cure)


def refuse_other_evaluators(ground: Ground, campaign: Campaign, number: int) -> None:
    """Raise StudyError where files that decide what a value means are not the champion's."""
    application = application_of(ground.searched) or Application()
    present = evaluators_in(ground.snapshot(number), application)
    other = [name for name, sha in campaign.evaluators.items() if present.get(name) != sha]
    if other:
        raise StudyError(
            f"The challenger changes what a value means: {', '.join(other)}.",
            value=other,
            cure="Undo these changes. Values of another evaluator need a campaign of their own.",
        )


def missing(seeded: Seeded, count: int) -> StudyError:
    """The error for a command that ended well without all of its runs."""
    problem = f"{seeded.name} ended well, but without a value for each of {plural(count, 'seed')}."
    cure = f"Its output is in {shown_path(seeded.log)}. The same command continues."
    return StudyError(problem, value=count, cure=cure)


def spent(searched: optuna.Study, campaign: Campaign) -> StudyError:
    """The error for a campaign whose horizon is reached."""
    number = plural(campaign.horizon, "challenge")
    cure = "Confirm what it kept in a study of its own, and begin a campaign against that."
    problem = f"The campaign of {searched.study_name} has had its {number}."
    return StudyError(problem, value=campaign.horizon, cure=cure)


def lost(searched: optuna.Study, champion: int) -> StudyError:
    """The error for a champion whose code was removed from the outputs."""
    problem = f"The code of champion {champion} of {searched.study_name} is gone."
    cure = "It lay in the study's folder. Confirm the champion in a study of its own."
    return StudyError(problem, value=champion, cure=cure)
