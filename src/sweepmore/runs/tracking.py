"""Weights & Biases beside the record: a mirror that may fail at any time without harm to the run.

It is offline by default and needs no account. ``wandb leet`` shows offline runs, ``wandb sync``
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
from sweepmore.runs.names import searched_name
from sweepmore.runs.provenance import code, code_diff, code_folder, remote
from sweepmore.runs.record import Record, Status
from sweepmore.trial import SweepTrial
from sweepmore.typed import dotted, setting
from sweepmore.wording import last_parts

# Offline data are flushed every 15 s by default (wandb 0.31): a killed run would lose as much.
FLUSH_SECONDS = 2.0
# Variables by which an enclosing W&B run would claim or rename ours: only the config decides.
INHERITED = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_NAME", "WANDB_RUN_GROUP", "WANDB_SWEEP_ID",
             "WANDB_MODE", "WANDB_DIR", "WANDB_JOB_TYPE", "WANDB_SERVICE")  # fmt: skip
# The key under which a trial keeps the URL of its W&B run, or the command that uploads it. It is
# sorted before all others, of which the dashboard shows six without scrolling.
TRIAL_KEY = "W&B"


# What W&B takes of a tag and of a run's name (its server refuses longer ones).
LONGEST_TAG, LONGEST_NAME = 64, 128
# Jobs whose process runs the application's code; others only report on a run.
COMPUTING = ("train", "trial")
# Tags of a run that has not ended (it may have been killed), and of one that another has replaced.
UNFINISHED, SUPERSEDED = "unfinished", "superseded"


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
    artifact: Literal["auto", "never"] = setting(
        "auto", "auto: weights of single runs and confirmed winners | never"
    )


@dataclass(frozen=True)
class About:
    """What W&B is told of a run when it begins.

    ``config`` is nested, because W&B cannot filter by keys with dots. ``best`` says of a curve
    whether its least or its greatest value counts. The job type ``trial`` is for one run of many:
    it starts faster, without W&B's list of installed packages and without the run's console.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    best: Mapping[str, Literal["min", "max"]] = field(default_factory=dict)
    job_type: str = "train"
    name: str | None = None  # None: the folder's


def of_trial(
    about: About, settings: Tracking, trial: SweepTrial, seed: Any = None
) -> tuple[About, Tracking]:
    """Return what W&B is told of a trial's run: whose it is, and what sets it apart from others.

    ``study.settings`` in its config is equal for all seeds of a configuration, in the search and
    in its confirmation: W&B groups by it.
    """
    params = [f"{name}={value}" for name, value in sorted(last_parts(trial.params).items())]
    study = {"name": trial.study, "trial": trial.root, "attempt": trial.attempt, "seed": seed,
             "settings": " ".join(params)}  # fmt: skip
    config = {**about.config, "study": study}
    tags = (*settings.tags, searched_name(trial.study))
    told = dataclasses.replace(about, config=config, job_type="trial", name=trial.title)
    return told, dataclasses.replace(settings, group=trial.study, tags=tags)


@dataclass
class Tracker:
    """One W&B run, or none. At the first failure it warns, and then does nothing more."""

    _run: Any = None
    status: Status = "ok"  # the tag that the W&B run ends with, unless an exception ends it
    sends_artifacts: bool = True
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
        """Log a row of metrics at its ``step``.

        After a kill, a run repeats its last steps to the same bits. Online, W&B would warn that it
        has them; offline, it gets them twice.
        """

        def send(run: Any) -> None:
            if row["step"] >= run.starting_step:
                run.log(dict(row), step=row["step"])

        self._attempt(send)

    def summarise(self, summary: Mapping[str, Any]) -> None:
        """Set values of the run's summary, which is nested as its config is."""
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

    def model(self, path: Path, metadata: Mapping[str, Any]) -> None:
        """Log a file of weights as an artifact, unless ``wandb.artifact=never``.

        Its file is uploaded from where it lies, without a copy in W&B's cache.
        """

        def send(run: Any) -> None:
            import wandb

            artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=dict(metadata))
            artifact.add_file(str(path), policy="immutable", skip_cache=True)
            run.log_artifact(artifact)

        if self.sends_artifacts:
            self._attempt(send)

    def finish(self, status: Status) -> None:
        """End the W&B run with a tag for its status; all but ``ok`` and ``pruned`` are failures."""

        def end(run: Any) -> None:
            kept = tuple(tag for tag in run.tags or () if tag != UNFINISHED)
            run.tags = (*kept, status)
            run.finish(exit_code=0 if status in ("ok", "pruned") else 1)

        self._attempt(end)

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
def track(settings: Tracking, record: Record, about: About) -> Iterator[Tracker]:
    """Yield a tracker whose W&B run ends with the block.

    It ends as ``error`` if the block raises, else with the tracker's status. Files go into the
    record's folder.
    """
    tracker = Tracker(_open(settings, record, about), sends_artifacts=settings.artifact == "auto")
    try:
        yield tracker
    except BaseException:
        tracker.finish("error")
        raise
    tracker.finish(tracker.status)


