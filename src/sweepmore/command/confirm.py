"""``sweepmore confirm``: train the best of a study again, and say whether the winner is real."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweepmore.command.options import Outputs, Storage, StudyName

if TYPE_CHECKING:
    import optuna

    from sweepmore.confirm.confirmation import Request
    from sweepmore.runs.places import Place

# How many of the best are confirmed, and with how many seeds, unless the user says otherwise.
TOP, SEEDS = 5, 8


def confirm(
    study: StudyName,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, show_default=False, help=f"How many of the best; default {TOP}."
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=1000,
            show_default=False,
            help=f"Fresh seeds for each, then for the winner; default {SEEDS}.",
        ),
    ] = None,
    seeds_of: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY",
            show_default=False,
            help="Take the fresh seeds of this study's confirmation, with --top 1 in both: "
            "differences are then paired.",
        ),
    ] = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Only the best: how noisy is one run?")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=1024, show_default=False, help="Workers; by default the search's."),
    ] = None,
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
    """Train the best of a study again with fresh seeds.

    It names a winner, which is then trained with final seeds that did not choose it: report their
    mean.

    Rerun the same command to continue an interrupted confirmation, and after more trials to
    confirm what they found. What has begun keeps its seeds, so leave out --seeds then.

    Example: sweepmore confirm last --top 3 --seeds 8
    """
    from sweepmore.compose.studies import opened_study
    from sweepmore.confirm import confirmation
    from sweepmore.confirm.retrain import Workers
    from sweepmore.runs.names import searched_name
    from sweepmore.runs.places import find_place
    from sweepmore.study.loading import load

    with opened_study(study, find_place(outputs, storage)) as (given, place):
        searched = load(database_of(given), searched_name(given.study_name))
        workers = Workers(jobs or jobs_of(searched), place.storage, place.outputs)
        request = request_of(searched, top, seeds, noise, seed_key)
        if seeds_of is not None:
            request = with_seeds_of(seeds_of, request, searched, given_number=seeds)
        name = confirmation.run(database_of(searched), request, workers)
        if not noise:
            print_next(load(database_of(searched), name), place)


def jobs_of(searched: optuna.Study) -> int:
    """Return how many workers the search last had."""
    from sweepmore.study.attributes import StudyAttributes

    budget = StudyAttributes.of(searched).budget
    return 1 if budget is None else budget.n_jobs


def request_of(
    searched: optuna.Study, top: int | None, seeds: int | None, noise: bool, seed_key: str | None
) -> Request:
    """Return what is asked for; what is not given is as the confirmation began, if it has."""
    from sweepmore.confirm.confirmation import Request
    from sweepmore.confirm.rounds import begun, begun_rounds
    from sweepmore.runs.names import NOISE

    plans = [begun(searched, NOISE)] if noise else begun_rounds(searched)
    plan = max(filter(None, plans), key=lambda plan: plan.top, default=None)
    if plan is None:
        key = seed_key or key_of(searched)
        return Request(searched.study_name, top or TOP, seeds or SEEDS, noise, key)
    size, number = top or plan.top, seeds or len(plan.seeds)
    return Request(searched.study_name, size, number, noise, seed_key or plan.seed_key)


def with_seeds_of(
    other: str, request: Request, searched: optuna.Study, given_number: int | None
) -> Request:
    """Return the request with the seeds of another study's confirmation.

    Raises ConfigError where something else was asked for, and StudyError as ``shared_seeds`` does.
    """
    from dataclasses import replace

    from sweepmore.confirm.rounds import ONLY_SINGLE, shared_seeds
    from sweepmore.errors import ConfigError
    from sweepmore.runs.names import searched_name
    from sweepmore.study.loading import load

    study = load(database_of(searched), searched_name(other))
    shared = shared_seeds(study, searched, request.seed_key)
    if request.noise or given_number not in (None, len(shared)):
        asked = "--noise" if request.noise else f"--seeds {given_number}"
        problem = f"{asked} does not go with --seeds-of {other}, which has {len(shared)} seeds."
        raise ConfigError(problem, value=other, cure="Omit one of the two.")
    if request.top != 1:
        problem = f"--top {request.top} does not go with --seeds-of {other}: {ONLY_SINGLE}."
        raise ConfigError(problem, value=request.top, cure="Give --top 1, or omit --seeds-of.")
    return replace(request, seeds=len(shared), shared=shared)


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
    from sweepmore.command.application import additions_of
    from sweepmore.report.additions import is_spent
    from sweepmore.study.application import Application
    from sweepmore.study.attributes import StudyAttributes
    from sweepmore.study.parts import application_of, confirmation_of
    from sweepmore.study.winners import tested

    confirmed = confirmation_of(study)
    outcome = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
    is_tested = tested(outcome) is not None
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
    if number is None or is_tested or outcome.winner is None:
        return
    if not is_spent(additions_of(place).of(application), outcome.winner.run):  # by another study
        print(f"         {number[1]}, once")
