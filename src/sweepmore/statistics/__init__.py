"""Numbers about numbers: intervals of means, sequential tests, importance of parameters.

Pure functions over sequences and arrays. They know neither studies nor runs.
"""

__all__ = ["directions", "effects", "importance", "intervals", "sequential"]
