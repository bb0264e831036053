"""Weights & Biases beside the record: a mirror that may fail at any time and change nothing.

Offline by default: no account, no question. ``wandb leet`` shows such runs, ``wandb sync``
uploads them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sweepmore.errors import first_line
from sweepmore.runs.record import Record
from sweepmore.typed import setting

# Offline data are flushed every 15 s by default (wandb 0.31): a killed run would lose as much.
FLUSH_SECONDS = 2.0
# Variables by which an enclosing W&B run would claim or rename ours; the config alone decides.
INHERITED = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_NAME", "WANDB_RUN_GROUP", "WANDB_SWEEP_ID",
             "WANDB_MODE", "WANDB_DIR", "WANDB_JOB_TYPE", "WANDB_SERVICE")  # fmt: skip


@dataclass(frozen=True)
class Tracking:
    """Where and how a run is mirrored to W&B."""

    mode: Literal["offline", "online", "disabled"] = setting("offline", "offline | online | …")
    project: str = setting("sweepmore", "W&B project")
    entity: str | None = setting(None, "W&B user or team; null: the account's default")
    group: str | None = setting(None, "runs shown together; a study sets it")
    tags: tuple[str, ...] = setting((), "labels to filter by")
    notes: str | None = setting(None, "free text")


@dataclass
class Tracker:
    """One W&B run, or none. After the first failure it warns once and does nothing more."""

    _run: Any = None
    exit_code: int = 0  # what the W&B run ends with, unless an exception ends it
    _lost: bool = field(default=False)

    @property
    def run_id(self) -> str | None:
        return None if self._run is None else str(self._run.id)

    def log(self, row: Mapping[str, Any]) -> None:
        self._attempt(lambda run: run.log(dict(row), step=row["step"]))

    def summarise(self, summary: Mapping[str, Any]) -> None:
        self._attempt(lambda run: run.summary.update(dict(summary)))

    def images(self, files: Mapping[str, Path]) -> None:
        def send(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(path)) for name, path in files.items()})

        self._attempt(send)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        def send(run: Any) -> None:
            import wandb

            run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

        self._attempt(send)

    def finish(self, exit_code: int) -> None:
        self._attempt(lambda run: run.finish(exit_code=exit_code))

    def _attempt(self, action: Callable[[Any], object]) -> None:
        if self._run is None or self._lost:
            return
        try:
            action(self._run)
        except Exception as error:  # whatever W&B raises, the run's own record is complete
            self._lost = True
            _warn(error)
            if _is_dead(error):
                _forget_service()


@contextlib.contextmanager
def track(
    settings: Tracking, record: Record, config: Mapping[str, Any], job_type: str = "train"
) -> Iterator[Tracker]:
    """A tracker whose W&B run ends with the block: exit code 1 if the block raises, else its own.

    ``config`` is flat (dotted keys). Files go into the record's folder. The job type ``trial`` is
    for one of many: it starts faster, without W&B's list of installed packages.
    """
    tracker = Tracker(_open(settings, record, config, job_type))
    try:
        yield tracker
    except BaseException:
        tracker.finish(exit_code=1)
        raise
    tracker.finish(tracker.exit_code)


def _open(
    settings: Tracking, record: Record, config: Mapping[str, Any], job_type: str
) -> Any | None:
    if settings.mode == "disabled":
        return None
    for name in INHERITED:
        os.environ.pop(name, None)
    try:
        import wandb

        mode: Literal["online", "offline"] = "online" if settings.mode == "online" else "offline"
        if mode == "online" and not wandb.login(prompt=False):
            warnings.warn(
                "wandb.mode=online, but no API key is known: recording offline. "
                "`wandb login`, then `wandb sync`, uploads the run.",
                stacklevel=2,
            )
            mode = "offline"
        suffix = f"-r{record.attempt}" if record.attempt else ""
        return wandb.init(
            mode=mode,
            project=settings.project,
            entity=settings.entity,
            group=settings.group,
            tags=list(settings.tags) or None,
            notes=settings.notes,
            job_type=job_type,
            id=record.run_id + suffix,
            name=record.folder.name + suffix,
            config=dict(config),
            dir=str(record.folder),
            reinit="create_new",
            settings=wandb.Settings(
                console="off",
                silent=True,
                init_timeout=30,
                x_transaction_log_flush_interval=FLUSH_SECONDS,
                # the list of installed packages is a third of init; a trial's record has versions
                x_save_requirements=job_type != "trial",
            ),
        )
    except Exception as error:
        if settings.mode == "online":  # no network, or a key that is refused: keep it for later
            warnings.warn(
                f"wandb.mode=online failed, recording offline: {first_line(error)}", stacklevel=2
            )
            offline = dataclasses.replace(settings, mode="offline")
            return _open(offline, record, config, job_type)
        _warn(error)
        return None


def offline_runs(folder: Path) -> list[Path]:
    """Of a run, each of its attempts, and of the repeats of a trial one level below it, as the
    folders that ``wandb sync`` takes; empty ones have nothing to upload."""
    found = [*folder.glob("wandb/offline-run-*"), *folder.glob("*/wandb/offline-run-*")]
    return sorted(run for run in found if any(run.glob("*.wandb")))


def is_synced(run: Path) -> bool:
    """Whether ``wandb sync`` left its mark (wandb 0.31), which it does once all has arrived."""
    return any(run.glob("*.wandb.synced"))


def _is_dead(error: Exception) -> bool:
    """Whether W&B's service process is gone, which its client tells in several ways."""
    return isinstance(error, ConnectionError) or type(error).__module__.startswith("wandb.sdk.mail")


def _forget_service() -> None:
    """Take a dead service out of W&B's exit handlers: it would raise there, below our last line."""
    import wandb

    with contextlib.suppress(Exception, SystemExit):
        wandb.teardown()


def _warn(error: Exception) -> None:
    warnings.warn(f"W&B failed, the run goes on without it: {first_line(error)}", stacklevel=3)
