"""Objects that a setting names by a dotted path."""

from __future__ import annotations

import importlib
from typing import Any


def imported(path: str) -> Any:
    """What ``package.module.NAME`` names, after importing its module.

    Raises ImportError with Python's own reason, whatever it is: no such module, no such name, or a
    text that is no path.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, TypeError, ValueError) as error:
        raise ImportError(str(error)) from error
