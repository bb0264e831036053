"""What identifies a study's data, and a warning where its trials begin with foreign weights."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nplm import data
from nplm.app.averaged import refuse_ensemble
from nplm.config import from_hydra
from nplm.lineage import of_another_split, start_record
from nplm.run_files import WEIGHTS
from sweepmore.compose.cli import ROOT_VARIABLE
from sweepmore.errors import UserError
from sweepmore.runs.finding import find_run


def identity(node: Mapping[str, Any]) -> dict[str, str]:
    """Return what a study's question holds of the data: the fingerprint of the split.

    Warns where its trials begin with the weights of a run on another split. Raises ConfigError for
    ``ensemble``.
    """
    config = from_hydra(node)
    refuse_ensemble(config, "a sweep trains")
    of_data, start_from = data.identity(node), config.start_from
    if start_from is not None:
        outputs = Path(os.environ.get(ROOT_VARIABLE, ".")) / "outputs"
        with contextlib.suppress(UserError):  # a run that is gone is each trial's own failure
            source = find_run(start_from, outputs, WEIGHTS)
            if warning := of_another_split(start_record(source), of_data["fingerprint"]):
                warnings.warn(warning, stacklevel=2)
    return of_data
