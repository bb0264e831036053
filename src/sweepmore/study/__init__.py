"""One study: the attributes that it keeps, its trials as attempts at slots, and how they count.

``attributes`` is the schema, ``view`` is the study at one moment, ``slots`` changes it.
"""

__all__ = [
    "application",
    "attempts",
    "attributes",
    "edges",
    "loading",
    "noise",
    "parts",
    "records",
    "seeds",
    "slots",
    "verdict",
    "view",
    "winners",
]
