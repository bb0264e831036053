"""Train once: ``python train.py model.emb=10 model.hidden=200``; ``--help`` lists the settings.

Config → splits → fit → the run's folder, from top to bottom.
"""

from __future__ import annotations

try:
    from sweepmore.compose import cli
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: run `make setup`, then `. .venv/bin/activate`"
    ) from None

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from nplm.app import application
from nplm.config import Config, Objective, from_hydra, register_defaults, to_plain
from sweepmore.compose.composing import as_typed, composing
from sweepmore.errors import ConfigError, Interrupted, RunError, UserError
from sweepmore.process.signals import stop_signals
from sweepmore.runs import record as records
from sweepmore.runs.record import Record
from sweepmore.runs.tracking import Tracker, track
from sweepmore.study.application import register
from sweepmore.trial import SweepTrial, current_trial
from sweepmore.typed import dotted

if TYPE_CHECKING:  # torch and matplotlib are imported once a run is certain to begin
    from sqlalchemy.engine import URL

    from nplm.app.looks import Looks
    from nplm.data import Splits
    from nplm.training import Progress, Result, State
    from nplm.vocabulary import Unit

ROOT = Path(__file__).resolve().parent
PACKAGES = ("sweepmore", "torch", "numpy", "hydra-core", "omegaconf", "wandb", "safetensors")
# Enough for the share that stands in train to mean something; the first few are printed.
SAMPLES, PRINTED = 100, 5


@register(application.describe)
def main(node: DictConfig) -> float | list[float]:
    """Train as ``node`` says; returns the objectives, ``inf`` where the run diverged."""
    config, folder = from_hydra(node), Path(HydraConfig.get().runtime.output_dir)
    resumed = config.resume is not None
    if config.resume is not None:
        cli.remove_empty(folder)  # Hydra made it for a new run; this one has its own
        config, folder = interrupted_run(config.resume)
    elif config.start_from is not None:  # "last" would soon be another run
        source = records.find_run(config.start_from, ROOT / "outputs", "model.safetensors")
        config = dataclasses.replace(config, start_from=str(source))
    from nplm import console
    from nplm.checkpoint import LAST
    from nplm.data import load_splits

    trial = current_trial()  # None outside a sweep
    splits = load_splits(config.data, config.model.block_size)
    if trial is not None and trial.attempt:
        resumed = records.take_over(trial.earlier, folder, LAST)
    if config.overfit_batch:
        from nplm.minibatches import first_batch

        config, splits = first_batch(config, splits)
    state = starting_state(config, splits, folder if resumed else None)
    if trial is None:
        console.header(config, splits, state, str(looks_had(splits, HydraConfig.get().sweeper)))
    else:
        trial.name(*map(str, config.objective))

    # a signal is an answer to fit's question, not an exception in the middle of a file
    with stop_signals() as stop:
        record = open_record(folder, config, splits, state, resumed, trial)
        with follow(config, record, trial) as tracker:
            try:
                result = train(config, splits, state, record, tracker, trial, stop)
                samples = keep(record, tracker, config, splits, result, trial)
            except Exception as error:
                record.finish(result_json(config, splits, failed(state, error)))
                raise
            tracker.exit_code = 0 if result.status in ("ok", "pruned") else 1
    if trial is None:
        console.answer(config, splits, result, samples[:PRINTED])
        console.ways_on(folder, config, result)
    if result.signum is not None:
        raise Interrupted(result.signum)
    values = [objective(one, config, splits, result, record) for one in config.objective]
    return values[0] if len(values) == 1 else values


def looks_had(splits: Splits, sweeper: DictConfig) -> Looks:
    """The looks that are known here, by receipt or by row, of this split and of other ones of the
    same data; ``sweeper`` says where a sweep with these settings has its database."""
    from nplm.app.looks import looks_at

    return looks_at(splits, ROOT / "sweeps" / "looks", ledger_of(sweeper))


def ledger_of(sweeper: DictConfig) -> URL | None:
    """None where there is no database. One that a sweep would refuse is no error here: a single
    run has no use for it."""
    written = OmegaConf.to_container(sweeper, resolve=False)
    assert isinstance(written, dict)
    outputs = ROOT / str(written.get("outputs") or "outputs")
    if written.get("storage") is None and not (outputs / "studies.db").exists():
        return None  # no reason to load what reads one
    from sweepmore.storage.urls import place_of, storage_url

    with contextlib.suppress(UserError), composing():
        place = place_of(written.get("storage"), sweeper.get("storage"))
        return storage_url(place.written, place.resolved, outputs)
    return None


