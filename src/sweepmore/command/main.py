"""The command: its verbs, its help, its version."""

from __future__ import annotations

from typing import Annotated

import typer

from sweepmore.command.challenge import challenge
from sweepmore.command.confirm import confirm
from sweepmore.command.dashboard import dashboard
from sweepmore.command.doctor import doctor
from sweepmore.command.ls import ls
from sweepmore.command.options import verb
from sweepmore.command.report import report
from sweepmore.command.show import show
from sweepmore.command.wandb import wandb

VERBS = (ls, show, report, confirm, challenge, wandb, dashboard, doctor)

CODES = """Exit codes: 0 done; 1 a bug, a failed sweep, or a problem that doctor found; 2 invalid
input; 10 and 11 a challenge is discarded or undecided; 128 + N stopped by signal N."""

app = typer.Typer(
    name="sweepmore",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=CODES,
)


def _version(asked: bool) -> None:
    if asked:
        import sweepmore as package

        print(f"sweepmore {package.__version__}")
        raise typer.Exit


@app.callback()
def sweepmore(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What Hydra sweeps found: list, show, report, confirm, upload.

    Run it where your application lives. It finds outputs/ in this folder or above it, and each
    study's database as its sweep left it.
    """


for task in VERBS:
    app.command(task.__name__)(verb(task))


def main() -> None:
    """Run the command; the entry point ``sweepmore`` and ``python -m sweepmore``."""
    app(prog_name="sweepmore")
