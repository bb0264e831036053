"""Names of files and folders that several modules look for, without loading torch for them."""

from __future__ import annotations

# The weights in a run's folder; ``checkpoint`` writes and reads them.
WEIGHTS = "model.safetensors"
# The committed folder of receipts, below that of the scripts: always read, wherever looks= points.
LOOKS = "sweeps/looks"
