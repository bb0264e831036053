"""Which run a person means: by its folder, its name, its study, or the last one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepmore.errors import ConfigError, RunError, did_you_mean
from sweepmore.process.identity import is_alive, on_this_host
from sweepmore.runs.files import read_json
from sweepmore.runs.names import is_search, safe_name

# How many names a message lists.
LISTED = 10


def began(folder: Path) -> tuple[float, int]:
    """When a run first began, as a key to sort by.

    First the Unix time in its provenance, to the second; then the time of its config file in
    nanoseconds, which a copy of the folder does not preserve.
    """
    age = _age(folder / "config.yaml")
    path = folder / "provenance.json"
    starts = read_json(path).get("starts") if path.exists() else None
    return (datetime.fromisoformat(starts[0]["time"]).timestamp() if starts else age / 1e9, age)


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def find_run(name: str, outputs: Path, holding: str, *, stopped: bool = False) -> Path:
    """The folder that ``name`` means: a path, a folder's name under ``outputs``, or ``last``.

    ``last`` is the run that began last among those that hold the file ``holding`` and, where
    ``stopped`` is set, did not come to their end. It never means a trial of a study. Raises
    RunError where no run is meant; it lists the runs to choose from.
    """
    # a path, or the name of a run's folder
    if name != "last":
        for folder in (Path(name), outputs / "runs" / name):
            if (folder / "config.yaml").exists():
                return folder.resolve()
        if (outputs / "studies" / safe_name(name)).is_dir():
            cure = f"Give study={name} instead where that is a setting, or a run's folder."
            raise RunError(f"{name} is a study, not a run.", value=name, cure=cure)
    # the last one, or a name that means none
    runs = [path.parent for path in (outputs / "runs").glob("*/config.yaml")]
    usable = [run for run in runs if (run / holding).exists() and not (stopped and has_ended(run))]
    usable.sort(key=began, reverse=True)
    if name != "last":
        names = [run.name for run in usable]
        near = did_you_mean(name, names) or did_you_mean(name, [run.name for run in runs])
        cure = f"Give a run's folder.{near} {listed('Interrupted' if stopped else 'Runs', names)}"
        raise RunError(f"{name} is not a run.", value=name, cure=cure)
    if usable:
        return usable[0].resolve()
    if stopped and runs:
        cure = "To begin with the weights of a run that ended, give start_from=last."
        raise RunError(f"No run in {outputs} is interrupted.", value=name, cure=cure)
    cure = "Train one first, or name another folder by outputs=…."
    raise RunError(f"No run in {outputs} holds {holding}.", value=name, cure=cure)


# The status of a run that can be continued; an error may be a full disk that has room again.
STOPPED = ("interrupted", "error")


def has_ended(folder: Path) -> bool:
    """Whether a run cannot be continued: it came to its end, or a process of this host runs it."""
    result = folder / "result.json"
    if result.exists() and read_json(result).get("status") not in STOPPED:
        return True
    return runs_elsewhere(folder) is not None


def runs_elsewhere(folder: Path) -> int | None:
    """The id of another process of this host that is training the run; None without one."""
    path = folder / "provenance.json"
    starts = read_json(path)["starts"] if path.exists() else []
    for start in starts[-1:]:
        pid = start.get("pid")
        if pid not in (None, os.getpid()) and on_this_host(start) and is_alive(start):
            return int(pid)
    return None


def listed(what: str, names: Sequence[str]) -> str:
    """``Runs: b, a.``: the first few names to choose from."""
    few = [*names[:LISTED], *(["…"] if len(names) > LISTED else [])]
    return f"{what}: {', '.join(few) or 'none'}."


def require_outputs(outputs: Path) -> None:
    """Raise RunError where ``outputs=`` is not a folder: a misspelt one would be created."""
    if not outputs.is_dir():
        cure = "outputs= names the folder of runs and studies, relative to the application."
        raise RunError(f"There is no folder {outputs}.", value=str(outputs), cure=cure)


def require(folder: Path, holding: str) -> Path:
    """``folder``, a run found in a study, if it holds that file; else raises RunError."""
    if (folder / holding).exists():
        return folder
    if (folder / "config.yaml").exists():
        raise RunError(
            f"{folder} holds no {holding}.",
            value=str(folder),
            cure="It was removed, or the run ended before it was written. Train the run again.",
        )
    if not folder.exists():
        cure = "Its outputs were removed. Train it again."
        raise RunError(f"The run {folder} is gone.", value=str(folder), cure=cure)
    cure = "Its application writes none. sweepmore show STUDY --trial N prints what is known of it."
    raise RunError(f"{folder} holds no {holding}.", value=str(folder), cure=cure)


def find_trial(study: str | None, trial: int, outputs: Path, holding: str = "config.yaml") -> Path:
    """The run folder of a trial of ``study``; the first run of a repeated trial.

    None and ``last`` mean the study whose last run began last. Raises RunError where there is no
    such study or trial, or its run does not hold the file ``holding``.
    """
    studies = outputs / "studies"
    name = last_study(outputs) if study in (None, "last") else str(study)
    if not (studies / safe_name(name)).is_dir():
        names = sorted(folder.name for folder in studies.glob("[!.]*"))
        cure = f"{listed('Known', names)}{did_you_mean(name, names)}"
        raise RunError(f"There is no study {name} in {outputs}.", value=name, cure=cure)
    study_folder = studies / safe_name(name)
    folder = study_folder / f"{trial:04d}"
    run = next((run for run in (folder, folder / "0") if (run / "config.yaml").exists()), None)
    if run is None and folder.exists():
        return require(folder, "config.yaml")
    if run is None:
        numbers = sorted(int(run.name) for run in study_folder.glob("[0-9]*"))
        has = f"It has {len(numbers)}, from {numbers[0]} to {numbers[-1]}; " if numbers else ""
        cure = f"{has}a retried trial keeps its first number."
        raise RunError(f"{name} has no run of a trial {trial}.", value=trial, cure=cure)
    if not (run / holding).exists():
        result = run / "result.json"
        status = read_json(result).get("status", "unknown") if result.exists() else "unfinished"
        problem = f"Trial {trial} of {name} holds no {holding}: its status is {status}."
        cure = "Name a trial whose status is ok: trials.csv lists them."
        if status == "ok":
            cure = "With hydra.sweeper.keep=best only the best trial's remains: name that trial."
        raise RunError(problem, value=trial, cure=cure)
    return run.resolve()


def last_study(outputs: Path) -> str:
    """The name of the study that ``last`` means among those whose runs are in ``outputs``.

    Raises RunError where there is none.
    """
    studies = outputs / "studies"
    newest: dict[str, Path] = {}
    for run in ("[0-9]*", "[0-9]*/[0-9]*"):  # a trial's only run, or those of its repeats
        for config in studies.glob(f"*/{run}/config.yaml"):
            study = config.relative_to(studies).parts[0]
            newest[study] = max(newest.get(study, config), config, key=_age)
    name = last_begun({study: began(config.parent) for study, config in newest.items()})
    if name is None:
        cure = "Start one first, with -m, or name another folder by outputs=…."
        raise RunError(f"There is no study in {outputs}.", value="last", cure=cure)
    return name


def last_begun(began: Mapping[str, Any]) -> str | None:
    """The study that ``last`` means: the one whose last run began last, confirmations aside.

    ``began`` gives that time for each study, from runs' folders or from a database, in anything
    that can be compared. None where there is no study.
    """
    searches = [name for name in began if is_search(name)]
    return max(searches, key=lambda name: (began[name], name), default=None)


def find_named(
    run: str | None, study: str | None, trial: int | None, outputs: Path, holding: str
) -> Path:
    """The run folder that a script's ``run=NAME`` or ``study=NAME trial=17`` means.

    Raises ConfigError where both or only half of the second is given, RunError where there is no
    such run.
    """
    if trial is None and study is not None:
        cure = f"Give its number, too: study={study} trial=N."
        raise ConfigError(f"Which trial of {study} is meant?", value=study, cure=cure)
    if trial is not None and run is not None:
        problem = f"run={run} and trial={trial} are two runs."
        raise ConfigError(problem, value=run, cure="Give one of the two.")
    if trial is not None:
        return find_trial(study, trial, outputs, holding)
    return find_run("last" if run is None else run, outputs, holding)
