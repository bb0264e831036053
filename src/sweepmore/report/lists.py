"""What there is: runs and studies, newest first."""

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
    """Newest first: status, the first of the application's curves, data, and what was set."""
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
    """Newest first: its state, how many trials, the confirmed mean of the winner, else the best
    value; data, and what was set."""
    names = optuna.get_all_study_names(database)
    found: list[tuple[datetime, list[Any]]] = []
    for name in names:
        if ending(name):
            continue
        study = optuna.load_study(study_name=name, storage=database)
        attrs = StudyAttributes.of(study)
        if not attrs.command:
            continue
        seen = view(study)
        times = [a.started for a in seen.attempts if a.started is not None]
        confirmed, best = confirmation_of(study), seen.ranked[0] if seen.ranked else None
        known = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
        value: float | str | None = None if best is None else (best.values or (None,))[0]
        if known.winner is not None:  # a confirmed mean, no best of many
            value = plus_minus(known.winner.mean, known.winner.half_width)
        data = None if best is None else data_of(run_of(best))
        total = None if attrs.budget is None else attrs.budget.n_trials
        state = state_of(seen, total, known)
        whole = state != "stopped" or total is None
        trials = len(seen.counted) if whole else f"{len(seen.counted)} of {total}"
        row = [name, state, trials, value, data,
               " ".join(set_words(attrs.command["words"]))]  # fmt: skip
        found.append((max(times, default=datetime.min), row))
    found.sort(key=lambda one: one[0], reverse=True)
    head = ["study", "state", "trials", "best (±: confirmed)", "data", "set"]
    return Table(head, [row for _, row in found[:most]])


def state_of(seen: StudyView, total: int | None, confirmed: StudyAttributes) -> str:
    """``confirmed`` is what is known of a confirmation; ``total`` is None where no version that
    kept it ran the study."""
    if seen.running:
        return "running"
    if (whose := tested(confirmed)) is not None:
        return "tested" if whose == "winner" else "confirmed anew"
    if confirmed.winner is not None:
        return "confirmed"
    short = total is not None and len(seen.counted) + len(seen.given_up) < total
    if seen.waiting or short:
        return "stopped"
    return "done"


def data_of(run: Path) -> str | None:
    """The name of a run's data, as ``result.json`` has it; None where that is gone."""
    path = run / "result.json"
    name = read_json(path).get("data", {}).get("name") if path.exists() else None
    return None if name is None else str(name)


def set_words(words: Sequence[str]) -> list[str]:
    """Of a study's command: the application's settings, then the sweeper's, its name left out."""
    where = tuple(f"hydra.sweeper.{key}=" for key in ("study_name", "outputs", "storage"))
    return sorted(
        (word for word in words if not word.startswith(where)),
        key=lambda word: word.startswith("hydra"),
    )
