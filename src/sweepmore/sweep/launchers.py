"""Hydra's launchers that sweepmore knows by name, and what their own keys mean for its workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweepmore.errors import ConfigError
from sweepmore.process.machine import cores

# What ``hydra.launcher._target_`` is.
JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
RAY = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
RAY_AWS = "hydra_plugins.hydra_ray_launcher.ray_aws_launcher.RayAWSLauncher"


def check_launcher(launcher: Mapping[str, Any]) -> None:
    """Raise ConfigError for a ``hydra.launcher`` by which no worker would begin."""
    target = launcher.get("_target_")
    if target == RAY_AWS:
        raise ConfigError(
            "hydra/launcher=ray_aws copies the code to machines that it rents, and no worker there "
            "reaches the study.",
            value=target,
            cure="Start the machines with `ray up`, and run the command on the first of them with "
            "hydra/launcher=ray hydra.launcher.ray.init.address=auto.",
        )
    if target == JOBLIB and launcher["n_jobs"] == 0:
        cure = "Give 1 or more, or -1 for one on each core."
        raise ConfigError("hydra.launcher.n_jobs=0 starts no worker.", value=0, cure=cure)


def own_keys(launcher: str) -> str:
    """The keys by which a launcher says what one of its jobs gets, for a message."""
    if launcher == RAY:
        return "hydra.launcher.ray.remote.num_gpus and num_cpus"
    return "hydra.launcher.gpus_per_node and cpus_per_task"


def joblibs_workers(n_jobs: int) -> int:
    """How many processes joblib runs at a time: -1 is one for each core, -2 one less."""
    return n_jobs if n_jobs > 0 else max(1, cores() + 1 + n_jobs)


def runs_in_parent(launcher: Mapping[str, Any]) -> bool:
    """Whether ``hydra.launcher`` would run its jobs in the parent's process, as joblib does one.

    It would do so in a thread, which no signal reaches; the parent itself is a worker then.
    """
    return launcher.get("_target_") == JOBLIB and joblibs_workers(launcher["n_jobs"]) == 1
