"""What a user of the sweeper writes beside the application: a conditional space, an identity."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any


def deeper(config: Any, trial: Any) -> None:
    """Only a large model has layers to choose."""
    if config.model.width == 20:
        trial.suggest_int("+extra", 2, 4)


def signalled(config: Any, trial: Any) -> None:
    """A signal that comes between a trial's being taken and its task."""
    signal.raise_signal(signal.SIGTERM)


def data(config: Any) -> dict[str, str]:
    return {"data": (Path(__file__).parent / "data.txt").read_text()}


def asked_for(config: Any) -> dict[str, Any]:
    """Of what is searched and repeated, too."""
    return {"x": config.x, "seed": config.seed}
