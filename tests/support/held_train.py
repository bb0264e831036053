"""train.py, which at a report of step ``HELD_AT`` waits until the file ``HELD_UNTIL`` is there.

Where that step is evaluated its row is on the disk then, but not its checkpoint: that is of the
evaluation before, for here each has one, however fast they come.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A file that a test has forgotten; no test needs it.
PATIENCE = 600.0


def environment(step: int, gate: Path) -> dict[str, str]:
    return {"HELD_AT": str(step), "HELD_UNTIL": str(gate)}


def waiting(gate: Path) -> set[int]:
    """The processes that wait there, or have."""
    path = gate.with_suffix(".waiting")
    return {int(line) for line in path.read_text().split()} if path.exists() else set()


def wait_for(gate: Path) -> None:
    with gate.with_suffix(".waiting").open("a") as file:
        file.write(f"{os.getpid()}\n")
    end = time.monotonic() + PATIENCE
    while not gate.exists():
        assert time.monotonic() < end, f"nobody has made {gate}"
        time.sleep(0.01)


def holding(fit: Callable[..., Any], at: int, gate: Path) -> Callable[..., Any]:
    """``training.fit``, of which one report waits."""

    def held(config: Any, splits: Any, report: Callable[..., Any], **more: Any) -> Any:
        def reported(progress: Any) -> Any:
            answer = report(progress)
            if progress.step == at:
                wait_for(gate)
            return answer

        return fit(config, splits, reported, **more)

    return held


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    import train
    from nplm import training
    from nplm.app import for_hydra
    from sweepmore.compose import cli

    training.CHECKPOINT_SECONDS = -1.0
    at, gate = int(os.environ["HELD_AT"]), Path(os.environ["HELD_UNTIL"])
    setattr(training, "fit", holding(training.fit, at, gate))  # noqa: B010  # in this process
    for_hydra.register()
    cli.hydra_app(train.main)
