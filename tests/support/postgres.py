"""A PostgreSQL server of one's own: in a temporary folder, on 127.0.0.1, with a password.

And a way to it that loses an answer: what a client cannot tell from a server that never got it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy.engine import URL

USER = "sweeper"
INSTALL = "PostgreSQL is not installed: apt-get install postgresql (or CI=1 make test-postgres)"


def programs() -> Path | None:
    """The folder of initdb and pg_ctl: on the PATH, or where Debian puts them."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    return debian[-1] if debian else None


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass(frozen=True)
class Server:
    folder: Path
    port: int
    password: str
    programs: Path

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Server]:
        found = programs()
        assert found is not None, INSTALL
        with tempfile.TemporaryDirectory(prefix="postgres-") as name:
            server = cls(Path(name), free_port(), secrets.token_hex(8), found)
            server.create()
            server.start()
            try:
                yield server
            finally:
                server.stop("immediate")

    def run(self, program: str, *words: str) -> None:
        """As nobody where we are root: PostgreSQL refuses to run as that."""
        nobody = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        done = subprocess.run(
            [str(self.programs / program), "-D", str(self.folder / "data"), *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            user=None if nobody is None else nobody.pw_uid,
            group=None if nobody is None else nobody.pw_gid,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def create(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in (self.folder, secret):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        words = ("--username", USER, "--pwfile", str(secret), "--auth", "scram-sha-256")
        self.run("initdb", *words, "--encoding", "UTF8", "--no-locale")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        self.run("pg_ctl", "start", "--wait", "-l", str(self.folder / "log"), "-o", options)

    def stop(self, mode: str) -> None:
        """``fast``: sessions are ended; ``immediate``: as if the power failed."""
        self.run("pg_ctl", "stop", "--wait", "-m", mode)

    def database(self, name: str) -> URL:
        """A new one, by a URL with its password in it; children get it as ``environment``."""
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return URL.create("postgresql+psycopg", USER, self.password, "127.0.0.1", self.port, name)

    def address(self, database: str) -> str:
        login = f"user={USER} password={self.password} dbname={database}"
        return f"host=127.0.0.1 port={self.port} {login}"

    def words(self, url: URL) -> str:
        """The URL as it is typed: the password comes from the environment."""
        return f":storage=postgresql://{USER}@127.0.0.1:{self.port}/{url.database}"

    @property
    def environment(self) -> dict[str, str]:
        return {"PGPASSWORD": self.password}


class Lossy:
    """A way to the server on a port of its own; ``lose`` cuts it once after a COMMIT was carried
    out and before its answer comes back."""

    def __init__(self, server: Server) -> None:
        self.server, self.lost = server, 0
        self._armed, self._cut = False, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Lossy:
        return self

    def __exit__(self, *error: object) -> None:
        self.listener.close()

    def lose(self) -> None:
        self._armed = True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.server.port)) as server:
            back = threading.Thread(target=self._answers, args=(server, client), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(65_536):
                    if self._armed and b"COMMIT" in data:
                        self._armed = False
                        self._cut = True
                        self.lost += 1
                    server.sendall(data)
            server.close()

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if self._cut:  # the server has answered, so it is done
                    self._cut = False
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
