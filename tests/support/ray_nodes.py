"""A cluster of Ray's in a network namespace of its own, for it listens on more than loopback.

Run as a program, this file is the cluster: it starts nodes, and ends them, as lines on its input
say. Each node but the head has a host name of its own, so that a parent sees its processes as those
of another machine: by Ray and by the storage alone.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.helpers import ROOT

PROGRAMS = ("unshare", "nsenter", "setpriv", "ip")
# A command in an empty network namespace.
ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"')
CLONE_NEWUTS = 0x04000000  # linux/sched.h
# 80 MB for each node's store, Ray's least; nothing of a sweep's goes there
STORE = 80_000_000


def missing() -> list[str]:
    """What a test needs and this environment lacks."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    plugin = importlib.util.find_spec("hydra_plugins.hydra_ray_launcher")
    return [*absent, *([] if plugin else ["hydra-ray-launcher"])]


@dataclass
class Nodes:
    """The cluster's program, to which each method writes a line."""

    process: subprocess.Popen[str]

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

    def address(self) -> str:
        """Where its head listens."""
        return str(self.ask("address"))

    def add(self, name: str, cpus: int) -> None:
        """A node joins, with this host name."""
        self.ask("add", name, cpus)

    def stop(self, name: str) -> None:
        """A node leaves as by ``ray stop``: SIGTERM for its raylet, and then for the others."""
        self.ask("stop", name)

    def kill(self, name: str) -> None:
        """A node's processes are killed (SIGKILL), as when its machine fails, if it is there."""
        self.ask("kill", name)

    def end(self) -> None:
        """The whole cluster ends."""
        self.ask("end")


@contextmanager
def started() -> Iterator[Nodes]:
    """A cluster whose head takes no task; whatever happens its processes are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: names of sockets have 107 bytes
    command = ["setpriv", "--pdeathsig", "TERM", *ALONE, sys.executable, "-m", __name__]
    try:
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [*command, str(folder)],
                cwd=ROOT,
                env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
            )
        with process:
            yield Nodes(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Held:
    """The cluster, in its own program."""

    cluster: Any
    nodes: dict[str, Any] = field(default_factory=dict)
    count: int = 0  # of nodes that have joined

    def address(self) -> None:
        """Nothing but the answer."""

    def add(self, name: str, cpus: int) -> None:
        ctypes.CDLL(None).unshare(CLONE_NEWUTS)
        socket.sethostname(name)
        self.count += 1
        place = f"127.0.0.{1 + self.count}"
        self.nodes[name] = self.cluster.add_node(
            num_cpus=cpus, object_store_memory=STORE, node_ip_address=place
        )

    def stop(self, name: str) -> None:
        node = self.nodes.pop(name)
        raylet = node.all_processes["raylet"][0].process
        raylet.terminate()
        raylet.wait()
        self.cluster.remove_node(node)

    def kill(self, name: str) -> None:
        if (node := self.nodes.pop(name, None)) is not None:
            self.cluster.remove_node(node, allow_graceful=False)

    def end(self) -> None:
        self.nodes.clear()
        self.cluster.shutdown()


def main(folder: str) -> None:
    """Be the cluster until the input ends."""
    from ray.cluster_utils import Cluster

    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(signum))
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args={**head, "temp_dir": folder})
    held = Held(cluster)
    try:
        for line in sys.stdin:
            what, *words = json.loads(line)
            answer: Callable[..., None] = getattr(held, what)
            answer(*words)
            print("answer", json.dumps(cluster.address), flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
