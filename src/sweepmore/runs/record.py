"""The folder of a run: everything there is to know about it, readable without this project.

``config.yaml``, ``overrides.yaml`` and ``provenance.json`` are written before the run,
``metrics.jsonl`` grows during it, and ``result.json`` ends it. What the run itself makes (weights,
figures, samples) lies beside them. Files are replaced atomically; only the journal of metrics is
appended to.
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
    """An open run folder. ``run_id`` is permanently unique; ``attempt`` counts what came before.

    ``began`` is the attempt that began at the first step; later ones, ``resumed``, continue it.
    """

    folder: Path
    run_id: str
    attempt: int = 0
    began: int = 0
    resumed: bool = False

    @property
    def tracked_id(self) -> str:
        """What W&B calls the run: an attempt that begins again is another run, see ``began``."""
        return tracked_id(self.run_id, self.began)

    @property
    def metrics_path(self) -> Path:
        return self.folder / "metrics.jsonl"

    @contextlib.contextmanager
    def metrics(self) -> Iterator[Callable[..., None]]:
        """Yield ``log(row, sync=False)``, which appends a row; a synced row is on disk on return.

        NaN and infinities raise ValueError: a row is strict JSON.
        """
        with self.metrics_path.open("a", encoding="utf-8") as file:

            def log(row: Mapping[str, Any], sync: bool = False) -> None:
                file.write(json.dumps(row, allow_nan=False) + "\n")
                if sync:
                    file.flush()
                    os.fsync(file.fileno())

            yield log

    def rows(self) -> list[dict[str, Any]]:
        """The rows logged so far."""
        return read_metrics(self.folder)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write ``result.json``; a run without it did not come to its end."""
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
    """Create a run's folder, and write there what the run will compute and from what.

    ``facts`` are the application's own part of the provenance (seed, data fingerprint, …);
    ``packages`` are the distributions whose versions are recorded. ``run_id`` must be permanently
    unique; None draws one. Raises RunError where the folder already holds a run, unless this is a
    later ``attempt`` at it.
    """
    own = ("config.yaml", "metrics.jsonl", "result.json")
    if any((folder / name).exists() for name in own) and not attempt:
        cure = "Choose another folder by hydra.run.dir=…, or continue the run by resume=FOLDER."
        raise RunError(f"{folder} already holds a run.", value=str(folder), cure=cure)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in own:
        (folder / stale).unlink(missing_ok=True)  # from an attempt that left no checkpoint
    run_id = run_id or f"{as_name(folder.name)}-{secrets.token_hex(3)}"
    write_atomic(folder / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))
    write_atomic(folder / "overrides.yaml", yaml.safe_dump(list(overrides)))
    history = [start()]
    record = {"run_id": run_id, **facts, **code(), **versions(tuple(packages)), "starts": history}
    if attempt:
        record["began"] = attempt
    write_json(folder / "provenance.json", record)
    return Record(folder, run_id, attempt, began=attempt)


def reopen(folder: Path, last_step: int) -> Record:
    """Open a run to continue it after ``last_step``.

    Later rows of metrics are removed, and a torn last line with them. Raises RunError where the
    provenance is missing or damaged.
    """
    provenance = read_json(folder / "provenance.json")
    provenance["starts"].append(start())
    write_json(folder / "provenance.json", provenance)
    rows = [row for row in read_metrics(folder) if row["step"] <= last_step]
    write_atomic(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    with contextlib.suppress(FileNotFoundError):
        (folder / "result.json").unlink()
    began = provenance.get("began", 0)
    attempt = began + len(provenance["starts"]) - 1
    return Record(folder, provenance["run_id"], attempt, began, resumed=True)


def tracked_id(run_id: str, began: int) -> str:
    """What W&B calls the run ``run_id`` whose attempt ``began`` began at the first step."""
    return f"{run_id}-r{began}" if began else run_id


def take_over(earlier: Sequence[Path], folder: Path, holding: Path) -> bool:
    """Copy into ``folder`` the first of these runs that has the file ``holding``.

    Nothing is copied where ``folder`` has one itself. Returns whether it has one now. ``holding``
    is copied last, so that a kill in between leaves the folder without it.
    """
    source = next((run for run in earlier if (run / holding).exists()), None)
    if source is not None and not (folder / holding).exists():
        last = holding.parts[0]
        # each run has its own folders of W&B and Hydra
        others = shutil.ignore_patterns(last, "wandb", ".*")
        shutil.copytree(source, folder, ignore=others, dirs_exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as fresh:
            shutil.copytree(source / last, Path(fresh, last))
            os.replace(Path(fresh, last), folder / last)
    return (folder / holding).exists()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``, without a last line torn by a kill; [] where it is missing."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def read_config(folder: Path) -> dict[str, Any]:
    """The config of a run as plain data. Raises RunError where the folder holds no run."""
    try:
        node = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        cure = "Give the folder of a run, or run=last."
        raise RunError(f"{folder} holds no run.", value=str(folder), cure=cure) from None
    assert isinstance(node, dict)
    return node


def read_overrides(folder: Path) -> list[str]:
    """The overrides that were typed for a run; [] where an older run did not record them."""
    path = folder / "overrides.yaml"
    words = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return [str(word) for word in words or ()]
