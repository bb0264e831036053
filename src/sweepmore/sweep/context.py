"""What every process of a sweep knows of its study, from the command and the storage alone."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from sweepmore.compose import question as questions
from sweepmore.compose.frozen import FrozenConfig
from sweepmore.compose.frozen import freeze as freeze_sources
from sweepmore.compose.samplers import build_pruner
from sweepmore.compose.settings import Sweep
from sweepmore.compose.space import Space
from sweepmore.process.signals import Stop
from sweepmore.runs.files import make_whole, write_atomic
from sweepmore.runs.names import safe_name
from sweepmore.storage.opening import open_storage
from sweepmore.storage.patience import Outage, deleted
from sweepmore.storage.urls import shown
from sweepmore.study import slots
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.view import StudyView

# What tells a study's own folder from one that a task has made anew after it was removed.
MARK = "uid"


@dataclass(frozen=True)
class StudyContext:
    """What all workers of a study share: how to sample, compose, run and count."""

    study_name: str
    space: Space
    frozen: FrozenConfig
    folder: Path
    sweep_dir: Path | None  # Hydra's, where trials lie there and not in `folder`
    artifacts: Path
    n_trials: int
    max_failure_rate: float
    max_retries: int
    repeats: Mapping[str, Sequence[Any]]
    custom_search_space: str | None
    fixed_params: slots.FixedParams
    code: str
    since: float

    @property
    def is_without_folder(self) -> bool:
        """Whether it was removed: no config can be composed then, and every trial would fail."""
        return not (self.folder / MARK).exists()

    def runs(self) -> list[dict[str, Any]]:
        """The repeated settings of each run of a trial: every combination, or one without any."""
        combinations = itertools.product(*self.repeats.values())
        return [dict(zip(self.repeats, values)) for values in combinations]


def load_study(
    asked: Sweep, name: str, stop: Stop | None = None, outage: Outage | None = None
) -> optuna.Study:
    """The study that a parent has opened; StudyGone where it was deleted since. ``stop`` and
    ``outage`` are ``open_storage``'s."""
    storage = open_storage(asked.url, asked.engine, wait=True, stop=stop, outage=outage)
    pruner = build_pruner(asked.settings.pruner)
    try:
        return optuna.load_study(study_name=name, storage=storage, pruner=pruner)
    except KeyError as error:
        raise deleted(f"The study {name}", shown(asked.url)) from error


def study_folder(outputs: Path, study: optuna.Study) -> Path:
    """``outputs/studies/NAME`` by its ``safe_name``; a second study of that name (another storage)
    gets a suffix."""
    uid = StudyAttributes.of(study).uid
    folder = outputs / "studies" / safe_name(study.study_name)
    if not _belongs(folder, uid):
        folder = folder.with_name(f"{folder.name}-{uid}")
        _belongs(folder, uid)
    return folder


def _belongs(folder: Path, uid: str) -> bool:
    """Whether a folder is the study's; one that is not there yet is made, mark and all at once,
    so that of two parents that begin together neither finds it without its mark."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            make_whole(folder, lambda fresh: write_atomic(fresh / MARK, uid))
        except OSError:  # another process was first, or a link to nowhere has the name
            if not os.path.lexists(folder):
                raise
    mark = folder / MARK
    return mark.exists() and mark.read_text() == uid


def sweep_dir_of(asked: Sweep, study: optuna.Study) -> Path | None:
    """Hydra's sweep dir, where the study's trials lie there: as the study's first parent resolved
    it, whatever the time is by now. A relative one is of the folder where the command is given."""
    kept = StudyAttributes.of(study).sweep_dir
    return None if kept is None else asked.cwd / kept.resolved


def freeze(asked: Sweep, study: optuna.Study) -> FrozenConfig:
    return freeze_sources(
        asked.sources,
        study_folder(asked.outputs, study) / "conf",
        asked.config_name,
        asked.hydra_overrides,
        skip=asked.outputs,
    )


def context_of(
    asked: Sweep, study: optuna.Study, frozen: FrozenConfig, since: float
) -> StudyContext:
    return StudyContext(
        study_name=study.study_name,
        space=asked.space,
        frozen=frozen,
        folder=study_folder(asked.outputs, study),
        sweep_dir=sweep_dir_of(asked, study),
        artifacts=asked.outputs / "artifacts",
        n_trials=asked.n_trials,
        max_failure_rate=asked.settings.max_failure_rate,
        max_retries=asked.settings.max_retries,
        repeats=asked.settings.repeats or {},
        custom_search_space=asked.settings.custom_search_space,
        fixed_params=asked.fixed_params,
        code=questions.code_hash(asked.root),
        since=since,
    )


def is_all_taken(seen: StudyView, asked: Sweep) -> bool:
    """Whether no worker would find a trial: those that are left run already."""
    return slots.is_all_taken(seen, asked.n_trials, asked.fixed_params)


def is_done(seen: StudyView, asked: Sweep) -> bool:
    """Whether every slot of the budget has been used up."""
    return not seen.running and is_all_taken(seen, asked)


def must_end(study: optuna.Study, shared: StudyContext) -> bool:
    """Whether more trials would be in vain: too many failed, or one gave no number."""
    if slots.without_objective(study, shared.since) is not None:
        return True
    failed, finished = slots.failure_share(study, shared.since)
    return too_many_failures(failed, finished, shared.n_trials, shared)


def too_many_failures(failed: int, finished: int, n_trials: int, shared: StudyContext) -> bool:
    """More than ``max_failure_rate`` of at least min(5, n_trials) finished trials failed."""
    enough = finished >= min(5, n_trials)
    return enough and failed > shared.max_failure_rate * finished
