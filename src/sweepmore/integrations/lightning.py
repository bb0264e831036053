"""Lightning in a sweep: report a metric, stop where the study prunes, resume a killed trial.

trainer = Trainer(callbacks=[Report("val/loss"), ModelCheckpoint(folder, save_last=True)])
trainer.fit(model, ckpt_path=last_checkpoint(folder))
"""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from sweepmore.errors import ConfigError
from sweepmore.trial import current_trial


class Report(Callback):
    """Reports ``monitor`` after each validation; outside a sweep it does nothing.

    The step is the trainer's ``global_step``. Of several devices the first one reports, and all
    stop together. Raises ConfigError where no metric of that name is logged.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trial = current_trial()
        if trial is None or trainer.sanity_checking:
            return
        value = trainer.callback_metrics.get(self.monitor)
        if value is None:
            cure = f"Logged are: {', '.join(sorted(trainer.callback_metrics)) or 'none'}."
            problem = f"Report monitors {self.monitor}, which nothing logs."
            raise ConfigError(problem, value=self.monitor, cure=cure)
        stop = trainer.is_global_zero and trial.report(trainer.global_step, value)
        stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        trainer.should_stop = trainer.should_stop or stop


def last_checkpoint(folder: str | Path) -> str | None:
    """Return the newest ``last*.ckpt`` of a trial, for ``ckpt_path``; None before the first.

    It is looked for in ``folder``, the run's own, then in those of the trial's earlier attempts.
    """
    trial = current_trial()
    for place in (Path(folder), *(trial.earlier if trial is not None else ())):
        found = sorted(place.rglob("last*.ckpt"), key=lambda path: path.stat().st_mtime)
        if found:
            return str(found[-1])
    return None
