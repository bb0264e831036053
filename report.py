"""See what there is: ``python report.py`` lists, ``study=NAME`` or ``run=NAME`` makes a page."""

from __future__ import annotations

try:
    from sweepmore.compose import cli
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: run `make setup`, then `. .venv/bin/activate`"
    ) from None

from dataclasses import dataclass
from pathlib import Path

from nplm.app import pages
from sweepmore.errors import ConfigError
from sweepmore.typed import setting

ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Arguments:
    """python report.py [study=A[,B] | run=R[,S]]: list, or write a page; nothing is trained."""

    study: str | None = setting(None, "a study's name, or last; several with commas compare them")
    run: str | None = setting(None, "a run's folder or name, or last; two with a comma")
    trial: int | None = setting(None, "of study= (null: the last): that trial's run", at_least=0)
    csv: bool = setting(False, "also every trial as trials.csv")
    sync: bool = setting(False, "upload the study's offline W&B runs instead")
    keep: bool = setting(False, "the study into sweeps/NAME/ instead, to be committed")
    storage: str | None = setting(None, "a database URL; null: outputs/studies.db")
    outputs: str = setting("outputs", "the folder of runs and studies, relative to this one")

    def __post_init__(self) -> None:
        """ConfigError where two words contradict each other, or one would be of no effect."""
        if self.study is not None and self.run is not None:
            problem = "study= and run= are two pages."
            raise ConfigError(problem, value=self.run, cure="Give one of them.")
        if not (self.sync or self.keep or self.csv):
            return
        if self.study is None or self.trial is not None:
            cure = "Give study=NAME, and no trial."
            raise ConfigError("sync, keep and csv are about a study.", value=None, cure=cure)
        if self.keep and "," in self.study:
            problem = "keep=true is about one study."
            raise ConfigError(problem, value=self.study, cure="Keep them one by one.")
        if self.sync and (self.keep or self.csv):
            problem = "sync=true uploads instead of writing: keep and csv would be of no effect."
            raise ConfigError(problem, value=True, cure="Give them in a second command.")


def main(arguments: Arguments) -> None:
    """List, or write the page of what the arguments name."""
    cli.require("matplotlib")
    outputs, where = ROOT / arguments.outputs, cli.given(arguments, "outputs", "storage")
    place = pages.Place(ROOT, outputs, arguments.storage, where)
    if arguments.run is not None or arguments.trial is not None:
        pages.of_runs(arguments.run, arguments.study, arguments.trial, place)
    elif arguments.study is None:
        pages.listing(place)
    else:
        names = arguments.study.split(",")
        if arguments.sync:
            pages.sync(names, place)
        elif arguments.keep:
            pages.keep(names[0], place)
        else:
            pages.of_studies(names, place, arguments.csv)


if __name__ == "__main__":
    cli.command(Arguments, main)
