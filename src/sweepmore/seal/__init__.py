"""Looks at a test split, each of which is claimed once and recorded permanently.

Nothing here knows what is evaluated: a look has a fingerprint of the split, a run and a result.
"""

__all__ = ["ledger", "overlap", "receipts", "refusals"]
