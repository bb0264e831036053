"""The folder of a run: everything there is to know about it, readable without this project.

``config.yaml`` ``overrides.yaml`` ``provenance.json`` are written before the run, ``metrics.jsonl``
grows during it, ``result.json`` ends it. What the run itself makes (weights, figures, samples)
stands beside them. Whole files are replaced atomically; the journal of metrics is appended to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from sweepmore.errors import RunError
from sweepmore.runs.files import read_json, write_atomic, write_json
from sweepmore.runs.names import as_name
from sweepmore.runs.provenance import code, start, versions

Status = Literal["ok", "diverged", "pruned", "interrupted", "error"]


@dataclasses.dataclass(frozen=True)
class Record:
    """An open run folder. ``run_id`` is unique for ever, ``attempt`` counts its resumptions."""

    folder: Path
    run_id: str
    attempt: int = 0

    @property
    def metrics_path(self) -> Path:
        return self.folder / "metrics.jsonl"

    @contextlib.contextmanager
    def metrics(self) -> Iterator[Callable[..., None]]:
        """Yields ``log(row, sync=False)``; synced rows are on disk when it returns."""
        with self.metrics_path.open("a", encoding="utf-8") as file:

            def log(row: Mapping[str, Any], sync: bool = False) -> None:
                file.write(json.dumps(row, allow_nan=False) + "\n")
                if sync:
                    file.flush()
                    os.fsync(file.fileno())

            yield log

    def rows(self) -> list[dict[str, Any]]:
        return read_metrics(self.folder)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write ``result.json``; a run without one did not end by itself."""
        write_json(self.folder / "result.json", result)


def create(
    folder: Path,
    *,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    facts: Mapping[str, Any],
    packages: Sequence[str],
    run_id: str | None = None,
    attempt: int = 0,
) -> Record:
    """Begin a run's folder with what it will compute and from what.

    ``facts`` are the application's own part of the provenance (seed, data fingerprint, …);
    ``packages`` are the distributions whose versions are recorded. ``run_id`` must be unique for
    ever (null: one is drawn). Raises RunError where the folder already holds a run, unless this
    is a later ``attempt`` at it.
    """
    own = ("config.yaml", "metrics.jsonl", "result.json")
    if any((folder / name).exists() for name in own) and not attempt:
        cure = "Choose another with hydra.run.dir=…, or continue it with resume=FOLDER."
        raise RunError(f"{folder} already holds a run.", value=str(folder), cure=cure)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in own:
        (folder / stale).unlink(missing_ok=True)  # of an attempt that left no checkpoint
    run_id = run_id or f"{as_name(folder.name)}-{secrets.token_hex(3)}"
    write_atomic(folder / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))
    write_atomic(folder / "overrides.yaml", yaml.safe_dump(list(overrides)))
    history = [start()]
    record = {"run_id": run_id, **facts, **code(), **versions(tuple(packages)), "starts": history}
    write_json(folder / "provenance.json", record)
    return Record(folder, run_id, attempt)


def reopen(folder: Path, last_step: int) -> Record:
    """Continue a run: rows after ``last_step`` are cut, a torn last line with them."""
    provenance = read_json(folder / "provenance.json")
    provenance["starts"].append(start())
    write_json(folder / "provenance.json", provenance)
    kept = [row for row in read_metrics(folder) if row["step"] <= last_step]
    write_atomic(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))
    with contextlib.suppress(FileNotFoundError):
        (folder / "result.json").unlink()
    return Record(folder, provenance["run_id"], attempt=len(provenance["starts"]) - 1)


def take_over(earlier: Sequence[Path], folder: Path, holding: Path) -> bool:
    """Copy into ``folder`` the first of these runs that has the file ``holding``, where it has none
    itself; returns whether it has one now. A kill in between leaves it without."""
    source = next((run for run in earlier if (run / holding).exists()), None)
    if source is not None and not (folder / holding).exists():
        last = holding.parts[0]
        # of W&B's and Hydra's own each run has one
        others = shutil.ignore_patterns(last, "wandb", ".*")
        shutil.copytree(source, folder, ignore=others, dirs_exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as fresh:
            shutil.copytree(source / last, Path(fresh, last))
            os.replace(Path(fresh, last), folder / last)
    return (folder / holding).exists()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``; a last line torn by a kill is left out."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def read_config(folder: Path) -> dict[str, Any]:
    """The config of a run as plain data."""
    try:
        node = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        cure = "Give the folder of a run, or run=last."
        raise RunError(f"{folder} holds no run.", value=str(folder), cure=cure) from None
    assert isinstance(node, dict)
    return node


def read_overrides(folder: Path) -> list[str]:
    """What was set by hand for a run; nothing where it does not say."""
    path = folder / "overrides.yaml"
    words = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return [str(word) for word in words or ()]
