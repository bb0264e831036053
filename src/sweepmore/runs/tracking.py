"""Weights & Biases beside the record: a mirror that may fail at any time without harm to the run.

It is offline by default and needs no account. ``wandb leet`` shows offline runs, ``wandb sync``
uploads them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
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
# Variables by which an enclosing W&B run would claim or rename ours: only the config decides.
INHERITED = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_NAME", "WANDB_RUN_GROUP", "WANDB_SWEEP_ID",
             "WANDB_MODE", "WANDB_DIR", "WANDB_JOB_TYPE", "WANDB_SERVICE")  # fmt: skip
# The key under which a trial keeps the URL of its W&B run, or the command that uploads it. It is
# sorted before all others, of which the dashboard shows six without scrolling.
TRIAL_KEY = "W&B"


@dataclass(frozen=True)
class Tracking:
    """Where and how a run is mirrored to W&B."""

    mode: Literal["offline", "online", "disabled"] = setting(
        "offline", "offline | online | disabled"
    )
    project: str = setting("sweepmore", "W&B project")
    entity: str | None = setting(None, "W&B user or team; null: the account's default")
    group: str | None = setting(None, "runs that W&B shows together; a study sets it")
    tags: tuple[str, ...] = setting((), "labels to filter runs by")
    notes: str | None = setting(None, "free text")


@dataclass
class Tracker:
    """One W&B run, or none. At the first failure it warns, and then does nothing more."""

    _run: Any = None
    exit_code: int = 0  # what the W&B run ends with, unless an exception ends it
    _lost: bool = field(default=False)

    @property
    def run_id(self) -> str | None:
        """The W&B run's id; None without a run."""
        return None if self._run is None else str(self._run.id)

    @property
    def url(self) -> str | None:
        """Where the W&B run is shown; None offline and without a run."""
        url: list[str | None] = []
        self._attempt(lambda run: url.append(None if run.offline else run.url))
        return url[0] if url else None

    def log(self, row: Mapping[str, Any]) -> None:
        """Log a row of metrics at its ``step``."""
        self._attempt(lambda run: run.log(dict(row), step=row["step"]))

    def summarise(self, summary: Mapping[str, Any]) -> None:
        """Set values of the run's summary."""
        self._attempt(lambda run: run.summary.update(dict(summary)))

    def images(self, files: Mapping[str, Path]) -> None:
        """Log image files by name."""

        def send(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(path)) for name, path in files.items()})

        self._attempt(send)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table."""

        def send(run: Any) -> None:
            import wandb

            run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

        self._attempt(send)

    def finish(self, exit_code: int) -> None:
        """End the W&B run; any ``exit_code`` but 0 marks it as failed."""
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
    """Yield a tracker whose W&B run ends with the block.

    It ends with exit code 1 if the block raises, else with the tracker's own. ``config`` is flat
    (dotted keys). Files go into the record's folder. The job type ``trial`` is for one run of many:
    it starts faster, without W&B's list of installed packages.
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
                "To upload the run, use `wandb login`, then `wandb sync`.",
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
                # that list takes a third of init's time; a trial's record has versions anyway
                x_save_requirements=job_type != "trial",
            ),
        )
    except Exception as error:
        if settings.mode == "online":  # no network, or the key was refused: record for later
            warnings.warn(
                f"wandb.mode=online failed, recording offline: {first_line(error)}", stacklevel=2
            )
            offline = dataclasses.replace(settings, mode="offline")
            return _open(offline, record, config, job_type)
        _warn(error)
        return None


def offline_runs(folder: Path) -> list[Path]:
    """The folders of a run that ``wandb sync`` takes: one for each attempt that logged anything.

    Those of a trial's repeats, one level below it, are included.
    """
    folders = [*folder.glob("wandb/offline-run-*"), *folder.glob("*/wandb/offline-run-*")]
    return sorted(run for run in folders if any(run.glob("*.wandb")))


def sync_command(folder: Path) -> str | None:
    """Return the command that uploads what a trial recorded offline; None where it did not.

    That of a trial with repeats uploads all of its runs.
    """
    for runs in ("wandb/offline-run-*", "*/wandb/offline-run-*"):
        if any(folder.glob(f"{runs}/*.wandb")):
            return f"wandb sync {shlex.quote(str(folder))}/{runs}"
    return None


def is_synced(run: Path) -> bool:
    """Whether ``wandb sync`` left its mark (wandb 0.31), once everything was uploaded."""
    return any(run.glob("*.wandb.synced"))


def _is_dead(error: Exception) -> bool:
    """Whether W&B's service process is gone; its client says so by several exceptions."""
    return isinstance(error, ConnectionError) or type(error).__module__.startswith("wandb.sdk.mail")


def _forget_service() -> None:
    """Remove a dead service from W&B's exit handlers, where it would print a traceback."""
    import wandb

    with contextlib.suppress(Exception, SystemExit):
        wandb.teardown()


def _warn(error: Exception) -> None:
    warnings.warn(f"W&B failed, the run continues without it: {first_line(error)}", stacklevel=3)
