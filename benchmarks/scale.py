"""How the cost of a study grows with its trials: 100, 1,000 and 10,000, SQLite and PostgreSQL.

``python -m benchmarks.scale [trials …]``. Of the plain example, whose objective costs nothing: so
what is measured is taking a trial, composing, telling, and everybody's look at all the others. The
earlier trials are made up, as sweepmore leaves them; the last ones are run by the real command.
PostgreSQL is started here, on this machine; without it its rows are left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import optuna
import sqlalchemy
import sqlalchemy.orm
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    distribution_to_json,
)
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy.engine import URL

from benchmarks.common import ROOT, machine
from sweepmore.process.identity import this_process
from sweepmore.storage.opening import open_storage
from sweepmore.study.view import view
from tests.support.postgres import Server, programs

SIZES = (100, 1_000, 10_000)
# Trials of the real command, whose mean is told; looks, of which the median is.
MEASURED, LOOKS = 50, 9
SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-5, 5),
    "y": CategoricalDistribution((1, 2, 3)),
}
WORDS = ("x=interval(-5,5)", "y=choice(1,2,3)", "hydra.sweeper.study_name=s")


@dataclass(frozen=True)
class Cost:
    """Milliseconds."""

    trial: float
    look: float
    first_look: float


def cost(folder: Path, url: URL, sampler: str, trials: int) -> Cost:
    """Of a study with so many trials; ``folder`` and database are empty."""
    app = folder / "app"
    shutil.copytree(ROOT / "examples" / "plain", app)
    sweep(app, url, sampler, 1)
    make_up(url, trials)
    sweep(app, url, sampler, trials + MEASURED)
    began = time.perf_counter()
    study = optuna.load_study(study_name="s", storage=open_storage(url))
    seen = view(study)
    first = time.perf_counter() - began
    new = [a for a in study.get_trials(deepcopy=False) if a.number >= trials]
    assert len(new) == MEASURED == len(seen.counted) - trials
    starts = [t.datetime_start for t in new if t.datetime_start is not None]
    ends = [t.datetime_complete for t in new if t.datetime_complete is not None]
    seconds = (max(ends) - min(starts)).total_seconds() / MEASURED
    return Cost(seconds * 1e3, median(looked(study) for _ in range(LOOKS)) * 1e3, first * 1e3)


def looked(study: optuna.Study) -> float:
    began = time.perf_counter()
    assert view(study).ranked
    return time.perf_counter() - began


def sweep(app: Path, url: URL, sampler: str, trials: int) -> None:
    """The command that a user types; one worker, in its parent's process."""
    words = [*WORDS, f"hydra/sweeper/sampler={sampler}", f"hydra.sweeper.n_trials={trials}"]
    environment = {**os.environ, "STORAGE": url.render_as_string(hide_password=False)}
    done = subprocess.run(
        [sys.executable, "app.py", "-m", *words, "hydra.sweeper.storage='${oc.env:STORAGE}'"],
        cwd=app,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])


def make_up(url: URL, trials: int) -> None:
    """Finished trials 1 … ``trials`` - 1, written to the tables at once."""
    opened = open_storage(url)
    study_id = opened.get_study_id_from_name("s")
    engine: sqlalchemy.Engine = opened._backend.engine  # type: ignore[attr-defined]  # RDB only
    ended = datetime.now() - timedelta(hours=1)
    numbers = range(1, trials)
    table = models.TrialModel
    rows = [
        {"number": number, "study_id": study_id, "state": TrialState.COMPLETE,
         "datetime_start": ended, "datetime_complete": ended + timedelta(milliseconds=50)}
        for number in numbers
    ]  # fmt: skip
    owner = this_process()
    with sqlalchemy.orm.Session(engine) as session, session.begin():
        session.execute(sqlalchemy.insert(table), rows)
        known = sqlalchemy.select(table.number, table.trial_id).where(table.study_id == study_id)
        ids = {row.number: row.trial_id for row in session.execute(known)}
        points = [(ids[n], -5 + n * 7919 % 10_000 / 1000, n % 3) for n in numbers]
        values = [
            {"trial_id": at, "objective": 0, "value": (x - 2) ** 2 + y,
             "value_type": models.TrialValueModel.TrialValueType.FINITE}
            for at, x, y in points
        ]  # fmt: skip
        params = [
            {"trial_id": at, "param_name": name, "param_value": value,
             "distribution_json": distribution_to_json(SPACE[name])}
            for at, x, y in points for name, value in (("x", x), ("y", float(y)))
        ]  # fmt: skip
        about = [
            {"trial_id": ids[n], "key": key, "value_json": json.dumps(value)}
            for n in numbers
            for key, value in {"slot": n, "owner": owner, "lease": 1.7e9, "status": "ok",
                               "folder": f"/outputs/studies/s/{n:04d}", "code": "0" * 8}.items()
        ]  # fmt: skip
        session.execute(sqlalchemy.insert(models.TrialValueModel), values)
        session.execute(sqlalchemy.insert(models.TrialParamModel), params)
        session.execute(sqlalchemy.insert(models.TrialUserAttributeModel), about)


@contextlib.contextmanager
def databases() -> Iterator[dict[str, Server | None]]:
    """What is measured: SQLite, and PostgreSQL where it is installed."""
    if programs() is None:
        print("PostgreSQL is not installed: its rows are left out", file=sys.stderr)
        yield {"SQLite": None}
        return
    with Server.running() as server:
        yield {"SQLite": None, "PostgreSQL": server}


def table(sizes: Sequence[int] = SIZES) -> str:
    """Markdown: milliseconds, a column for each number of trials."""
    rows: dict[str, list[float]] = {}
    with databases() as known:
        for name, server in known.items():
            for trials in sizes:
                costs = {}
                for sampler in ("random", "tpe"):
                    with tempfile.TemporaryDirectory() as place:
                        folder = Path(place)
                        file = URL.create("sqlite", database=str(folder / "studies.db"))
                        url = server.database(f"{sampler}-{trials}") if server else file
                        costs[sampler] = cost(folder, url, sampler, trials)
                    row = f"{name}: a trial, sampler {sampler}"
                    rows.setdefault(row, []).append(costs[sampler].trial)
                rows.setdefault(f"{name}: a look of the parent", []).append(costs["tpe"].look)
                first = f"{name}: the first look of a process"
                rows.setdefault(first, []).append(costs["tpe"].first_look)
    head = "| ms, one worker | " + " | ".join(f"{size:,} trials" for size in sizes) + " |"
    body = [f"| {name} | {' | '.join(map(_digits, cells))} |" for name, cells in rows.items()]
    return "\n".join([head, "|---" * (len(sizes) + 1) + "|", *body])


def _digits(milliseconds: float) -> str:
    return f"{milliseconds:.2g}" if milliseconds < 10 else f"{milliseconds:,.0f}"


if __name__ == "__main__":
    print(table([int(word) for word in sys.argv[1:]] or SIZES))
    print(machine())
