"""Python imports this at every start where this folder is first on PYTHONPATH."""

import os
import sys
from pathlib import Path

if "FAULT_AT" in os.environ:
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    from tests.support.fault_shim.shim import Faults, install

    install(Faults.from_environment())
