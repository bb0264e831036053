"""What a run leaves behind: metrics, weights, figures, samples, its result and objectives."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from nplm.app.beginning import Run
from nplm.config import Objective
from nplm.result import Progress, Result, finite_perplexity, result_json
from nplm.run_files import WEIGHTS
from nplm.vocabulary import Unit
from sweepmore.runs import files
from sweepmore.runs.tracking import Tracker

if TYPE_CHECKING:
    from nplm.data import Splits

# Samples per run: enough for the share that appears in train to mean something (guess).
SAMPLES = 100


def metrics_row(progress: Progress, unit: Unit) -> dict[str, Any]:
    """Return what is logged at a report: losses in nats per token and, for words, the perplexity of
    dev."""
    row = {key: value for key, value in dataclasses.asdict(progress).items() if value is not None}
    if unit.of_words and progress.dev_loss is not None:
        row["dev_perplexity"] = finite_perplexity(progress.dev_loss)
    if progress.minibatch_loss is not None:
        if progress.minibatch_loss > 0:  # exactly 0 where float32 is certain of every token
            row["log10_loss"] = math.log10(progress.minibatch_loss)
        row["steps_per_second"] = progress.step / progress.seconds
    return row


def save(run: Run, tracker: Tracker, result: Result) -> list[str]:
    """Write weights, figures, samples and ``result.json``. Returns the samples.

    A trial draws no figures, and sends no media to W&B: its cost beside training would double
    (benchmarks/overhead.py). Pages and the dashboard draw them when somebody looks.
    """
    from nplm import sampling
    from nplm.weights import save_weights

    config, splits, record, trial = run.config, run.splits, run.record, run.trial
    samples: list[str] = []
    # a diverged run has no weights worth keeping
    if result.status != "diverged":
        save_weights(record.folder, result.model, splits, result.dev_loss)
    if result.status == "ok":
        samples = sampling.sample(
            sampling.Trained(result.model, splits.vocabulary), SAMPLES, config.seed
        )
        files.write_atomic(record.folder / "samples.txt", "\n".join(samples) + "\n")
        if trial is None:
            from nplm import run_figures

            title = (
                f"{splits.name} · {config.model.name} · {result.steps:,} steps "
                f"· n = {len(splits.train):,} train, {len(splits.dev):,} dev"
            )
            figures = run_figures.draw_run(record.folder, result.model, splits.vocabulary, title)
            tracker.images(figures)
            tracker.table("samples", ["sample"], [[line] for line in samples])
            tracker.model(record.folder / WEIGHTS, about_weights(splits, result.dev_loss))
    # the result: for the study, for W&B, and last for the record, which it finishes
    summary = result_json(config, splits, result)
    if trial is not None:
        fields = ("parameters", "steps", "seconds", "dev_loss", "train_loss")
        alone = {"net_dev_loss": summary["mix"]["net_dev_loss"]} if "mix" in summary else {}
        trial.set("result", {key: summary[key] for key in fields} | alone)
    tracker.summarise({"result": summary})
    tracker.status = result.status
    record.finish(summary)
    return samples


def about_weights(splits: Splits, dev_loss: float | None) -> dict[str, Any]:
    """Return what W&B shows of weights; they hold no line of the data."""
    return {"dev_loss": dev_loss, "data": splits.name, "fingerprint": splits.fingerprint}


def failed(run: Run, error: Exception) -> Result:
    """Return the result of a run that raised ``error``: it has no losses."""
    from nplm.result import Result

    state, reason = run.state, f"{type(error).__name__}: {error}"
    return Result("error", reason, state.model, state.step, state.seconds, None, None)


def objective(wanted: Objective, run: Run, result: Result) -> float:
    """Return the run's value of the objective ``wanted``; infinite where it has none."""
    if wanted.field == "seconds_to":
        assert wanted.level is not None
        seconds = [
            row["seconds"]
            for row in run.record.rows()
            if row.get("dev_loss") is not None and row["dev_loss"] <= wanted.level
        ]
        return float(seconds[0]) if seconds else math.inf
    value = result_json(run.config, run.splits, result)[wanted.field]
    return math.inf if result.status == "diverged" or value is None else float(value)
