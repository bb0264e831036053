"""Hydra sweeps with Optuna: pruned, resumed, confirmed.

A task asks for its trial with ``current_trial()`` and reports to it. ``load_study(NAME)`` reads
what a sweep found. ``register`` tells pages and terminals about an application. ``seal`` lets a
test split be looked at once. Each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweepmore import seal as seal
    from sweepmore.compose.studies import load_study as load_study
    from sweepmore.study.application import Application as Application
    from sweepmore.study.application import Command as Command
    from sweepmore.study.application import Commands as Commands
    from sweepmore.study.application import register as register
    from sweepmore.study.records import StudyRecord as StudyRecord
    from sweepmore.study.records import TrialRecord as TrialRecord
    from sweepmore.trial import SweepTrial as SweepTrial
    from sweepmore.trial import current_trial as current_trial

    __version__: str

# The module that holds each name.
_OF = {
    "Application": "sweepmore.study.application",
    "Command": "sweepmore.study.application",
    "Commands": "sweepmore.study.application",
    "StudyRecord": "sweepmore.study.records",
    "SweepTrial": "sweepmore.trial",
    "TrialRecord": "sweepmore.study.records",
    "current_trial": "sweepmore.trial",
    "load_study": "sweepmore.compose.studies",
    "register": "sweepmore.study.application",
}

__all__ = ["__version__", "seal", *_OF]  # all of them are text


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sweepmore")
    if name == "seal":
        return importlib.import_module("sweepmore.seal")
    if name in _OF:
        return getattr(importlib.import_module(_OF[name]), name)
    raise AttributeError(f"module 'sweepmore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
