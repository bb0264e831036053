"""A Slurm of one node in a folder of its own: munged, slurmctld and slurmd, started and stopped."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.sweep_apps import until

TEMPLATE = Path(__file__).parent / "slurm.conf.in"
DAEMONS = ("munged", "slurmctld", "slurmd")
INSTALL = "apt-get install --no-install-recommends slurm-wlm munge"


def missing() -> list[str]:
    """The programs that a test needs and this machine lacks."""
    return [
        name for name in (*DAEMONS, "sbatch", "setpriv", "unshare") if shutil.which(name) is None
    ]


@dataclass(frozen=True)
class Queued:
    """A line of squeue."""

    number: str
    name: str
    state: str


@dataclass(frozen=True)
class Cluster:
    """``folder`` is readable by all, because munged wants its socket to be."""

    folder: Path

    @property
    def env(self) -> Mapping[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def ask(self, *command: str) -> str:
        done = subprocess.run(
            command, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def queue(self) -> list[Queued]:
        lines = self.ask("squeue", "--noheader", "--format=%A %t %j").splitlines()
        rows = [line.split(" ", 2) for line in lines]
        return [Queued(number, name, state) for number, state, name in rows]


@contextmanager
def started() -> Iterator[Cluster]:
    """The daemons run in the foreground, as children; whatever happens they are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    cluster = Cluster(folder)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    values = {"DIR": str(folder), "USER": getpass.getuser()}
    values |= dict(zip(("CTLD_PORT", "D_PORT"), map(str, free_ports(2))))
    text = TEMPLATE.read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    (folder / "slurm.conf").write_text(text)
    munged = ["munged", "--foreground", "--force"]
    for option, name in (("socket", "socket"), ("key-file", "key"), ("seed-file", "seed"),
                         ("pid-file", "pid"), ("log-file", "log")):  # fmt: skip
        munged.append(f"--{option}={folder}/munge.{name}")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(daemon(cluster, munged))
        until((folder / "munge.socket").exists)
        stack.enter_context(daemon(cluster, ["slurmctld", "-D", "-c"]))
        stack.enter_context(daemon(cluster, ["slurmd", "-D", "-N", "localhost"]))
        until(lambda: idle(cluster))
        try:
            yield cluster
        finally:
            with suppress(AssertionError):
                cluster.ask("scancel", f"--user={getpass.getuser()}")
                until(lambda: not cluster.queue())


def idle(cluster: Cluster) -> bool:
    with suppress(AssertionError):
        return cluster.ask("sinfo", "--noheader", "--partition=work", "--format=%t") == "idle\n"
    return False


@contextmanager
def daemon(cluster: Cluster, command: list[str]) -> Iterator[None]:
    with (cluster.folder / f"{command[0]}.out").open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],  # outlives not even a killed pytest
            env={**os.environ, **cluster.env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Nobody listens there now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
