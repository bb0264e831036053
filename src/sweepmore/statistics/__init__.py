"""Numbers about numbers: intervals of means, importance of parameters, directions.

Pure functions over sequences and arrays. They know neither studies nor runs.
"""

__all__ = ["directions", "effects", "importance", "intervals"]
