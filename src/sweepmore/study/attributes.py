"""What sweepmore keeps with a study and with its trials: the schema of their attributes.

Optuna keeps attributes as JSON under keys. Each kind is a frozen record here, whose fields are the
keys; no other module spells them. A record is written without the fields that are None, so that a
record of one part only (how a trial ended) leaves the rest as it was.

A study's are among Optuna's system attributes. Its user attributes are a table on the dashboard's
first page, which is for people: ``sweep.note`` writes those.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import optuna

from sweepmore.storage.optuna_internals import storage_of, study_id
from sweepmore.study.application import Application

# It is incremented when a key changes its meaning; a study older than versions has 0.
VERSION = 1
# What the keys of our system attributes begin with; other programs keep theirs beside them.
OURS = "sweepmore:"
# How a trial ended, beside Optuna's state.
Reason = Literal["exception", "out_of_memory", "died", "handed_back", "void"]


@dataclass(frozen=True)
class TrialAttributes:
    """A trial's attributes.

    ``slot`` is its place in the budget, None where another program planned the trial.
    """

    slot: int | None = None
    root: int | None = None  # number of its first attempt; None: this is the first
    attempt: int | None = None  # how many came before it
    deaths: int | None = None  # how many of these ended with their worker
    retry_of: int | None = None  # number of the attempt before
    owner: Mapping[str, Any] | None = None  # the worker, see process.identity
    lease: float | None = None  # when it claimed the trial or last said that it lives, Unix time
    placed: Mapping[str, Any] | None = None  # the worker's share, see process.placement
    crew: str | None = None  # the launcher's jobs to which its worker belongs, see study.crews
    alone: bool | None = None  # it has its GPU for itself; the attempt before ran out of memory
    folder: Path | None = None
    subdir: str | None = None  # hydra.sweep.subdir, where trials lie in hydra.sweep.dir
    code: str | None = None  # hash of the application's files
    status: str | None = None  # ok, diverged, pruned or error
    reason: Reason | None = None
    error: str | None = None
    traceback: str | None = None
    no_objective: bool | None = None  # the task gave something else than a number
    repeats: tuple[float | None, ...] | None = None  # the first objective of each; None: not finite
    std: float | None = None  # standard deviation of these
    result: Mapping[str, Any] | None = None  # what the application keeps with a trial

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """The record from what Optuna keeps; keys of other programs are left out."""
        kinds = {"folder": Path, "repeats": tuple}
        return _read(cls, stored, **kinds)

    def written(self) -> dict[str, Any]:
        """The attributes to store, by key."""
        return _json(self)


@dataclass(frozen=True)
class Budget:
    """What a study was last asked for.

    The number of trials; ``grid``: every point once; the number of workers, 1 where an older
    version did not store it.
    """

    n_trials: int
    grid: bool
    n_jobs: int = 1


@dataclass(frozen=True)
class SweepDir:
    """``hydra.sweep.dir``, where the trials lie there.

    As it is written in the config, and as the study's first parent resolved it.
    """

    written: str
    resolved: str


@dataclass(frozen=True)
class WinnerRow:
    """A confirmed configuration.

    ``trial`` is its number in the search and ``searched`` its value there; ``mean`` is over fresh
    seeds, and ``half_width`` is half the width of its 95 % interval.
    """

    trial: int
    params: Mapping[str, Any]
    searched: float
    mean: float
    half_width: float
    tied: bool


@dataclass(frozen=True)
class FinalSeeds:
    """Seeds that did not help to choose the winner, and its value with each."""

    seeds: tuple[int, ...]
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Winner:
    """What a confirmation says: the configuration, the number to report (``mean`` and half the
    width of its 95 % interval, over ``seeds`` seeds) and the run of its lower-median seed.

    ``selection_bias`` is the search's value minus the mean. A record of an earlier version lacks
    what that version did not know, such as final seeds and rounds.
    """

    run: Path
    study: str = ""  # the confirmation's
    trial: int = 0  # in the search
    params: Mapping[str, Any] = field(default_factory=dict)
    searched: float = math.nan
    mean: float = math.nan
    half_width: float = math.nan
    selection_bias: float = math.nan
    tied: int = 1
    rows: tuple[WinnerRow, ...] = ()
    seeds: int = 0
    seed: int = 0  # of ``run``
    files: Mapping[str, str] = field(default_factory=dict)  # name → sha256 of what that run left
    final: FinalSeeds | None = None
    roots: tuple[int, ...] | None = None  # of all trials that were confirmed
    top: int | None = None
    rounds: int | None = None

    @property
    def runs(self) -> tuple[Path, ...]:
        """The run of each seed over which ``mean`` is, in their order."""
        return tuple(self.run.parent / str(number) for number in range(self.seeds))

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """The record from JSON, of this version or an earlier one."""
        return _read(
            cls,
            stored,
            rows=lambda rows: tuple(_read(WinnerRow, row) for row in rows),
            run=Path,
            final=lambda final: _read(FinalSeeds, final, seeds=tuple, values=tuple),
            roots=tuple,
        )

    def written(self) -> dict[str, Any]:
        """The record as JSON, as ``winner.json`` and the confirmation hold it."""
        return {"final": None, **_json(self)}


@dataclass(frozen=True)
class StudyAttributes:
    """A study's attributes.

    A study that another program made, or that is not introduced yet, has no question.
    """

    version: int = 0
    uid: str = ""  # distinguishes it from a later study of the same name
    seed: int | None = None  # of its samplers
    command: Mapping[str, Any] = field(default_factory=dict)  # the last command that asked for it
    as_text: tuple[str, ...] = ()  # parameters whose choices are texts in Optuna
    budget: Budget | None = None
    sweep_dir: SweepDir | None = None
    application: Application | None = None  # what it said of itself; None: an older version ran it
    leader: Mapping[str, Any] | None = None  # the parent that plans; {}: nobody does
    stopping: tuple[str, ...] = ()  # the crews that were asked to stop, the latest last
    noise: float | None = None  # one run's standard deviation, by sweepmore confirm --noise
    noise_freedom: int | None = None  # degrees of freedom of that estimate
    winner: Winner | None = None  # of a confirmation
    tested_run: str | None = None  # of a confirmation: the folder of the run that was tested
    test: Mapping[str, Any] | None = None  # the result of that test
    note: str | None = None  # what was last written into the dashboard's
    question: Mapping[str, Any] = field(default_factory=dict)  # written last, see is_introduced

    @classmethod
    def of(cls, study: optuna.Study) -> Self:
        """The attributes of ``study``, as the storage has them now."""
        return _read(
            cls,
            stored(study),
            as_text=tuple,
            stopping=tuple,
            budget=lambda budget: _read(Budget, budget),
            sweep_dir=lambda sweep_dir: _read(SweepDir, sweep_dir),
            application=Application.read,
            winner=Winner.read,
        )

    @property
    def is_introduced(self) -> bool:
        """Whether its question is stored; it is stored last, so all else is there, too."""
        return bool(self.question)

    def write(self, study: optuna.Study) -> None:
        """Store the fields that are set here, in their order, and leave the rest as it was."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        store(
            study,
            **{
                name: None if value == {} else _plain(value)
                for name, value in values.items()
                if value != getattr(_NOTHING, name)
            },
        )


