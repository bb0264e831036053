"""Processes and the machine they run on: who they are, how they stop, what they leave unchanged.

The lowest room. It knows nothing of runs, studies or databases: signals, process identities,
Slurm's queue, and a process's own global state.
"""

__all__ = [
    "identity",
    "invocation",
    "locks",
    "machine",
    "memory",
    "placement",
    "ray_cluster",
    "signals",
    "slurm",
    "state",
]
