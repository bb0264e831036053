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

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from nplm.app import application, beginning, for_hydra
from nplm.app.beginning import Run
from nplm.config import Objective
from sweepmore.errors import Interrupted
from sweepmore.process.signals import stop_signals
from sweepmore.study.application import register
from sweepmore.trial import current_trial

if TYPE_CHECKING:  # torch and matplotlib are imported once a run is certain to begin
    from nplm.result import Progress, Result
    from sweepmore.runs.tracking import Tracker

ROOT = Path(__file__).resolve().parent
# How many samples a run prints.
PRINTED = 5


@register(application.describe)
def main(node: DictConfig) -> float | list[float]:
    """Train as the config ``node`` says. Returns the objectives; infinite for a diverged run."""
    trial = current_trial()  # None outside a sweep
    # what is asked for: config, data and first state; nothing is written yet
    asked = beginning.asked_for(node, ROOT / "outputs", trial)
    from nplm import console
    from nplm.app import ending, looks
    from nplm.data import load_splits
    from nplm.result import result_json

    splits = load_splits(asked.config.data, asked.config.model.block_size)
    if asked.config.overfit_batch:
        asked, splits = beginning.of_one_batch(asked, splits)
    config = asked.config
    state = beginning.starting_state(asked, splits)
    if trial is None:
        recorded = looks.recorded_looks(splits, ROOT, HydraConfig.get().sweeper)
        console.header(config, splits, state, str(recorded))
    else:
        trial.name(*map(str, config.objective))

    # train and record; fit asks for a signal at each step, so that none interrupts a write
    with stop_signals() as stop:
        record = beginning.open_record(asked, splits, state, trial)
        run = Run(config, splits, state, record, trial)
        with beginning.mirrored(run) as tracker:
            try:
                result = train(run, tracker, stop)
                samples = ending.save(run, tracker, result)
            except Exception as error:
                record.finish(result_json(config, splits, ending.failed(run, error)))
                raise
    if trial is None:
        console.answer(config, splits, result, samples[:PRINTED])
        console.ways_on(record.folder, config, result)
    if result.signum is not None:
        raise Interrupted(result.signum)
    values = [ending.objective(wanted, run, result) for wanted in config.objective]
    return values[0] if len(values) == 1 else values


def train(run: Run, tracker: Tracker, stop: Callable[[], int | None]) -> Result:
    """Fit the model. Each report goes to the record, to W&B, and to the terminal or the study."""
    from nplm import console, training
    from nplm.app.ending import metrics_row

    config, splits, state, trial = run.config, run.splits, run.state, run.trial
    with (
        run.record.metrics() as log,
        console.following(config, splits, state) if trial is None else console.silent() as show,
    ):
        prunable = config.objective == (Objective(),)  # by dev_loss alone, which is reported here

        def report(progress: Progress) -> bool:
            row = metrics_row(progress, splits.vocabulary.unit)
            evaluated = progress.dev_loss is not None
            log(row, sync=evaluated)
            if evaluated or trial is None:  # W&B takes 700 bytes a row, so a trial sends few
                tracker.log(row)
            show(progress)
            if trial is None or not prunable or progress.dev_loss is None or not progress.step:
                return False
            return trial.report(progress.step, progress.dev_loss)

        folder = run.record.folder
        return training.fit(config, splits, report, state=state, folder=folder, stop=stop)


if __name__ == "__main__":
    cli.require("torch")  # of the group nplm
    for_hydra.register()
    cli.hydra_app(main)
