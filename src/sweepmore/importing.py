"""Objects that a setting names by a dotted path."""

from __future__ import annotations

import importlib
from typing import Any


def imported(path: str) -> Any:
    """The object that ``package.module.NAME`` names; its module is imported.

    Raises ImportError with Python's own reason: there is no such module or no such name, or the
    text is not a dotted path.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, TypeError, ValueError) as error:
        raise ImportError(str(error)) from error
