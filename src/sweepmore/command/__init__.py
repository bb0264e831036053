"""The command ``sweepmore``: a file a verb, nothing but words in and text or JSON out.

It runs in the folder of any Hydra application, without torch and without W&B. ``main`` joins the
verbs, ``options`` are those that they share, and ``application`` reads what the application says of
itself.
"""

__all__ = ["main"]
