"""How a run begins: its command line, its first state, its folder and its W&B mirror."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from nplm import lineage
from nplm.app import averaged
from nplm.app.application import CURVES
from nplm.config import Config, from_hydra, to_plain
from nplm.result import about_data
from nplm.run_files import WEIGHTS
from sweepmore.compose import cli
from sweepmore.compose.composing import as_typed, resolved
from sweepmore.errors import ConfigError, RunError
from sweepmore.runs import files, finding
from sweepmore.runs import record as records
from sweepmore.runs.record import Record
from sweepmore.runs.tracking import TRIAL_KEY, About, Tracker, of_trial, track
from sweepmore.trial import SweepTrial

if TYPE_CHECKING:  # torch is imported once a run is certain to begin
    from nplm.data import Splits
    from nplm.state import State

# Settings that say nothing about what a run computes: W&B is not told of them.
UNTOLD = ("wandb", "resume")
PACKAGES = ("sweepmore", "torch", "numpy", "hydra-core", "omegaconf", "wandb", "safetensors")


@dataclass(frozen=True)
class Asked:
    """What a command asks for: a config, and the run's ``folder``, which holds an earlier attempt
    where ``resumed``."""

    config: Config
    folder: Path
    resumed: bool


@dataclass(frozen=True)
class Run:
    """A run that has begun: it has a record in its folder, and a ``trial`` where a sweep started
    it."""

    config: Config
    splits: Splits
    state: State
    record: Record
    trial: SweepTrial | None


def asked_for(node: DictConfig, outputs: Path, trial: SweepTrial | None) -> Asked:
    """Read the composed config ``node``. ``resume`` takes config and folder from the run that it
    names, ``ensemble`` the config from its members; a later attempt at a trial continues from the
    checkpoint of an earlier one.

    Raises ConfigError and RunError for values and runs that cannot be used.
    """
    config, folder = from_hydra(resolved(node)), Path(HydraConfig.get().runtime.output_dir)
    if trial is not None:
        averaged.refuse_ensemble(config, "a sweep trains")
    if config.resume is not None:
        cli.remove_empty(folder)  # Hydra made it for a new run, but this run has a folder
        return Asked(*_interrupted(config.resume, outputs), resumed=True)
    if config.start_from is not None:  # "last" would soon mean another run
        source = finding.find_run(config.start_from, outputs, WEIGHTS)
        config = dataclasses.replace(config, start_from=str(source))
    if config.ensemble is not None:
        config = averaged.of_trained(config, folder, outputs)
    return Asked(config, folder, resumed=trial is not None and _taken_over(trial, folder))


def _taken_over(trial: SweepTrial, folder: Path) -> bool:
    from nplm.checkpoint import LAST

    return trial.attempt > 0 and records.take_over(trial.earlier, folder, LAST)


def _interrupted(name: str, outputs: Path) -> tuple[Config, Path]:
    """Return config and folder of the run that ``resume=name`` means; all settings are that
    run's."""
    from nplm.checkpoint import LAST

    words = as_typed(HydraConfig.get().overrides.task)
    others = [word for word in words if not word.startswith("resume=")]
    if others:
        raise ConfigError(
            f"resume={name} takes no other settings, but {' '.join(others)} was given.",
            value=others,
            cure="Leave them out, or begin a new run from its weights with start_from=FOLDER.",
        )
    folder = finding.find_run(name, outputs, holding=str(LAST), stopped=True)
    result = folder / "result.json"
    if result.exists() and (status := files.read_json(result)["status"]) not in finding.STOPPED:
        raise RunError(
            f"{folder} is not interrupted: its status is {status}.",
            value=status,
            cure="Begin a new run from its weights with start_from=FOLDER.",
        )
    if (pid := finding.runs_elsewhere(folder)) is not None:
        raise RunError(
            f"{folder} is still running, as process {pid}.",
            value=pid,
            cure="Stop that process first; Ctrl-C saves its state.",
        )
    if not (folder / LAST).exists():
        raise RunError(
            f"{folder} ended before its first checkpoint.",
            value=str(folder),
            cure="There is nothing to continue: remove the folder and start the run again.",
        )
    return from_hydra(records.read_config(folder)), folder


def of_one_batch(asked: Asked, splits: Splits) -> tuple[Asked, Splits]:
    """Return config and splits of a run that overfits its first minibatch alone."""
    from nplm.minibatches import first_batch

    config, splits = first_batch(asked.config, splits)
    return dataclasses.replace(asked, config=config), splits


def starting_state(asked: Asked, splits: Splits) -> State:
    """Return the first state: fresh, with another run's weights, or as an interrupted run left it.

    Raises RunError for a checkpoint that cannot be read or does not fit, ConfigError as ``begin``.
    """
    from nplm import checkpoint
    from nplm.state import begin, resume

    config = asked.config
    if asked.resumed:
        return resume(config, splits, checkpoint.load_last(asked.folder), asked.folder)
    if config.start_from is None:
        return begin(config, splits, folder=asked.folder)
    weights = checkpoint.load(Path(config.start_from) / WEIGHTS)
    return begin(config, splits, weights)


def open_record(asked: Asked, splits: Splits, state: State, trial: SweepTrial | None) -> Record:
    """Create the record of a new run with its provenance, or open that of an interrupted run, whose
    metrics are cut after the step of its state."""
    config = asked.config
    if asked.resumed:  # a counting model takes no steps, and reports step 0 again
        return records.reopen(asked.folder, last_step=state.step or -1)
    facts: dict[str, Any] = {"seed": config.seed, "data": about_data(splits)}
    if config.start_from is not None:
        facts["start_from"] = lineage.start_record(Path(config.start_from))
    if (start := averaged.started_from(config, asked.folder)) is not None:
        facts["start_from"] = start
    return records.create(
        asked.folder,
        config=to_plain(config),
        overrides=as_typed(HydraConfig.get().overrides.task),
        facts=facts,
        packages=PACKAGES,
        run_id=None if trial is None else trial.run_id,
        attempt=0 if trial is None else trial.attempt,
    )


@contextmanager
def mirrored(run: Run) -> Iterator[Tracker]:
    """Yield the run's W&B mirror; the trials of a study form a group."""
    about = About(
        {key: value for key, value in to_plain(run.config).items() if key not in UNTOLD},
        best={curve.key: curve.best for curve in CURVES.drawn},
    )
    sweep = HydraConfig.get().runtime.choices.get("sweeps")
    settings = run.config.wandb
    settings = dataclasses.replace(settings, tags=(*settings.tags, *([sweep] if sweep else ())))
    if (trial := run.trial) is not None:
        about, settings = of_trial(about, settings, trial, run.config.seed)
    with track(settings, run.record, about) as tracker:
        if trial is not None and tracker.run_id is not None:
            trial.set("wandb_id", tracker.run_id)
            if tracker.url is not None:
                trial.set(TRIAL_KEY, tracker.url)
        yield tracker
