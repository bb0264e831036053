"""Workers as tasks of one Ray cluster, on this machine or on many."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from sweepmore.errors import ConfigError, StudyError, first_line
from sweepmore.process import ray_cluster
from sweepmore.process.signals import unbroken
from sweepmore.study import crews
from sweepmore.sweep.crew import Ending
from sweepmore.sweep.jobs import Job
from sweepmore.sweep.launcher_jobs import LauncherJobs

# How long the cluster's head may be silent: Ray itself ends this process after 60.
LOST_SECONDS = 20.0


@dataclass
class RayJobs(LauncherJobs):
    """Tasks of a cluster that this process is connected to, see ``connect``."""

    _heard: float = field(default_factory=time.monotonic, init=False)  # of the head, last

    def wait(self, left: Sequence[Job]) -> None:
        super().wait(left)
        if ray_cluster.is_reachable():
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > LOST_SECONDS:
            raise self._lost()

    def adapt(self, launcher: DictConfig, name: str) -> None:
        """Have a dead worker replaced by the sweep, which counts its death, and not by Ray."""
        with read_write(launcher), open_dict(launcher):
            launcher.ray.remote.max_retries = 0
            launcher.ray.remote.setdefault("name", name)

    def ending(self, job: Job) -> Ending | None:
        """A worker that was lost with its node is replaced, and has not died by what it does."""
        if ray_cluster.is_loss_of_cluster(job.error):
            raise self._lost()
        ended = super().ending(job)
        lost = ended is Ending.DIED and ray_cluster.is_loss_of_node(job.error)
        return Ending.STOPPED if lost else ended

    def said(self, error: Exception) -> str:
        # after the first sentence, Ray says on 400 characters how to read its logs
        return super().said(error).partition(". ")[0]

    def _lost(self) -> StudyError:
        """Hand back what runs, for its workers end with the cluster; say so."""
        with unbroken():
            crews.ask_to_stop(self.study, self._name)
            crews.give_back(self.study, self._name)
        return StudyError(
            "The Ray cluster has ended, or this machine has left it; its trials were handed back.",
            value=self._name,
            cure="Start it again, then rerun the same command to continue.",
        )


def connect(launcher: DictConfig) -> None:
    """Connect this process to the cluster of ``hydra.launcher.ray.init``, or start one here.

    The launcher would do so once for each job, all at the same time, and could not connect to one
    that exists: it gives that a size of memory, which Ray refuses. Raises ConfigError where nobody
    answers, or where the cluster has no room for a worker.
    """
    init = _plain(launcher.ray.init)
    if str(init.get("address")).startswith("ray://"):
        raise ConfigError(
            f"hydra.launcher.ray.init.address={init['address']} is for Ray's client, through which "
            "a sweep cannot follow its workers.",
            value=init["address"],
            cure="Run the command on a machine of the cluster, with address=auto.",
        )
    try:
        ray_cluster.connect(init)
    except (ConnectionError, ValueError, RuntimeError, TypeError) as error:
        raise ConfigError(
            f"Ray cannot be used with hydra.launcher.ray.init={init}: {first_line(error)}",
            value=init,
            cure="Start a cluster with ray start --head, or give address=local to have one started "
            "on this machine.",
        ) from error
    _check_room(_plain(launcher.ray.remote), init.get("address"))


def _plain(node: Any) -> dict[str, Any]:
    plain = OmegaConf.to_container(node, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _check_room(remote: Mapping[str, Any], address: str | None) -> None:
    """Check that a node has what a worker takes, one CPU unless told otherwise; only a warning
    where others may join."""
    takes = {"CPU": remote.get("num_cpus", 1), **(remote.get("resources") or {})}
    takes["GPU"] = remote.get("num_gpus") or 0
    there = [node for node in ray_cluster.nodes().values() if node is not None]
    if any(all(node.get(k, 0) >= (v or 0) for k, v in takes.items()) for node in there):
        return
    words = ", ".join(f"{key} {value:g}" for key, value in takes.items() if value)
    problem = f"No node of the Ray cluster has what hydra.launcher.ray.remote asks for: {words}"
    if address not in (None, "local"):
        print(f"warning: {problem}; the workers wait until one joins", file=sys.stderr)
        return
    raise ConfigError(
        f"{problem}.",
        value=words,
        cure="Ask for less, or name a larger cluster by hydra.launcher.ray.init.address.",
    )
