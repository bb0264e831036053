"""What a run leaves behind: its log, weights, figures, samples, its result and objectives."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from nplm.app.beginning import Run
from nplm.config import Objective
from nplm.result import Progress, Result, finite_perplexity, result_json
from nplm.vocabulary import Unit
from sweepmore.runs import files
from sweepmore.runs.tracking import Tracker
from sweepmore.typed import dotted

# Enough for the share that appears in train to mean something.
SAMPLES = 100


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


def keep(run: Run, tracker: Tracker, result: Result) -> list[str]:
    """Weights, figures, samples and ``result.json``; returns the samples.

    A trial has a small loss figure only, which the dashboard shows, and sends no media to W&B:
    with them it would cost twice as much beside its training (benchmarks/overhead.py).
    """
    from nplm import run_figures, sampling
    from nplm.weights import save_weights

    config, splits, record, trial = run.config, run.splits, run.record, run.trial
    samples: list[str] = []
    if result.status != "diverged":
        save_weights(record.folder, result.model, splits, result.dev_loss)
    if result.status == "ok":
        title = f"{splits.name} · {config.model.name} · {result.steps:,} steps"
        samples = sampling.sample(
            sampling.Trained(result.model, splits.vocabulary), SAMPLES, config.seed
        )
        files.write_atomic(record.folder / "samples.txt", "\n".join(samples) + "\n")
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


def failed(run: Run, error: Exception) -> Result:
    """What is known of a run that raised."""
    from nplm.result import Result

    state, reason = run.state, f"{type(error).__name__}: {error}"
    return Result("error", reason, state.model, state.step, state.seconds, None, None)


def objective(wanted: Objective, run: Run, result: Result) -> float:
    """One value for the study; ``inf`` where the run has none."""
    if wanted.field == "seconds_to":
        assert wanted.level is not None
        reached = [
            row["seconds"]
            for row in run.record.rows()
            if row.get("dev_loss") is not None and row["dev_loss"] <= wanted.level
        ]
        return float(reached[0]) if reached else math.inf
    value = result_json(run.config, run.splits, result)[wanted.field]
    return math.inf if result.status == "diverged" or value is None else float(value)
