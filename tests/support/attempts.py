"""Attempts at trials as a study shows them, without a study."""

from __future__ import annotations

from typing import Any

from optuna.trial import TrialState

from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import TrialAttributes


def attempt(number: int, slot: int, state: str = "COMPLETE", nth: int = 0, **more: Any) -> Attempt:
    facts: dict[str, Any] = {
        "number": number,
        "slot": slot,
        "root": slot,
        "attempt": nth,
        "deaths": 0,
        "state": TrialState[state],
        "reason": None,
        "status": None,
        "values": (1.0,) if state == "COMPLETE" else None,
        "params": {},
        "owner": None,
        "started": None,
        "seconds": None,
    }
    kept = TrialAttributes.read(more.pop("attrs", {}))
    return Attempt(**{**facts, "attrs": kept, **more})
