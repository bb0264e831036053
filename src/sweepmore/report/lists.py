"""Lists of the runs and studies that exist, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna

from sweepmore.report.additions import NOTHING_KNOWN
from sweepmore.report.document import Table
from sweepmore.runs.files import read_json
from sweepmore.runs.finding import began
from sweepmore.runs.names import ending
from sweepmore.runs.record import read_overrides
from sweepmore.study.application import Application
from sweepmore.study.attempts import run_of
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.parts import confirmation_of
from sweepmore.study.view import StudyView, view
from sweepmore.study.winners import tested
from sweepmore.wording import plus_minus


def list_runs(outputs: Path, application: Application = NOTHING_KNOWN, most: int = 15) -> Table:
    """Return a table of the newest runs, at most ``most``.

    Its columns are the status, the first of the application's curves, the data, and the settings
    that were given.
    """
    measured, rows = application.curves.drawn[:1], []
    folders = [path.parent for path in (outputs / "runs").glob("*/config.yaml")]
    for folder in sorted(folders, key=began, reverse=True)[:most]:
        done = folder / "result.json"
        result = read_json(done) if done.exists() else {}
        words_set = " ".join(read_overrides(folder))
        values = [result.get(curve.key) for curve in measured]
        rows.append([folder.name, result.get("status", "not ended"), *values,
                     result.get("data", {}).get("name"), words_set])  # fmt: skip
    names = [f"{curve.name} {application.curves.quantity}" for curve in measured]
    return Table(["run", "status", *names, "data", "set"], rows)


def list_studies(database: optuna.storages.BaseStorage, most: int = 15) -> Table:
    """Return a table of the newest studies, at most ``most``, without confirmations.

    Its columns are the state, the number of trials, the winner's confirmed mean (else the best
    value), the data, and the settings that were given.
    """
    names = optuna.get_all_study_names(database)
    dated_rows: list[tuple[datetime, list[Any]]] = []
    for name in names:
        if ending(name):
            continue
        study = optuna.load_study(study_name=name, storage=database)
        attrs = StudyAttributes.of(study)
        if not attrs.command:
            continue

        # a confirmed mean counts for more than the best of many trials
        study_view = view(study)
        times = [a.started for a in study_view.attempts if a.started is not None]
        confirmed = confirmation_of(study)
        best = study_view.ranked[0] if study_view.ranked else None
        outcome = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
        value: float | str | None = None if best is None else (best.values or (None,))[0]
        if outcome.winner is not None:
            value = plus_minus(outcome.winner.mean, outcome.winner.half_width)

        # a study that stopped early also says how many trials it was asked for
        data = None if best is None else data_of(run_of(best))
        total = None if attrs.budget is None else attrs.budget.n_trials
        state = state_of(study_view, total, outcome)
        whole = state != "stopped" or total is None
        trials = len(study_view.counted) if whole else f"{len(study_view.counted)} of {total}"
        row = [name, state, trials, value, data,
               " ".join(set_words(attrs.command["words"]))]  # fmt: skip
        dated_rows.append((max(times, default=datetime.min), row))
    dated_rows.sort(key=lambda dated: dated[0], reverse=True)
    head = ["study", "state", "trials", "best (±: confirmed)", "data", "set"]
    return Table(head, [row for _, row in dated_rows[:most]])


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
