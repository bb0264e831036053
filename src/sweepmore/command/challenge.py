"""``sweepmore challenge``: is a change better than the champion? Paired seeds decide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweepmore.command.options import AsJson, Outputs, Storage, print_json

# What a script learns from the exit code; nothing else ends with these.
CODES = {"keep": 0, "discard": 10, "undecided": 11}
# The least cap: even a gain of three standard deviations is kept by 57 of 100 challenges only
# (benchmarks/RESULTS.md, "Campaigns").
FEWEST_SEEDS = 8


def challenge(
    champion: Annotated[
        str,
        typer.Argument(
            metavar="CHAMPION", help="A confirmed study, or the challenge that it kept; last."
        ),
    ],
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="[-- COMMAND...]",
            show_default=False,
            help="The challenger, as you would type it; without it, the campaign is shown.",
        ),
    ] = [],  # noqa: B006  # typer copies it
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=1024, show_default=False, help="Workers; by default the search's."),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            show_default=False,
            help="Challenges that share the campaign's error; default 100. Declared once.",
        ),
    ] = None,
    cap: Annotated[
        int | None,
        typer.Option(
            min=FEWEST_SEEDS,
            max=1000,
            show_default=False,
            help="Most seeds of a challenge; default 24. Declared once.",
        ),
    ] = None,
    json: AsJson = False,
    outputs: Outputs = None,
    storage: Storage = None,
) -> None:
    """Decide whether a change is better than the champion, over paired seeds.

    Champion and challenger train with the same seeds, one after the other, until the difference is
    decided: keep (exit code 0), discard (10) or undecided (11). Edit code and settings as you like;
    data, metric, budget and the application's evaluators stay.

    Rerun the same command to continue an interrupted challenge. Without a command it begins the
    campaign, which keeps the champion's code, or shows it.

    Example: sweepmore challenge mine -- python app.py lr=0.02
    """
    from sweepmore.command.confirm import database_of, jobs_of
    from sweepmore.compose.studies import opened_study
    from sweepmore.confirm import challenge as challenges
    from sweepmore.confirm import challenge_printing as printing
    from sweepmore.confirm.campaign import champion_command, ground_of
    from sweepmore.confirm.challenge_checks import Request
    from sweepmore.runs.names import CHALLENGE, campaign_of, searched_name
    from sweepmore.runs.places import find_place
    from sweepmore.study.campaigns import challenges_of
    from sweepmore.study.loading import load

    name = campaign_of(champion) or champion
    with opened_study(name, find_place(outputs, storage)) as (given, place):
        of_campaign = campaign_of(given.study_name) or given.study_name  # last may be a challenge
        searched = load(database_of(given), searched_name(of_campaign))
        ground = ground_of(searched, place, jobs or jobs_of(searched))
        rows = printing.Rows(searched.study_name, ground.sign)
        request = Request(champion, tuple(command), Path.cwd().resolve(), horizon, cap)
        tell = printing.silent() if json else rows.teller
        try:
            campaign, decided = challenges.run(ground, request, tell)
        finally:
            rows.status.stop()
        all_of_them, line = challenges_of(searched), champion_command(searched)
        if json:
            facts = {"campaign": printing.as_json(searched.study_name, campaign, all_of_them, line)}
            shown = all_of_them if decided is None else [decided]
            print_json({**facts, "challenges": [printing.challenge_json(c) for c in shown]})
        elif decided is None:
            printing.print_campaign(searched.study_name, campaign, all_of_them, line)
        else:
            own = f"{searched.study_name}{CHALLENGE}{decided.number}"
            printing.print_verdict(decided, place.verb("confirm", own), rows.begun)
    if decided is not None:
        raise typer.Exit(CODES[str(decided.verdict)])
