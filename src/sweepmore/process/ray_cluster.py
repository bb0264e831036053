"""A cluster of Ray's, by its public functions; nothing where Ray is not installed or connected."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from sweepmore.process.signals import in_main_thread, signals_raise

# How old an answer about another node's process may be, in seconds.
LOOK_SECONDS = 5.0
# How long a node may take to answer: its first answer is from a Python that it starts (a guess).
ANSWER_SECONDS = 10.0

# Reasons of a node's end that are no failure: expected, preempted, idle (Ray's gcs.proto).
IN_ORDER = (1, 3, 4)

Owner = Mapping[str, Any]  # a process, see process.identity


def connect(init: Mapping[str, Any]) -> None:
    """Connect this process to a cluster, or start one on this machine, once.

    ``init`` is what ``ray.init`` is given. Raises ConnectionError where no cluster answers, which
    Ray itself finds out after minutes, and Interrupted. Ray's makers are told nothing unless the
    environment says so. Workers' output stays in Ray's logs unless ``init`` says otherwise: it
    would break the live line.
    """
    import ray

    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if (address := init.get("address")) not in (None, "auto", "local"):
        _knock(address, 10.0)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with signals_raise():
            ray.init(**{"log_to_driver": False, **init})
    except ray.exceptions.RayError as error:  # such as credentials that are missing
        raise ConnectionError(str(error)) from error
    if in_main_thread():  # Ray's own handler would end this process with exit code 15
        signal.signal(signal.SIGTERM, before)


def is_connected() -> bool:
    """Whether this process is part of a cluster; Ray is not imported for that."""
    ray = sys.modules.get("ray")
    return ray is not None and hasattr(ray, "is_initialized") and bool(ray.is_initialized())


def this_node() -> str | None:
    """The id of the cluster's node on which this process runs; None outside a cluster."""
    if not is_connected():
        return None
    import ray

    return str(ray.get_runtime_context().get_node_id())


def nodes() -> dict[str, Mapping[str, float] | None]:
    """The resources of each node of the cluster by its id; None for a node that is dead."""
    import ray

    return {node["NodeID"]: node["Resources"] if node["Alive"] else None for node in ray.nodes()}


def is_reachable() -> bool:
    """Whether the cluster's head takes connections, by an answer at most a second old.

    While it does not, Ray's own functions block, and Ray ends this process after a minute.
    """
    return is_connected() and _is_reachable(int(time.monotonic()))


@lru_cache(maxsize=1)
def _is_reachable(period: int) -> bool:
    import ray

    try:
        _knock(ray.get_runtime_context().gcs_address, 2.0)
    except ConnectionError:
        return False
    return True


def _knock(address: str, seconds: float) -> None:
    """Raise ConnectionError unless something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(f"nothing answers at {address}") from error


def is_loss_of_cluster(error: object) -> bool:
    """Whether Ray raised this because this process's own node has left the cluster."""
    from ray.exceptions import LocalRayletDiedError

    return isinstance(error, LocalRayletDiedError)


def is_loss_of_node(error: object) -> bool:
    """Whether Ray raised this because a task's node has failed or left."""
    from ray.exceptions import NodeDiedError

    return isinstance(error, NodeDiedError)


def has_left(node: str) -> bool:
    """Whether this node has left the cluster in order: ``ray stop``, preempted, idle.

    Its workers were killed then, without time to hand their trials back.
    """
    if not is_reachable():
        return False
    import ray

    reasons = {each["NodeID"]: each.get("DeathReason") for each in ray.nodes()}
    return reasons.get(node) in IN_ORDER


def is_gone(node: str, owner: Owner, is_alive: Callable[[Owner], bool]) -> bool:
    """Whether a process on this node of the cluster has ended.

    The node is asked by a task that calls ``is_alive`` there; a dead node's processes end with it.
    False where Ray cannot say: the node is another cluster's, or does not answer.
    """
    if not is_reachable():
        return False
    process = tuple(sorted(owner.items()))
    return _is_gone(node, process, is_alive, int(time.monotonic() / LOOK_SECONDS))


@lru_cache(maxsize=256)
def _is_gone(
    node: str, process: tuple[tuple[str, Any], ...], is_alive: Callable[[Owner], bool], period: int
) -> bool:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    listed = nodes()
    if node not in listed:
        return False
    if listed[node] is None:
        return True
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    ask = ray.remote(is_alive).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
    answer = ask.remote(dict(process))
    try:
        return not ray.get(answer, timeout=ANSWER_SECONDS)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(answer, force=True)
        return False
    except ray.exceptions.RayError:  # the node is leaving; the next look finds it dead
        return False
