"""``sweepmore show``: what a study found."""

from __future__ import annotations

from sweepmore.command.options import Outputs, Storage, StudyName


def show(study: StudyName, outputs: Outputs = None, storage: Storage = None) -> None:
    """Print the best trials of a study."""
