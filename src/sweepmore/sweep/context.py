"""What every process of a sweep knows about its study.

It follows from the command and the storage alone, so parent and workers agree without talking.
"""

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

# The file that marks a study's own folder. Without it, a folder that a task has made again after
# the study's was removed would pass for the study's.
MARK = "uid"


@dataclass(frozen=True)
class StudyContext:
    """What all workers of a study share: how to sample, compose, run and count."""

    study_name: str
    space: Space
    frozen: FrozenConfig  # the config sources as the study's first parent had them
    folder: Path  # the study's
    sweep_dir: Path | None  # Hydra's; None where trials lie in `folder`
    artifacts: Path  # the folder for files that tasks attach
    n_trials: int
    max_failure_rate: float  # 0 to 1, of the trials that have finished
    max_retries: int  # of a trial whose worker died
    repeats: Mapping[str, Sequence[Any]]  # a setting, and the values that each trial runs with
    custom_search_space: str | None  # the dotted path of the application's function
    fixed_params: slots.FixedParams
    code: str  # a hash of the application's code
    since: float  # when this start of the sweep began, Unix time

    @property
    def is_without_folder(self) -> bool:
        """Whether the study's folder was removed.

        Without it no config can be composed, and every further trial would fail.
        """
        return not (self.folder / MARK).exists()

    def runs(self) -> list[dict[str, Any]]:
        """Return the repeated settings of each run of a trial: all combinations of their values.

        Where nothing is repeated, that is a single run with no such setting.
        """
        combinations = itertools.product(*self.repeats.values())
        return [dict(zip(self.repeats, values)) for values in combinations]


def load_study(
    asked: Sweep, name: str, stop: Stop | None = None, outage: Outage | None = None
) -> optuna.Study:
    """Load the study that a parent has opened, waiting for a database that is away.

    ``stop`` and ``outage`` are those of ``open_storage``. Raises StudyGone when the study has been
    deleted since.
    """
    storage = open_storage(asked.url, asked.engine, wait=True, stop=stop, outage=outage)
    pruner = build_pruner(asked.settings.pruner)
    try:
        return optuna.load_study(study_name=name, storage=storage, pruner=pruner)
    except KeyError as error:
        raise deleted(f"The study {name}", shown(asked.url)) from error


def study_folder(outputs: Path, study: optuna.Study) -> Path:
    """Return the study's folder, ``outputs/studies/NAME``, and create it when it is missing.

    NAME is made safe for file systems. When a study of another storage already has the folder, the
    name gets the study's id as a suffix.
    """
    uid = StudyAttributes.of(study).uid
    folder = outputs / "studies" / safe_name(study.study_name)
    if not _belongs(folder, uid):
        folder = folder.with_name(f"{folder.name}-{uid}")
        _belongs(folder, uid)
    return folder


def _belongs(folder: Path, uid: str) -> bool:
    """Return whether a folder is the study's, and create it when it is missing.

    It appears together with its mark, so that no parent that begins at the same time finds it
    without.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            make_whole(folder, lambda fresh: write_atomic(fresh / MARK, uid))
        except OSError:  # another process was first, or a broken link has the name
            if not os.path.lexists(folder):
                raise
    mark = folder / MARK
    return mark.exists() and mark.read_text() == uid


def sweep_dir_of(asked: Sweep, study: optuna.Study) -> Path | None:
    """Return Hydra's sweep dir when the study's trials lie there, otherwise None.

    It is the path that the study's first parent resolved: it often holds the time, which must not
    change when the study is continued. A relative path refers to the working directory.
    """
    kept = StudyAttributes.of(study).sweep_dir
    return None if kept is None else asked.cwd / kept.resolved


def freeze(asked: Sweep, study: optuna.Study) -> FrozenConfig:
    """Return the study's frozen config sources, and copy them to its folder when they are missing.

    Trials then compose what the study began with, whatever is edited during the sweep.
    """
    folder = study_folder(asked.outputs, study)
    if (noted := asked.noted) is not None:
        noted.keep(folder)
    return freeze_sources(
        asked.sources,
        folder / "conf",
        asked.config_name,
        asked.hydra_overrides,
        skip=asked.outputs,
    )


def context_of(
    asked: Sweep, study: optuna.Study, frozen: FrozenConfig, since: float
) -> StudyContext:
    """Collect what the workers of a study share; ``since`` is when this start began (Unix time)."""
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


def is_all_taken(snapshot: StudyView, asked: Sweep) -> bool:
    """Whether no worker would find a trial, because the unfinished ones are all running."""
    return slots.is_all_taken(snapshot, asked.n_trials, asked.fixed_params)


def is_done(snapshot: StudyView, asked: Sweep) -> bool:
    """Whether every slot of the budget has been used up."""
    return not snapshot.running and is_all_taken(snapshot, asked)


def must_end(study: optuna.Study, shared: StudyContext) -> bool:
    """Whether further trials would be in vain: too many failed, or one returned no number."""
    recent = slots.active_since(study, shared.since)
    if slots.without_objective(recent) is not None:
        return True
    failed, finished = slots.failure_share(recent)
    return too_many_failures(failed, finished, shared.n_trials, shared)


def too_many_failures(failed: int, finished: int, n_trials: int, shared: StudyContext) -> bool:
    """Whether more than ``max_failure_rate`` of the finished trials failed.

    At least min(5, n_trials) trials have to be finished (5 is a guess): one early failure says
    little about the rest.
    """
    enough = finished >= min(5, n_trials)
    return enough and failed > shared.max_failure_rate * finished
