"""Train the best of a study again with fresh seeds, name the winner, and give it final seeds."""

from __future__ import annotations

try:
    from sweepmore.compose import cli
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: run `make setup`, then `. .venv/bin/activate`"
    ) from None

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from sweepmore.errors import ConfigError
from sweepmore.study.application import Application
from sweepmore.typed import setting


@dataclass(frozen=True)
class Arguments:
    """python confirm.py study=NAME: train the best again with fresh seeds, name the winner."""

    study: str | None = setting(None, "its name, or last")
    top: int = setting(5, "how many of the best configurations", at_least=1, at_most=1000)
    seeds: int = setting(8, "fresh seeds for each, then for the winner", at_least=2, at_most=1000)
    noise: bool = setting(False, "only the best: how noisy is one run?")
    seed_key: str = setting("seed", "the application's setting that holds the seed")
    n_jobs: int = setting(1, "workers", at_least=1, at_most=1024)
    storage: str | None = setting(None, "a database URL; null: outputs/studies.db")
    outputs: str = setting("outputs", "the studies' folder, relative to the application's")


def main(arguments: Arguments) -> None:
    from sweepmore.compose.script_storage import opened
    from sweepmore.confirm import confirmation
    from sweepmore.confirm.retrain import Workers
    from sweepmore.study.loading import load
    from sweepmore.study.parts import application_of

    if arguments.study is None:
        cure = "python confirm.py study=NAME, or study=last"
        raise ConfigError("Which study? It will be trained again.", value=None, cure=cure)
    root = Path(os.environ.get(cli.ROOT_VARIABLE) or Path(__file__).resolve().parent)
    workers = Workers(arguments.n_jobs, arguments.storage, root / arguments.outputs)
    request = confirmation.Request(
        arguments.study, arguments.top, arguments.seeds, arguments.noise, arguments.seed_key
    )
    with opened(arguments.storage, workers.outputs) as database:
        name = confirmation.run(database, request, workers)
        application = application_of(load(database, name)) or Application()
    if not arguments.noise:
        print_next(application, name, cli.given(arguments, "storage", "outputs"))


def print_next(application: Application, study: str, where: str) -> None:
    """By sweepmore's scripts beside this one, and the application's own commands."""
    beside = Path(__file__).resolve().parent
    own, places = application.commands, application.folders(beside)
    words = {"study": shlex.quote(study), "which": "winner", "where": where}
    shows, number = (
        None if command is None else command.typed(*places, **words)
        for command in (own.study, own.number)
    )
    start = cli.script_beside(beside, "report.py")
    ways = [] if start is None else [f"{start} study={words['study']}{where}"]
    ways += [] if shows is None else [shows[1]]
    if ways:
        print(f"next     {' · '.join(ways)}")
    if number is not None:
        print(f"         {number[1]}, once")


if __name__ == "__main__":
    cli.command(Arguments, main)
