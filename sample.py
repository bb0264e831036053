"""Print new lines from a trained run, or its predictions along a given line."""

from __future__ import annotations

try:
    from sweepmore.compose import cli
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: run `make setup`, then `. .venv/bin/activate`"
    ) from None

from dataclasses import dataclass
from pathlib import Path

from nplm.app import writing
from nplm.run_files import WEIGHTS
from sweepmore.errors import ConfigError
from sweepmore.runs.finding import find_named, require
from sweepmore.typed import setting

ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Arguments:
    """python sample.py [key=value …]: new lines from a run, or its predictions along a line."""

    run: str | None = setting(None, "a run's folder or name; null or last: the newest run")
    study: str | None = setting(None, "or a study: its confirmed winner, else its best; or last")
    trial: int | None = setting(None, "that trial of study= (null: the last study)", at_least=0)
    n: int = setting(20, "number of lines", at_least=1, at_most=100_000)
    seed: int = setting(0, "seed of the draws", at_least=0, below=2**63)
    temperature: float = setting(1.0, "below 1 safer, above 1 wilder", above=0, at_most=100)
    # an empty value on the command line arrives as null
    prompt: str | None = setting("", "the beginning of each line")
    explain: str | None = setting("", "a line: show what the model predicts at each position")
    storage: str | None = setting(None, "database URL of study=; null: studies.db in outputs")
    outputs: str = setting("outputs", "the folder of runs and studies, relative to this one")

    def __post_init__(self) -> None:
        for name in ("prompt", "explain"):
            if getattr(self, name) is None:
                cure = f"Give some text, or leave {name}= out."
                raise ConfigError(f"{name}= is empty.", value=None, cure=cure)


def main(arguments: Arguments) -> None:
    """Print what the arguments ask for."""
    folder = asked_for(arguments)
    if arguments.explain:
        writing.explain(folder, arguments.explain)
        return
    again = cli.given(arguments, "run", "study", "trial", "storage", "outputs")
    draw = writing.Draw(arguments.n, arguments.seed, arguments.temperature, arguments.prompt or "")
    writing.new_lines(folder, draw, again)


def asked_for(arguments: Arguments) -> Path:
    """Return the folder of the run that the arguments name. Raises ConfigError and RunError where
    there is none, or more than one."""
    outputs, study = ROOT / arguments.outputs, arguments.study
    if study is None or arguments.trial is not None:
        wanted = (arguments.run, study, arguments.trial)
        return find_named(*wanted, outputs, holding=WEIGHTS)
    if arguments.run is not None:
        problem = f"run={arguments.run} and study={study} are two runs."
        raise ConfigError(problem, value=study, cure="Give only one of them.")
    from sweepmore.compose.script_storage import opened
    from sweepmore.runs.places import Place
    from sweepmore.study.loading import load
    from sweepmore.study.parts import best_run

    with opened(Place(outputs, arguments.storage).of_study(study).storage, outputs) as database:
        folder = best_run(load(database, study))
    return require(folder, WEIGHTS)


if __name__ == "__main__":
    cli.require("torch")  # of the group nplm
    cli.command(Arguments, main)
