"""After the search: the best configurations are trained again with fresh seeds, and one wins.

``confirmation`` is the story that ``sweepmore confirm`` tells; ``rounds`` decides which
configurations run with which seeds, ``retrain`` runs them, and ``winner`` compares the results.
"""

__all__ = ["confirmation", "retrain", "rounds"]
