"""A model that a signal finds within a step.

``model=own model.target=tests.support.slow_model.Slow`` takes it.
``SLOW_NOTES`` names a file: a line when the step has begun, one for each signal whose handler has
ended there, which says whether it raised.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from examples.gru.gru import GRU

# It has no end before that of any test.
SECONDS = 3600.0


def note(what: str) -> None:
    with Path(os.environ["SLOW_NOTES"]).open("a") as file:
        file.write(f"{what}\n")


def note_when_heard(signum: signal.Signals) -> None:
    handler = signal.getsignal(signum)
    assert callable(handler)

    def noted(signum: int, frame: FrameType | None) -> None:
        ended = "raised"
        try:
            handler(signum, frame)
            ended = "remembered"
        finally:
            note(ended)

    signal.signal(signum, noted)


class Slow(GRU):
    """A training step takes an hour; evaluations are as fast as ever."""

    def training_logits(self, contexts: Tensor, noise: torch.Generator) -> Tensor:
        note_when_heard(signal.SIGINT)
        note("in a step")
        time.sleep(SECONDS)
        return super().training_logits(contexts, noise)
