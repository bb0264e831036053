"""The weights of a confirmed winner as a W&B artifact: recorded offline, uploaded with the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import wandb

from sweepmore.report.study import Study
from sweepmore.runs.files import read_json
from sweepmore.runs.offline import id_of, offline_runs
from sweepmore.runs.record import Record, read_config
from sweepmore.runs.tracking import About, Tracking, track
from sweepmore.study.attributes import Winner
from sweepmore.typed import build


def record_winner(study: Study) -> None:
    """Record a W&B run that holds the winner's weights and its number, once for each winner.

    Nothing happens where the application names no file of weights, where the run is gone, or where
    its settings forbid it: ``wandb.artifact=never`` or ``wandb.mode=disabled``.
    """
    winner, name = study.winner, study.application.weights
    if winner is None or name is None or not (winner.run / name).exists():
        return
    settings = _settings_of(winner)
    if settings is None or settings.mode == "disabled" or settings.artifact == "never":
        return
    run_id = read_json(winner.run / "provenance.json")["run_id"]
    record = Record(winner.run, f"{run_id[:50]}-winner")
    if record.run_id in map(id_of, offline_runs(winner.run)):
        return
    group = winner.study or study.seen.name  # an older version did not keep the first
    about = About(
        {"study": {"name": group, "trial": winner.trial, "seed": winner.seed}},
        job_type="winner",
        name=f"{study.seen.name}-{winner.trial} winner",
    )
    settings = replace(
        settings, mode="offline", group=group, tags=(*settings.tags, study.seen.name)
    )
    number = {"mean": winner.mean, "half_width": winner.half_width, "seeds": winner.seeds}
    with track(settings, record, about) as tracker:
        tracker.summarise({"confirmed": number})
        tracker.model(winner.run / name, {**_reached(study, winner), "confirmed": number})
    wandb.teardown()  # else its service may still write the file that is uploaded next


def _settings_of(winner: Winner) -> Tracking | None:
    """Return how the winner's run was mirrored; None if it has no such settings."""
    there = (winner.run / "config.yaml").exists() and (winner.run / "provenance.json").exists()
    node = read_config(winner.run).get("wandb") if there else None
    return build(Tracking, node, "wandb.") if isinstance(node, Mapping) else None


def _reached(study: Study, winner: Winner) -> dict[str, Any]:
    """Return what the winner's run reached, and what its data are."""
    result = read_json(winner.run / "result.json")
    keys = [curve.key for curve in study.application.curves.drawn]
    return {**{key: result.get(key) for key in keys}, "data": study.question.get("identity")}
