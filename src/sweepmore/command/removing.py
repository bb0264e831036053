"""``sweepmore ls --rm``: removes studies and runs that came to nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import typer

from sweepmore.command.pages import no_such, runs_of
from sweepmore.compose.studies import names_in, opened, opened_study
from sweepmore.errors import ConfigError
from sweepmore.report.lists import state_of
from sweepmore.runs import finding
from sweepmore.runs.files import read_json
from sweepmore.runs.names import safe_name
from sweepmore.runs.places import Place
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.parts import confirmation_of, parts_of
from sweepmore.study.view import view
from sweepmore.sweep.context import MARK
from sweepmore.wording import plural, shown_path


@dataclass(frozen=True)
class Removal:
    """A study (``studies`` holds its name and those of its parts) or a run, and their folders."""

    what: str
    folders: Sequence[Path]
    studies: Sequence[str] = ()
    place: Place | None = None


def remove(names: Sequence[str], place: Place, *, asked: bool) -> None:
    """Remove studies and runs by their names, after a question unless it was ``asked`` before.

    All are checked first, and again after the question. Raises ConfigError where one is running or
    finished, or where nobody answers, and StudyError where there is none of that name.
    """
    removals = [_removal(name, place) for name in names]
    for removal in removals:
        print(f"{removal.what}: {', '.join(map(shown_path, removal.folders)) or 'no folder'}")
    if not asked and not _agreed():
        print("nothing was removed")
        return
    for removal in [_removal(name, place) for name in names]:
        if removal.place is not None:
            with opened(removal.place) as database:
                for study in removal.studies:
                    optuna.delete_study(study_name=study, storage=database)
        for folder in removal.folders:
            shutil.rmtree(folder)
        print(f"removed  {removal.what}")


def _agreed() -> bool:
    try:
        return typer.confirm("Remove permanently?", default=False)
    except typer.Abort as error:  # the end of the input, or Ctrl-C
        cure = "Answer y, or give --yes."
        raise ConfigError("Nothing was removed.", value=None, cure=cure) from error


def _removal(name: str, place: Place) -> Removal:
    """Return the removal of a study, or of a run directly in ``outputs/runs``.

    A path is not a name: a folder of the application may hold a config.yaml, too.
    """
    studies, runs = names_in(place), runs_of(place, "config.yaml")
    if name in studies:
        return _study(name, place)
    run = next((run for run in runs if run.name == name and not run.is_symlink()), None)
    if run is None:
        raise no_such(name, studies, runs)
    return _run(run)


def _run(folder: Path) -> Removal:
    """Return the removal of a run that did not come to its end."""
    result = folder / "result.json"
    status = read_json(result).get("status") if result.exists() else "not ended"
    if finding.runs_elsewhere(folder) is not None:
        raise _refused(f"{folder.name} is running.", folder.name, "Stop it first.")
    if status == "ok":
        raise _refused(f"{folder.name} is finished.", folder.name, f"rm -r {shown_path(folder)}")
    return Removal(f"run {folder.name}, {status}", [folder])


def _study(name: str, place: Place) -> Removal:
    """Return the removal of a study that was stopped, or none of whose trials is complete."""
    with opened_study(name, place) as (study, found):
        parts = [study, *parts_of(study)]
        confirmed = confirmation_of(study)
        outcome = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
        budget, studies = StudyAttributes.of(study).budget, view(study)
        state = state_of(studies, None if budget is None else budget.n_trials, outcome)
        if any(view(part).running for part in parts):
            raise _refused(f"{name} is running.", name, "Stop it with Ctrl-C first.")
        if outcome.winner is not None or (state != "stopped" and studies.ranked):
            cure = "Only stopped and empty ones are removed; delete it in `sweepmore dashboard`."
            raise _refused(f"{name} is finished.", name, cure)
        what = f"study {name}, {plural(len(studies.counted), 'trial')}"
        folders = [folder for part in parts for folder in _own_folders(part, found)]
        what += _elsewhere(parts, folders)
        return Removal(what, folders, [part.study_name for part in parts], found)


def _elsewhere(parts: Sequence[optuna.Study], folders: Sequence[Path]) -> str:
    """Say which folder of trials stays, because Hydra was told to put them there."""
    attempts = [attempt for part in parts for attempt in view(part).attempts]
    trials = {a.attrs.folder.parent for a in attempts if a.attrs.folder is not None}
    for folder in sorted(trials):
        if folder.is_dir() and not any(folder.is_relative_to(own) for own in folders):
            return f"; its trials in {shown_path(folder)} stay"
    return ""


def _own_folders(study: optuna.Study, place: Place) -> list[Path]:
    """Return the study's folder in outputs, by its mark; [] where it is gone."""
    uid = StudyAttributes.of(study).uid
    folder = place.outputs / "studies" / safe_name(study.study_name)
    marks = [each / MARK for each in (folder, folder.with_name(f"{folder.name}-{uid}"))]
    return [mark.parent for mark in marks if mark.exists() and mark.read_text() == uid]


def _refused(problem: str, name: str, cure: str) -> ConfigError:
    return ConfigError(problem, value=name, cure=cure)
