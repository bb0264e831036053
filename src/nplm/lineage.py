"""Which run's weights a run began with (``start_from``), and the splits that these learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweepmore.runs.files import read_json
from sweepmore.runs.names import name_of


def start_record(source: Path) -> dict[str, Any]:
    """Return folder, run id and the fingerprint of the split of the run in ``source``: what another
    run that begins with its weights records of it."""
    provenance = read_json(source / "provenance.json")
    return {
        "folder": str(source),
        "run_id": provenance["run_id"],
        "fingerprint": provenance["data"]["fingerprint"],
    }


def of_another_split(start: Mapping[str, Any] | None, fingerprint: str) -> str:
    """Return a warning where a run on the split ``fingerprint`` begins with weights that learned
    from another split, directly or through an earlier run; else an empty string.

    ``start`` is the run's ``start_record``, or None for fresh parameters.
    """
    for folder, learned_from in _ancestors(start):
        if learned_from is None:
            return (
                f"the weights come from {name_of(folder)}, which is gone: "
                "the split that they learned from is unknown"
            )
        if learned_from != fingerprint:
            return (
                f"the weights come from {name_of(folder)}, which learned from another split "
                f"({learned_from[:8]}): its train and dev lines may be test lines here"
            )
    return ""


def _ancestors(start: Mapping[str, Any] | None) -> Iterator[tuple[Path, str | None]]:
    """Yield folder and split of each earlier run, the latest first. The split is None where an old
    record does not hold it and the folder is gone or belongs to another run by now."""
    visited = set[str]()
    while start is not None and start["run_id"] not in visited:
        visited.add(start["run_id"])
        folder = Path(start["folder"])
        path = folder / "provenance.json"
        provenance = read_json(path) if path.exists() else {}
        if provenance.get("run_id") != start["run_id"]:
            provenance = {}
        of_data = provenance.get("data", {}).get("fingerprint")
        yield folder, start.get("fingerprint") or of_data
        start = provenance.get("start_from")