def interrupted_run(name: str) -> tuple[Config, Path]:
    """Config and folder of the run that ``resume=name`` means; it brings all its settings."""
    from nplm.checkpoint import LAST

    words = as_typed(HydraConfig.get().overrides.task)
    others = [word for word in words if not word.startswith("resume=")]
    if others:
        raise ConfigError(
            f"resume={name} takes no other settings, but {' '.join(others)} was given.",
            value=others,
            cure="Drop them, or begin a new run from its weights with start_from=FOLDER.",
        )
    folder = records.find_run(name, ROOT / "outputs", holding=str(LAST), stopped=True)
    result = folder / "result.json"
    if result.exists() and (status := records.read_json(result)["status"]) not in records.STOPPED:
        raise RunError(
            f"{folder} is not interrupted: its status is {status}.",
            value=status,
            cure="Begin a new run from its weights with start_from=FOLDER.",
        )
    if (pid := records.runs_elsewhere(folder)) is not None:
        raise RunError(
            f"{folder} is still running, as process {pid}.",
            value=pid,
            cure="Stop that process first; Ctrl-C saves its state.",
        )
    if not (folder / LAST).exists():
        raise RunError(
            f"{folder} ended before its first checkpoint.",
            value=str(folder),
            cure="There is nothing to continue: remove the folder and begin the run anew.",
        )
    return from_hydra(records.read_config(folder)), folder


def starting_state(config: Config, splits: Splits, interrupted: Path | None) -> State:
    """Fresh, from another run's weights, or from the training state of an interrupted run."""
    from nplm import checkpoint, training

    if interrupted is not None:
        return training.resume(config, splits, checkpoint.load_last(interrupted))
    if config.start_from is None:
        return training.begin(config, splits)
    weights = checkpoint.load(Path(config.start_from) / checkpoint.WEIGHTS)
    return training.begin(config, splits, weights)


def open_record(
    folder: Path,
    config: Config,
    splits: Splits,
    state: State,
    resumed: bool,
    trial: SweepTrial | None,
) -> Record:
    """The run's folder with its provenance; one that was interrupted is cut at its state."""
    if resumed:  # a counting model takes no step, and reports step 0 again
        return records.reopen(folder, last_step=state.step or -1)
    facts: dict[str, Any] = {"seed": config.seed, "data": about_data(splits)}
    if config.start_from is not None:
        source = Path(config.start_from)
        facts["start_from"] = {
            "folder": str(source),
            "run_id": records.read_json(source / "provenance.json")["run_id"],
        }
    overrides = as_typed(HydraConfig.get().overrides.task)
    return records.create(
        folder,
        config=to_plain(config),
        overrides=overrides,
        facts=facts,
        packages=PACKAGES,
        run_id=None if trial is None else trial.run_id,
        attempt=0 if trial is None else trial.attempt,
    )


@contextmanager
def follow(config: Config, record: Record, trial: SweepTrial | None) -> Iterator[Tracker]:
    """The run's W&B mirror: a study's trials are one group."""
    settings, about, job_type = config.wandb, dotted(to_plain(config)), "train"
    if trial is not None:
        settings = dataclasses.replace(settings, group=trial.study)
        about |= {"study": trial.study, "trial": trial.root, "attempt": trial.attempt}
        job_type = "trial"
    with track(settings, record, about, job_type) as tracker:
        if trial is not None and tracker.run_id is not None:
            trial.set("wandb_id", tracker.run_id)
        yield tracker


def train(
    config: Config,
    splits: Splits,
    state: State,
    record: Record,
    tracker: Tracker,
    trial: SweepTrial | None,
    stop: Callable[[], int | None],
) -> Result:
    """Fit, and hand on every report: to the record, to W&B, to the terminal or the study."""
    from nplm import console, training

    with (
        record.metrics() as log,
        console.following(config, splits, state) if trial is None else console.silent() as show,
    ):
        prunable = config.objective == (Objective(),)  # dev_loss alone: what is reported here

        def report(progress: Progress) -> bool:
            row = metrics_row(progress, splits.vocabulary.unit)
            evaluated = progress.dev_loss is not None
            log(row, sync=evaluated)
            if evaluated or trial is None:  # W&B takes 700 bytes a row: a trial's file stays small
                tracker.log(row)
            show(progress)
            if trial is None or not prunable or progress.dev_loss is None or not progress.step:
                return False
            return trial.report(progress.step, progress.dev_loss)

        return training.fit(config, splits, report, state=state, folder=record.folder, stop=stop)


