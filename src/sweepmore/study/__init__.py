"""One study: the attributes that it keeps, its trials as attempts at slots, and how they count.

``attributes`` is the schema, ``view`` is the study at one moment, ``slots`` changes it, and
``campaigns`` are the challenges against its winner, ``championship`` says how they stand.
"""

__all__ = [
    "application",
    "attempts",
    "attributes",
    "campaigns",
    "championship",
    "crews",
    "edges",
    "loading",
    "noise",
    "parts",
    "records",
    "seeds",
    "slots",
    "terms",
    "verdict",
    "view",
    "winners",
]
