"""The language model of the lecture: ``from nplm import Config, load_splits, fit, sample``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nplm.config import AdamW, Config, Data, Model, Sgd
    from nplm.data import load_splits
    from nplm.sampling import Trained, ensemble, explain, sample
    from nplm.training import fit

_HOMES = {
    **dict.fromkeys(("AdamW", "Config", "Data", "Model", "Sgd"), "nplm.config"),
    "load_splits": "nplm.data",
    "fit": "nplm.training",
    **dict.fromkeys(("Trained", "ensemble", "explain", "sample"), "nplm.sampling"),
}
__all__ = ["AdamW", "Config", "Data", "Model", "Sgd", "Trained", "ensemble", "explain", "fit",
           "load_splits", "sample"]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``train.py --help`` must not wait for torch.

    Raises AttributeError for any other name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'nplm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
