"""How a process joins a study: what it needs to know, from the command and the storage alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from hydra.types import HydraContext, TaskFunction

from sweepmore.compose import question as questions
from sweepmore.compose.frozen import FrozenConfig
from sweepmore.compose.frozen import freeze as freeze_sources
from sweepmore.compose.samplers import build_pruner, build_sampler
from sweepmore.compose.settings import Sweep
from sweepmore.errors import StudyError
from sweepmore.runs.record import safe_name, write_atomic
from sweepmore.storage.opening import open_storage
from sweepmore.storage.optuna_internals import storage_of
from sweepmore.storage.patience import deleted, heed
from sweepmore.storage.urls import shown
from sweepmore.study import slots
from sweepmore.study.studies import StudyView
from sweepmore.sweep.worker import MARK, Search, Worker


def work(
    asked: Sweep,
    part: Mapping[str, Any],
    context: HydraContext,
    task: TaskFunction,
    gone: Callable[[], StudyError | None] = lambda: None,
) -> int | None:
    """A worker's life; returns the signal that ended it, or None. In the parent's own process
    ``gone`` tells what the parent has found removed."""
    study = load_study(asked, part["study"])
    study.sampler = build_sampler(
        asked.sampler,
        asked.space,
        worker=part["index"],
        trials_so_far=len(study.get_trials(deepcopy=False)),
        base_seed=study.user_attrs["seed"],
    )
    frozen = freeze(asked, study)
    search = search_of(asked, study, frozen, part["since"])
    hears = bool(part.get("quiet"))
    worker = Worker(
        search, study, task, context, parent=part["parent"], own_callbacks=hears, gone=gone
    )
    heed(storage_of(study), lambda: worker.stopped_by)
    worker.run()
    return worker.stopped_by


def load_study(asked: Sweep, name: str) -> optuna.Study:
    """The study that a parent has opened; StudyGone where it was deleted since."""
    storage = open_storage(asked.url, asked.engine, wait=True)
    pruner = build_pruner(asked.settings.pruner)
    try:
        return optuna.load_study(study_name=name, storage=storage, pruner=pruner)
    except KeyError as error:
        raise deleted(f"The study {name}", shown(asked.url)) from error


def study_folder(outputs: Path, study: optuna.Study) -> Path:
    """``outputs/studies/NAME`` by its ``safe_name``; a second study of that name (another storage)
    gets a suffix."""
    uid = study.user_attrs["uid"]
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
        fresh = Path(tempfile.mkdtemp(prefix=".study-", dir=folder.parent))
        fresh.chmod(0o755)  # mkdtemp's 0700 would hide it from one's own group
        write_atomic(fresh / MARK, uid)
        try:
            fresh.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(fresh)
    mark = folder / MARK
    return mark.exists() and mark.read_text() == uid


def sweep_dir_of(asked: Sweep, study: optuna.Study) -> Path | None:
    """Hydra's sweep dir, where the study's trials lie there: as the study's first parent resolved
    it, whatever the time is by now. A relative one is of the folder where the command is given."""
    kept = study.user_attrs.get("sweep_dir")
    return None if kept is None else asked.cwd / kept["resolved"]


def freeze(asked: Sweep, study: optuna.Study) -> FrozenConfig:
    return freeze_sources(
        asked.sources,
        study_folder(asked.outputs, study) / "conf",
        asked.config_name,
        asked.hydra_overrides,
        skip=asked.outputs,
    )


def search_of(asked: Sweep, study: optuna.Study, frozen: FrozenConfig, since: float) -> Search:
    return Search(
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
