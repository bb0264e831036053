"""A sweep while it runs: a parent that plans and watches, and workers that train the trials.

``parent`` is the way in, from the Hydra plugin. Parent and workers share nothing but the study's
storage and its folder.
"""

__all__ = ["command_lines", "context", "note", "parent", "processes", "trials_csv"]
