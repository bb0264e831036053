"""Lists of the runs and studies that exist, newest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import optuna

from sweepmore.compose.studies import read_each
from sweepmore.report.document import Table
from sweepmore.runs.files import read_json
from sweepmore.runs.finding import began as run_began
from sweepmore.runs.names import is_search
from sweepmore.runs.places import Place
from sweepmore.runs.record import read_overrides
from sweepmore.study.application import Application
from sweepmore.study.attempts import run_of
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.loading import began
from sweepmore.study.parts import confirmation_of
from sweepmore.study.view import StudyView, view
from sweepmore.study.winners import tested
from sweepmore.wording import plus_minus


@dataclass(frozen=True)
class ListedRun:
    """A run: how it ended, its value (the first of the application's curves), what was set.

    ``began`` is an ISO time in UTC. ``value`` is None where there is none or it is not finite.
    """

    name: str
    folder: str
    began: str
    status: str
    value: float | None
    data: str | None
    settings: Sequence[str]


@dataclass(frozen=True)
class ListedStudy:
    """A study: its state, how many of ``n_trials`` are done, its best and its confirmed value.

    ``began`` is when its newest trial began, an ISO time in UTC; None before the first.
    ``storage`` is the database's URL as the sweep wrote it, None for the one in outputs.
    """

    name: str
    state: str
    began: str | None
    trials: int
    n_trials: int | None
    best: float | None
    confirmed: float | None
    half_width: float | None
    data: str | None
    storage: str | None
    settings: Sequence[str]


@dataclass(frozen=True)
class Listing:
    """What there is in a place, newest first. ``value`` names the value of runs."""

    studies: Sequence[ListedStudy]
    runs: Sequence[ListedRun]
    value: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return both lists as JSON holds them (schemas/ls.json)."""
        return {
            "studies": [asdict(study) for study in self.studies],
            "runs": [asdict(run) for run in self.runs],
        }

    def studies_table(self) -> Table:
        """Return a row for each study; a confirmed mean replaces the best of many trials."""
        rows, shared = [], shared_words([study.settings for study in self.studies])
        for study in self.studies:
            best: float | str | None = study.best
            if study.confirmed is not None and study.half_width is not None:
                best = plus_minus(study.confirmed, study.half_width)
            short = study.state == "stopped" and study.n_trials is not None
            trials = f"{study.trials} of {study.n_trials}" if short else study.trials
            settings = " ".join(word for word in study.settings if word not in shared)
            rows.append([study.name, study.state, trials, best, study.data, settings])
        head = ["study", "state", "trials", "best (±: confirmed)", "data", _set(shared)]
        return Table(head, rows)

    def runs_table(self) -> Table:
        """Return a row for each run."""
        shared = shared_words([run.settings for run in self.runs])
        rows = [[r.name, r.status, *([r.value] if self.value else []), r.data,
                 " ".join(word for word in r.settings if word not in shared)]
                for r in self.runs]  # fmt: skip
        value = [self.value] if self.value else []
        return Table(["run", "status", *value, "data", _set(shared)], rows)


def shared_words(settings: Sequence[Sequence[str]]) -> list[str]:
    """Return the settings that several lists have in common, which tell none of them apart."""
    if len(settings) < 2:
        return []
    return [word for word in settings[0] if all(word in others for others in settings[1:])]


def _set(shared: Sequence[str]) -> str:
    return f"set, beside {' '.join(shared)}" if shared else "set"


def listing(place: Place, application: Application, most: int = 15) -> Listing:
    """Return the newest runs and studies of a place, at most ``most`` of each.

    Runs have the value of the first of the ``application``'s curves. Confirmations are not listed.
    """
    studies = list(chain.from_iterable(read_each(place, list_studies)))
    studies.sort(key=lambda study: study.began or "", reverse=True)
    curves = application.curves
    value = f"{curves.drawn[0].name} {curves.quantity}" if curves.drawn else ""
    return Listing(studies[:most], list_runs(place.outputs, application, most), value)


def list_runs(outputs: Path, application: Application, most: int) -> list[ListedRun]:
    """Return the newest runs, at most ``most``; trials of studies are not among them."""
    folders = [path.parent for path in (outputs / "runs").glob("*/config.yaml")]
    newest = sorted(folders, key=run_began, reverse=True)[:most]
    return [_run(folder, application) for folder in newest]


def _run(folder: Path, application: Application) -> ListedRun:
    done = folder / "result.json"
    result = read_json(done) if done.exists() else {}
    values = [result.get(curve.key) for curve in application.curves.drawn[:1]]
    return ListedRun(
        name=folder.name,
        folder=str(folder),
        began=_iso(run_began(folder)[0]),
        status=result.get("status", "not ended"),
        value=_finite(values[0]) if values else None,
        data=result.get("data", {}).get("name"),
        settings=list(read_overrides(folder)),
    )


def list_studies(database: optuna.storages.BaseStorage, place: Place) -> list[ListedStudy]:
    """Return the studies that sweepmore ran in a database, confirmations aside."""
    names = [name for name in optuna.get_all_study_names(database) if is_search(name)]
    studies = [optuna.load_study(study_name=name, storage=database) for name in names]
    return [_study(study, place) for study in studies if StudyAttributes.of(study).command]


def _study(study: optuna.Study, place: Place) -> ListedStudy:
    attrs, study_view = StudyAttributes.of(study), view(study)
    confirmed = confirmation_of(study)
    outcome = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
    best = study_view.ranked[0] if study_view.ranked else None
    total = None if attrs.budget is None else attrs.budget.n_trials
    winner, time = outcome.winner, began(study)
    return ListedStudy(
        name=study.study_name,
        state=state_of(study_view, total, outcome),
        began=_iso(time) if time else None,
        trials=len(study_view.counted),
        n_trials=total,
        best=None if best is None else _finite((best.values or (None,))[0]),
        confirmed=None if winner is None else winner.mean,
        half_width=None if winner is None else winner.half_width,
        data=None if best is None else data_of(run_of(best)),
        storage=place.storage,
        settings=set_words(attrs.command["words"]),
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def state_of(study_view: StudyView, total: int | None, confirmed: StudyAttributes) -> str:
    """Return a study's state in a word or two.

    ``confirmed`` holds the attributes of its confirmation, empty ones if it has none. ``total`` is
    the number of trials asked for, or None if the study's version did not store it.
    """
    if study_view.running:
        return "running"
    if (whose := tested(confirmed)) is not None:
        return "tested" if whose == "winner" else "confirmed anew"
    if confirmed.winner is not None:
        return "confirmed"
    short = total is not None and len(study_view.counted) + len(study_view.given_up) < total
    if study_view.waiting or short:
        return "stopped"
    return "done"


def data_of(run: Path) -> str | None:
    """Return the name of a run's data from its ``result.json``, or None if that was deleted."""
    path = run / "result.json"
    name = read_json(path).get("data", {}).get("name") if path.exists() else None
    return None if name is None else str(name)


def set_words(words: Sequence[str]) -> list[str]:
    """Return a command's settings: the application's, then the sweeper's.

    The study's name and place are left out, because a list shows them already.
    """
    where = tuple(f"hydra.sweeper.{key}=" for key in ("study_name", "outputs", "storage"))
    return sorted(
        (word for word in words if not word.startswith(where)),
        key=lambda word: word.startswith("hydra"),
    )