def stored(study: optuna.Study) -> dict[str, Any]:
    """All that a study keeps, by key, as JSON.

    Older versions kept it among the user attributes, where what they wrote stays until it changes.
    """
    system = storage_of(study).get_study_system_attrs(study_id(study))
    ours = {k.removeprefix(OURS): value for k, value in system.items() if k.startswith(OURS)}
    return ours if "question" in ours else {**study.user_attrs, **ours}


def store(study: optuna.Study, /, **values: Any) -> None:
    """Store JSON values with a study, in order, and empty what older versions stored instead."""
    older = study.user_attrs
    for key, value in values.items():
        storage_of(study).set_study_system_attr(study_id(study), f"{OURS}{key}", value)
        if older.get(key) is not None:
            study.set_user_attr(key, None)


_NOTHING = StudyAttributes()
Kind = TypeVar("Kind")


def _read(kind: type[Kind], stored: Mapping[str, Any], **convert: Callable[[Any], Any]) -> Kind:
    """A record of what was stored.

    A null takes the field's default. Keys that are not fields belong to other programs or a later
    version, and are left out.
    """
    names = [attribute.name for attribute in dataclasses.fields(kind)]  # type: ignore[arg-type]
    given = {name: stored[name] for name in names if stored.get(name) is not None}
    return kind(**{k: convert[k](value) if k in convert else value for k, value in given.items()})


def _json(record: Any) -> dict[str, Any]:
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {key: _plain(value) for key, value in fields.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Application | Winner):
        return value.written()
    if dataclasses.is_dataclass(value):
        return _json(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(member) for member in value]
    return value