def _open(settings: Tracking, record: Record, about: About) -> Any | None:
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
        run = wandb.init(
            mode=mode,
            project=settings.project,
            entity=settings.entity,
            group=settings.group,
            tags=_tags(settings.tags, UNFINISHED),
            notes=settings.notes,
            job_type=about.job_type,
            id=record.tracked_id,
            # a resumed run continues the W&B run; offline, wandb sync joins the two
            resume="allow" if record.resumed else None,
            name=(about.name or record.folder.name)[:LONGEST_NAME],
            config=dict(about.config),
            dir=str(record.folder),
            reinit="create_new",
            settings=_fast(about.job_type),
        )
        _define(run, about.best)
        if about.job_type in COMPUTING:
            _keep_diff(run, about.config)
        return run
    except Exception as error:
        if settings.mode == "online":  # no network, or the key was refused: record for later
            warnings.warn(
                f"wandb.mode=online failed, recording offline: {first_line(error)}", stacklevel=2
            )
            offline = dataclasses.replace(settings, mode="offline")
            return _open(offline, record, about)
        _warn(error)
        return None


def _fast(job_type: str) -> Any:
    """Return W&B's settings. A trial keeps its start short and its files few."""
    import wandb

    return wandb.Settings(
        **(_git() if job_type in COMPUTING else {}),
        console="wrap" if job_type == "train" else "off",
        silent=True,
        init_timeout=30,
        x_transaction_log_flush_interval=FLUSH_SECONDS,
        # that list takes a third of init's time; a trial's record has versions anyway
        x_save_requirements=job_type != "trial",
    )


def _git() -> dict[str, Any]:
    """Return what W&B shows of the code's checkout, wherever the command is typed.

    W&B would start Git three times for every run. Whoever sets its variables about Git is obeyed.
    """
    settings: dict[str, Any] = {"git_root": str(code_folder())}
    if any(name.startswith(("WANDB_GIT_", "WANDB_DISABLE_GIT")) for name in os.environ):
        return settings
    return {**settings, "git_commit": code()["commit"], "git_remote_url": remote()}


def _tags(*groups: Sequence[str] | str) -> list[str]:
    """Return tags that W&B accepts, each once."""
    tags = [tag for group in groups for tag in ([group] if isinstance(group, str) else group)]
    return list(dict.fromkeys(tag[:LONGEST_TAG] for tag in tags if tag))


def _define(run: Any, best: Mapping[str, Literal["min", "max"]]) -> None:
    """Let all curves be over ``step``, and the summary keep the best of some."""
    run.define_metric("*", step_metric="step")
    for key, summary in best.items():
        run.define_metric(key, step_metric="step", summary=summary)


def _keep_diff(run: Any, config: Mapping[str, Any]) -> None:
    """Keep uncommitted changes of code where ``wandb restore`` looks for them: offline, W&B's own
    record of Git has the commit alone (0.31)."""
    diff = "" if run.settings.disable_git else code_diff([*dotted(config).values()])
    if diff:
        path = Path(run.dir, "diff.patch")
        path.write_text(diff, encoding="utf-8")
        run.save(str(path), base_path=run.dir, policy="now")


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
