"""``sweepmore confirm``: train the best of a study again, and say whether the winner is real."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweepmore.command.options import Outputs, Storage, StudyName

if TYPE_CHECKING:
    import optuna

    from sweepmore.runs.places import Place


def confirm(
    study: StudyName,
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many of the best.")] = 5,
    seeds: Annotated[
        int, typer.Option(min=2, max=1000, help="Fresh seeds for each, then for the winner.")
    ] = 8,
    noise: Annotated[
        bool, typer.Option("--noise", help="Only the best: how noisy is one run?")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Workers.")] = 1,
    seed_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            show_default=False,
            help="The application's setting that holds the seed; by default seed, or the only "
            "one that ends in seed, random_seed or random_state.",
        ),
    ] = None,
    outputs: Outputs = None,
    storage: Storage = None,
) -> None:
    """Train the best of a study again with fresh seeds; name a winner.

    The winner is then trained with final seeds, which did not choose it: report their mean.
    Rerun the same command to continue an interrupted confirmation.

    Example: sweepmore confirm last --top 3 --seeds 8 --jobs 2
    """
    from sweepmore.compose.studies import opened_study
    from sweepmore.confirm import confirmation
    from sweepmore.confirm.retrain import Workers
    from sweepmore.runs.places import find_place
    from sweepmore.study.loading import load

    with opened_study(study, find_place(outputs, storage)) as (searched, place):
        workers = Workers(jobs, place.storage, place.outputs)
        key = seed_key or key_of(searched)
        request = confirmation.Request(searched.study_name, top, seeds, noise, key)
        name = confirmation.run(database_of(searched), request, workers)
        if not noise:
            print_next(load(database_of(searched), name), place)


def key_of(study: optuna.Study) -> str:
    """Return the application's setting that holds the seed; ConfigError where none is known."""
    from sweepmore.errors import ConfigError
    from sweepmore.study.attributes import StudyAttributes
    from sweepmore.study.seeds import seed_key

    question = StudyAttributes.of(study).question
    key = seed_key(question)
    if key is None:
        cure = "Give the application a setting `seed`, or name the one it has: --seed-key KEY."
        problem = f"No setting of {study.study_name} is known to hold a seed."
        raise ConfigError(problem, value=sorted(question["config"]), cure=cure)
    return key


def database_of(study: optuna.Study) -> optuna.storages.BaseStorage:
    """Return the open database of a study."""
    from sweepmore.storage.optuna_internals import storage_of

    return storage_of(study)


def print_next(study: optuna.Study, place: Place) -> None:
    """Print how to see the winner, and the application's own commands for it."""
    from sweepmore.study.application import Application
    from sweepmore.study.parts import application_of

    application = application_of(study) or Application()
    own, root = application.commands, application.root
    where = place.settings(None if root is None else Path(root))
    words = {"study": shlex.quote(study.study_name), "which": "winner", "where": where}
    shows, number = (
        None if command is None else command.typed(*application.folders(), **words)
        for command in (own.study, own.number)
    )
    ways = [place.verb("report", study.study_name)]
    ways += [] if shows is None else [shows[1]]
    print(f"next     {' · '.join(ways)}")
    if number is not None:
        print(f"         {number[1]}, once")
