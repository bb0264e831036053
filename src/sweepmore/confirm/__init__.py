"""After the search: the best configurations are trained again with fresh seeds, and one wins.

``confirmation`` is what ``confirm.py`` does; ``rounds`` says what a confirmation consists of.
"""

__all__ = ["confirmation", "retrain", "rounds"]
