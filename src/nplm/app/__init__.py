"""What the root scripts do with Hydra and sweepmore: the one room of ``nplm`` that may import them.

A run's beginning and ending, and what each script reads and prints. The scripts themselves only
tell the story.
"""

__all__ = [
    "additions",
    "application",
    "averaged",
    "beginning",
    "companions",
    "earlier_looks",
    "ending",
    "for_hydra",
    "keeping_look",
    "look_report",
    "looks",
    "members",
    "rates",
    "report",
    "run_checks",
    "tested_run",
    "widths",
    "writing",
]
