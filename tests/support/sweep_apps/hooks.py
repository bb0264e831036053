"""What a user of the sweeper writes beside the application: a conditional space, an identity."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


def deeper(config: Any, trial: Any) -> None:
    """Only a large model has layers to choose."""
    if config.model.width == 20:
        trial.suggest_int("+extra", 2, 4)


def unless_fixed(config: Any, trial: Any) -> None:
    """As the stock plugin documents it."""
    if "y" not in trial.user_attrs:
        trial.suggest_int("y", 5, 6)


def whether_or_not(config: Any, trial: Any) -> None:
    trial.suggest_int("y", 5, 6)


def signalled(config: Any, trial: Any) -> None:
    """A signal that comes between a trial's being taken and its task."""
    signal.raise_signal(signal.SIGTERM)


def data(config: Any) -> dict[str, str]:
    return {"data": (Path(__file__).parent / "data.txt").read_text()}


def asked_for(config: Any) -> dict[str, Any]:
    """Of what is searched and repeated, too."""
    return {"x": config.x, "seed": config.seed}


class Events(Callback):
    """Each of Hydra's events is a line: what it was, and whether the folders that it names exist.

    A callback's own object lives in one process, so its state says nothing of a sweep.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._write("multirun_start", None)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self._write("multirun_end", Path(str(config.hydra.sweep.dir)))

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._write("job_start", Path(config.hydra.runtime.output_dir))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        assert job_return.status is JobStatus.COMPLETED
        self._write("job_end", Path(config.hydra.runtime.output_dir))

    def _write(self, event: str, folder: Path | None) -> None:
        with (Path(__file__).parent / "events.jsonl").open("a") as file:
            row = [event, None if folder is None else str(folder), folder and folder.is_dir()]
            file.write(json.dumps(row) + "\n")
