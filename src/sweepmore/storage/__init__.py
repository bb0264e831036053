"""The database of studies: its URL, how it is opened, and how an outage is waited for.

What is private in Optuna is used in ``optuna_internals`` alone.
"""

__all__ = ["opening", "optuna_internals", "patience", "urls"]
