"""Lightning in a sweep: report a metric, stop where the study prunes, resume a killed trial.

trainer = Trainer(callbacks=[Report("val/loss"), ModelCheckpoint(folder, save_last=True)])
trainer.fit(model, ckpt_path=last_checkpoint(folder))
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from sweepmore.errors import ConfigError
from sweepmore.trial import current_trial


class Report(Callback):
    """Reports ``monitor`` after each validation of a fit; outside a sweep it does nothing.

    The step is the trainer's ``global_step``. Only the trial's own process may report: under
    ddp_spawn nothing is reported or pruned, and the sweep refuses the processes of plain ddp.
    Raises ConfigError where no metric of that name is logged.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self.process = os.getpid()  # a fork inherits the trial, whose database it must not use

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trial = current_trial() if os.getpid() == self.process else None
        if trial is None or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        value = trainer.callback_metrics.get(self.monitor)
        if value is None:
            cure = f"Logged are: {', '.join(sorted(trainer.callback_metrics)) or 'none'}."
            problem = f"Report monitors {self.monitor}, which nothing logs."
            raise ConfigError(problem, value=self.monitor, cure=cure)
        if trial.report(trainer.global_step, value):
            trainer.should_stop = True


def last_checkpoint(folder: str | Path) -> str | None:
    """Return the newest whole ``last*.ckpt`` of a trial, for ``ckpt_path``; None before the first.

    It is looked for in ``folder``, the run's own, then in those of the trial's earlier attempts.
    Lightning moves the file into place, which a kill can cut short on another filesystem.
    """
    trial = current_trial()
    for place in (Path(folder), *(trial.earlier if trial is not None else ())):
        whole = [path for path in place.rglob("last*.ckpt") if zipfile.is_zipfile(path)]
        if whole:
            return str(max(whole, key=lambda path: path.stat().st_mtime))
    return None