def metrics_row(progress: Progress, unit: Unit) -> dict[str, Any]:
    """What is logged at a report; losses in nats per token, of words dev's perplexity, too."""
    row = {key: value for key, value in dataclasses.asdict(progress).items() if value is not None}
    if unit.of_words and progress.dev_loss is not None:
        row["dev_perplexity"] = finite_perplexity(progress.dev_loss)
    if progress.minibatch_loss is not None:
        if progress.minibatch_loss > 0:  # exactly 0 where float32 is certain of every token
            row["log10_loss"] = math.log10(progress.minibatch_loss)
        row["steps_per_second"] = progress.step / progress.seconds
    return row


def keep(
    record: Record,
    tracker: Tracker,
    config: Config,
    splits: Splits,
    result: Result,
    trial: SweepTrial | None,
) -> list[str]:
    """Weights, figures, samples and ``result.json``; returns the samples.

    A trial has a small loss figure only, which the dashboard shows, and sends no media to W&B:
    with them it would cost twice as much beside its training (benchmarks/overhead.py).
    """
    from nplm import run_figures, sampling, training

    samples: list[str] = []
    if result.status != "diverged":
        training.save_weights(record.folder, result.model, splits, result.dev_loss)
    if result.status == "ok":
        title = f"{splits.name} · {config.model.name} · {result.steps:,} steps"
        samples = sampling.sample(
            sampling.Trained(result.model, splits.vocabulary), SAMPLES, config.seed
        )
        records.write_atomic(record.folder / "samples.txt", "\n".join(samples) + "\n")
        if trial is None:
            title += f" · n = {len(splits.train):,} train, {len(splits.dev):,} dev"
            figures = run_figures.draw_run(record.folder, result.model, splits.vocabulary, title)
            tracker.images(figures)
            tracker.table("samples", ["sample"], [[line] for line in samples])
        else:
            figure = run_figures.draw_trial(record.folder, title)
            if figure is not None:
                trial.attach(figure)
    summary = result_json(config, splits, result)
    if trial is not None:
        kept = ("parameters", "steps", "seconds", "dev_loss", "train_loss")
        alone = {"net_dev_loss": summary["mix"]["net_dev_loss"]} if "mix" in summary else {}
        trial.set("result", {key: summary[key] for key in kept} | alone)
    tracker.summarise(dotted(summary))
    record.finish(summary)
    return samples


def failed(state: State, error: Exception) -> Result:
    """What is known of a run that raised."""
    from nplm.training import Result

    reason = f"{type(error).__name__}: {error}"
    return Result("error", reason, state.model, state.step, state.seconds, None, None)


def objective(
    wanted: Objective, config: Config, splits: Splits, result: Result, record: Record
) -> float:
    """One value for the study; ``inf`` where the run has none."""
    if wanted.field == "seconds_to":
        assert wanted.level is not None
        reached = [
            row["seconds"]
            for row in record.rows()
            if row.get("dev_loss") is not None and row["dev_loss"] <= wanted.level
        ]
        return float(reached[0]) if reached else math.inf
    value = result_json(config, splits, result)[wanted.field]
    return math.inf if result.status == "diverged" or value is None else float(value)


def result_json(config: Config, splits: Splits, result: Result) -> dict[str, Any]:
    """``result.json``, as docs/result.schema.json publishes it; losses in nats per token."""
    return {
        "status": result.status,
        "reason": result.reason,
        "dev_loss": result.dev_loss,
        "dev_perplexity": None if result.dev_loss is None else finite_perplexity(result.dev_loss),
        "train_loss": result.train_loss,
        "steps": result.steps,
        "seconds": result.seconds,
        "steps_per_second": result.steps / result.seconds if result.seconds else None,
        "parameters": result.model.size,
        "seed": config.seed,
        "data": about_data(splits),
        **about_mix(result),
    }


def finite_perplexity(loss: float) -> float | None:
    """None where no float holds it: JSON knows no infinity."""
    from nplm.vocabulary import perplexity

    return found if math.isfinite(found := perplexity(loss)) else None


def about_mix(result: Result) -> dict[str, Any]:
    """Of a net that was mixed with counting: counting's weight and order, and the net alone."""
    from nplm.mixture import Mixture

    if not isinstance(result.model, Mixture):
        return {}
    mix = {
        "weight": result.model.weight,
        "order": result.model.ngram.shape.order,
        "net_dev_loss": result.net_dev_loss,
        "net_train_loss": result.net_train_loss,
    }
    return {"mix": mix}


def about_data(splits: Splits) -> dict[str, Any]:
    """Which split a result belongs to; ``dev_in_train`` counts dev lines that stand in train."""
    return {
        "name": splits.name,
        "fingerprint": splits.fingerprint,
        "train_examples": len(splits.train),
        "dev_examples": len(splits.dev),
        "dev_in_train": splits.dev_in_train,
    }


if __name__ == "__main__":
    cli.require("torch")  # of the extra [nplm]
    register_defaults()
    cli.hydra_app(main)
