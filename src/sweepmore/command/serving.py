"""Optuna's dashboard as a server on this machine."""

from __future__ import annotations

import socket

from optuna.artifacts import FileSystemArtifactStore
from optuna_dashboard import run_server

from sweepmore.compose.studies import opened, opened_study
from sweepmore.errors import ConfigError, StudyError
from sweepmore.runs.places import Place
from sweepmore.storage.optuna_internals import study_id

# Only this machine: the dashboard has no authentication.
HOST = "127.0.0.1"


def serve(name: str | None, place: Place, port: int) -> None:
    """Serve the dashboard of ``place`` until a signal ends it; the link opens the study ``name``.

    Raises StudyError where there is no study, and ConfigError where another program has the port.
    """
    page = ""
    if name is not None:
        with opened_study(name, place) as (study, place):
            page = f"/studies/{study_id(study)}"
    elif not place.each():
        cure = "Start one: python APP.py -m …, with hydra/sweeper=sweepmore."
        raise StudyError(f"There is no study in {place.outputs}.", value=None, cure=cure)
    else:
        place = place.each()[0]
    require_free(port)
    artifacts = place.outputs / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    with opened(place) as database:
        print(f"dashboard http://{HOST}:{port}/dashboard{page} (Ctrl-C ends it)", flush=True)
        run_server(database, HOST, port, FileSystemArtifactStore(str(artifacts)))


def require_free(port: int) -> None:
    """Raise ConfigError where another program listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            problem = f"Port {port} of {HOST} cannot be used: {error.strerror}."
            raise ConfigError(problem, value=port, cure=f"Try --port {port + 1}.") from error
