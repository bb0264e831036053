"""A sweep while it runs: a parent that plans and watches, and workers that train the trials.

The Hydra plugin enters by ``parent``; a process that is a worker continues in ``worker``. Parent
and workers share nothing but the study's storage and its folder.
"""

__all__ = [
    "best_trials",
    "command_lines",
    "context",
    "failures",
    "live_line",
    "noise_words",
    "note",
    "parent",
    "preview",
    "processes",
    "sparkline",
    "trials_csv",
]
