"""``sweepmore show``: what a study found, in the terminal, as a table or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sweepmore.command.options import AsJson, Outputs, Storage, StudyName, print_json

if TYPE_CHECKING:
    import optuna

    from sweepmore.runs.places import Place


def show(
    study: StudyName,
    trial: Annotated[
        int | None, typer.Option(min=0, show_default=False, help="This trial, in full.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write every attempt to trials.csv.")] = False,
    json: AsJson = False,
    outputs: Outputs = None,
    storage: Storage = None,
) -> None:
    """Print the best trials of a study, its winner, and what failed.

    Examples:

    sweepmore show last

    sweepmore show mine --trial 17

    sweepmore show mine --json
    """
    from sweepmore.command.summary import print_summary, print_trial
    from sweepmore.compose.studies import opened_study
    from sweepmore.errors import ConfigError
    from sweepmore.runs.places import find_place
    from sweepmore.study.records import record_of

    if csv and (json or trial is not None):
        cure = "Give --csv in a command of its own."
        raise ConfigError("--csv writes all trials to a file.", value=None, cure=cure)
    with opened_study(study, find_place(outputs, storage)) as (found, place):
        record = record_of(found)
        if csv:
            write_table(found, place)
        elif json and trial is not None:
            numbers = [each.number for each in record.trials]
            record.trial(trial)  # raises where there is none
            print_json(record.as_json()["trials"][numbers.index(trial)])
        elif json:
            print_json(record.as_json())
        elif trial is not None:
            print_trial(record.trial(trial), record, found, place)
        else:
            print_summary(record, found, place)


def write_table(study: optuna.Study, place: Place) -> None:
    """Write ``trials.csv`` beside the study's page, and print where it is."""
    from sweepmore.runs.names import safe_name
    from sweepmore.study.attributes import StudyAttributes
    from sweepmore.study.view import view
    from sweepmore.sweep.trials_csv import write_csv
    from sweepmore.wording import shown_path

    path = place.outputs / "reports" / safe_name(study.study_name) / "trials.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(view(study), path, StudyAttributes.of(study).as_text)
    print(f"table    {shown_path(path)}")
