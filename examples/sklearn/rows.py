"""The rows that the search may see, and those that look.py reads once."""

from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
TEST_SHARE = 0.2


def search_rows() -> Rows:
    """Return features and classes of the rows for training and for cross-validation."""
    x, _, y, _ = _split()
    return x, y


def test_rows() -> Rows:
    """Return features and classes of the rows that were held out."""
    _, x, _, y = _split()
    return x, y


def _split() -> Any:
    x, y = load_breast_cancer(return_X_y=True)
    return train_test_split(x, y, test_size=TEST_SHARE, stratify=y, random_state=0)
