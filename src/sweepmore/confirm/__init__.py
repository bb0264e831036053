"""After the search: the best configurations are trained again with fresh seeds, and one wins.

``confirmation`` is the story that ``sweepmore confirm`` tells; ``rounds`` decides which
configurations run with which seeds, ``retrain`` runs them, and ``winner`` compares the results.
``challenge`` is the story of ``sweepmore challenge``: ``campaign`` knows the champion and the
seeds, ``snapshot`` keeps code, and ``seeded`` trains one seed after another.
"""

__all__ = [
    "campaign",
    "challenge",
    "challenge_checks",
    "challenge_printing",
    "confirmation",
    "retrain",
    "rounds",
    "seeded",
    "snapshot",
]
