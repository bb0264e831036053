"""Optuna's dashboard as a server on this machine."""

from __future__ import annotations

import errno

from optuna_dashboard import run_server

from sweepmore.command.pictures import DrawingStore, Pictures
from sweepmore.compose.studies import opened, opened_study
from sweepmore.errors import ConfigError, StudyError
from sweepmore.runs.places import Place
from sweepmore.storage.optuna_internals import IllustratedStorage, study_id
from sweepmore.storage.patience import optunas

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
        cure = "Start one: your application with -m and hydra/sweeper=sweepmore."
        raise StudyError(f"There is no study in {place.outputs}.", value=None, cure=cure)
    else:
        place = place.each()[0]
    artifacts = place.outputs / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    with opened(place) as database:
        print(f"dashboard http://{HOST}:{port}/dashboard{page} (Ctrl-C ends it)", flush=True)
        pictures = Pictures(database)
        shown = IllustratedStorage(optunas(database), pictures.name)
        try:
            run_server(shown, HOST, port, DrawingStore(artifacts, pictures))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            problem = f"Another program uses port {port}."
            raise ConfigError(problem, value=port, cure=f"Try --port {port + 1}.") from error
