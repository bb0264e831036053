"""A cluster of Ray's in a network namespace of its own, for it listens on more than loopback.

Run as a program, this file is the cluster: it starts nodes, and kills them, as lines on its input
say. Each node but the head has a host name of its own, so that a parent sees its processes as those
of another machine: by Ray and by the storage alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.helpers import ROOT

CLONE_NEWUTS = 0x04000000  # linux/sched.h
# 80 MB for each node's store, Ray's least; nothing of a sweep's goes there
STORE = 80_000_000


@dataclass
class Nodes:
    """The cluster's program, to which each method writes a line."""

    process: subprocess.Popen[str]
    address: str = ""

    @property
    def inside(self) -> tuple[str, ...]:
        """The command within which a program sees the cluster."""
        return ("nsenter", f"--target={self.process.pid}", "--net")

    def ask(self, *words: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(words), file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise AssertionError("the cluster's program has ended")

    def add(self, name: str, cpus: int, **more: Any) -> None:
        """A node joins, with this host name."""
        self.ask("add", name, {"num_cpus": cpus, **more})

    def stop(self, name: str) -> None:
        """A node leaves, as by ``ray stop``: its raylet is told first (SIGTERM), then all others."""
        self.ask("stop", name)

    def kill(self, name: str) -> None:
        """A node's processes are killed (SIGKILL), as when its machine fails."""
        self.ask("kill", name)


@contextmanager
def started() -> Iterator[Nodes]:
    """A cluster whose head takes no task; whatever happens its processes are gone afterwards."""
    script = 'ip link set lo up && exec "$0" -m tests.support.ray_nodes'
    command = ["setpriv", "--pdeathsig", "TERM", "unshare", "--net", "sh", "-c", script]
    process = subprocess.Popen(
        [*command, sys.executable],
        cwd=ROOT,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        nodes = Nodes(process)
        nodes.address = nodes.ask("address")
        yield nodes


def main() -> None:
    """Be the cluster until the input ends."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    named = {}
    try:
        for line in sys.stdin:
            what, *words = json.loads(line)
            if what == "add":
                name, more = words
                ctypes.CDLL(None).unshare(CLONE_NEWUTS)
                socket.sethostname(name)
                place = {"node_ip_address": f"127.0.0.{2 + len(named)}"}
                named[name] = cluster.add_node(object_store_memory=STORE, **place, **more)
            elif what == "stop":
                raylet = named[words[0]].all_processes["raylet"][0].process
                raylet.terminate()
                raylet.wait()
                cluster.remove_node(named[words[0]])
            elif what == "all":
                cluster.shutdown()
            elif what == "kill":
                cluster.remove_node(named[words[0]], allow_graceful=False)
            print("answer", json.dumps(cluster.address), flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
