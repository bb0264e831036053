"""Earlier looks at a run's test split, as the ledger knows them: whether another one is allowed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nplm.app.tested_run import Asked
from nplm.config import from_hydra
from sweepmore.errors import ConfigError, UserError
from sweepmore.runs import record as records
from sweepmore.seal.ledger import Ledger
from sweepmore.seal.receipts import Look
from sweepmore.seal.refusals import Refused, UsedUp

if TYPE_CHECKING:
    from sweepmore.seal.overlap import Items

# How to go on without a second look, by data.order.
PRACTICE = {
    "shuffled": "Any other data.seed is another split: search and confirm with that one.",
    "contiguous": "data.order=contiguous has the same test lines with every data.seed: search and "
    "confirm with data.order=shuffled.",
}
USED_UP = "These data have no unseen split left: search and confirm on other data."
# What people type to leave a setting out; none of these is a reason for another look.
NO_REASONS = ("", "none", "null", "no", "false")


def check_reason(reason: str | None, complete: bool) -> None:
    """Raise ConfigError if ``another_look`` gives no reason, or contradicts ``complete``."""
    if complete and reason is not None:
        cure = "complete=true finishes a look, another_look begins one: give only one of them."
        raise ConfigError("complete and another_look contradict each other.", value=None, cure=cure)
    if reason is not None and reason.strip().lower() in NO_REASONS:
        cure = 'Say why the split is looked at again: another_look="…"; it is recorded permanently.'
        raise ConfigError(f"another_look={reason!r} gives no reason.", value=reason, cure=cure)


def mend(ledger: Ledger, asked: Asked) -> None:
    """Restore missing rows from receipts and missing receipts from rows, and say so.

    A failure is ignored, because printing a recorded number needs no writable ledger.
    """
    with contextlib.suppress(UserError):
        for message in ledger.mend(asked.fingerprint):
            print(message, file=sys.stderr)


def finished(looks: Sequence[Look], checkpoint: str) -> Look | None:
    """Return the last look with these weights that has a result, or None."""
    done = [look for look in looks if look.result is not None and look.checkpoint == checkpoint]
    return done[-1] if done else None


def is_pending(looks: Sequence[Look], checkpoint: str) -> bool:
    """Whether the last look at the split is a claim of these weights that has no result yet."""
    return bool(looks) and looks[-1].result is None and looks[-1].checkpoint == checkpoint


def may_look(ledger: Ledger, asked: Asked, reason: str | None, items: Items | None = None) -> Look:
    """Return the look that will be claimed.

    Raises Refused if the split, or its lines under another fingerprint, had a look and no
    ``reason`` for another is given. The message adds how to practise without a second look.
    """
    try:
        return ledger.check(asked.fingerprint, asked.checkpoint, reason, items)
    except UsedUp as refused:
        cure = f"{refused.cure}\n  {USED_UP}"
        raise UsedUp(refused.problem, value=refused.value, cure=cure) from refused
    except Refused as refused:
        order = from_hydra(records.read_config(asked.folder)).data.order
        cure = f"{refused.cure}\n  Only practising? {PRACTICE[order]}"
        raise Refused(refused.problem, value=refused.value, cure=cure) from refused
