"""Looks at a test split, each of which is claimed once and recorded permanently.

Nothing here knows what is evaluated: a look has a fingerprint of the split, a checkpoint (what
identifies the weights) and a result. An application checks all that can fail, claims the split,
and only then reads it:

>>> from pathlib import Path
>>> from sqlalchemy.engine import make_url
>>> from sweepmore import seal
>>> ledger = seal.Ledger(make_url("sqlite:///looks.db"), Path("looks"))
>>> look = ledger.claim("the split's fingerprint", "the weights' hash", {"run": "mine"})
>>> look = ledger.finish(look, {"error": 0.25})
>>> ledger.claim("the split's fingerprint", "other weights", {"run": "mine"})
Traceback (most recent call last):
    ...
sweepmore.seal.refusals.Refused: The split was looked at before, with another checkpoint: ...

``Items`` recognise the same lines or rows in another split. Each name is imported when it is first
used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweepmore.seal.ledger import Ledger as Ledger
    from sweepmore.seal.overlap import Items as Items
    from sweepmore.seal.overlap import key_of as key_of
    from sweepmore.seal.receipts import Look as Look
    from sweepmore.seal.refusals import Refused as Refused
    from sweepmore.seal.refusals import UsedUp as UsedUp

# The module that holds each name.
_OF = {
    "Items": "sweepmore.seal.overlap",
    "Ledger": "sweepmore.seal.ledger",
    "Look": "sweepmore.seal.receipts",
    "Refused": "sweepmore.seal.refusals",
    "UsedUp": "sweepmore.seal.refusals",
    "key_of": "sweepmore.seal.overlap",
}

__all__ = [*_OF]  # all of them are text


def __getattr__(name: str) -> Any:
    if name in _OF:
        return getattr(importlib.import_module(_OF[name]), name)
    raise AttributeError(f"module 'sweepmore.seal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
