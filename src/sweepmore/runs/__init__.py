"""The folder of one run: what is written there, what it is called, and how it is found again.

A run here is any program's; nothing in this room knows of studies in a database. The mirror to
Weights & Biases is part of a run, and may fail without harm to it.
"""

__all__ = ["files", "finding", "names", "offline", "places", "provenance", "record", "tracking"]
