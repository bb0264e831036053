"""Which run's weights a run began with (``start_from``), and the splits that these learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweepmore.runs.files import read_json
from sweepmore.runs.names import name_of


def start_record(source: Path) -> dict[str, Any]:
    """What the provenance of a run keeps of the run in ``source``, with whose weights it begins."""
    provenance = read_json(source / "provenance.json")
    return {
        "folder": str(source),
        "run_id": provenance["run_id"],
        "fingerprint": provenance["data"]["fingerprint"],
    }


def of_another_split(start: Mapping[str, Any] | None, fingerprint: str) -> str:
    """A warning for a run on the split with this fingerprint that began as ``start`` says: where
    its weights, or those that they came from, learned from another split. Empty where none did."""
    for folder, learned_from in _ancestors(start):
        if learned_from is None:
            return f"weights of {name_of(folder)}, which is gone: what it learned from is not known"
        if learned_from != fingerprint:
            return (
                f"weights of {name_of(folder)}, which learned from another split "
                f"({learned_from[:8]}): its train and dev lines may be test lines here"
            )
    return ""


def _ancestors(start: Mapping[str, Any] | None) -> Iterator[tuple[Path, str | None]]:
    """Folder and split of each run before, the last one first; None where the folder is gone or
    another run's by now, and the record is from before it kept the split."""
    known = set[str]()
    while start is not None and start["run_id"] not in known:
        known.add(start["run_id"])
        folder = Path(start["folder"])
        path = folder / "provenance.json"
        provenance = read_json(path) if path.exists() else {}
        if provenance.get("run_id") != start["run_id"]:
            provenance = {}
        of_data = provenance.get("data", {}).get("fingerprint")
        yield folder, start.get("fingerprint") or of_data
        start = provenance.get("start_from")
