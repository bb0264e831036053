"""``sweepmore doctor``: what works here, what is missing, and the line that installs it."""

from __future__ import annotations

from sweepmore.command.options import AsJson, Outputs, Storage


def doctor(json: AsJson = False, outputs: Outputs = None, storage: Storage = None) -> None:
    """Check what works here."""
