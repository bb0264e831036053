"""The options that several verbs share, and the way in which a verb ends."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

Words = ParamSpec("Words")

Outputs = Annotated[
    Path | None,
    typer.Option(
        "--outputs",
        metavar="FOLDER",
        envvar="SWEEPMORE_OUTPUTS",
        show_default=False,
        help="The folder of runs and studies; by default the nearest outputs/.",
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        envvar="SWEEPMORE_STORAGE",
        show_default=False,
        help="The database of studies; by default the one that the sweep named.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...",
        show_default=False,
        help="Studies or runs (a name or a folder); last is the newest.",
    ),
]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study's name, or last.")]


def verb(task: Callable[Words, None]) -> Callable[Words, None]:
    """Report errors of a verb as every program of sweepmore does: one message, exit code 2."""

    @functools.wraps(task)
    def reported(*args: Words.args, **kwargs: Words.kwargs) -> None:
        from sweepmore.compose.cli import errors_reported

        with errors_reported():
            task(*args, **kwargs)

    return reported


def require(extra: str, *packages: str) -> None:
    """Raise ConfigError unless the packages of an extra are installed; imports none of them."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        from sweepmore.errors import ConfigError

        problem = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed."
        cure = f"pip install 'sweepmore[{extra}]'"
        raise ConfigError(problem, value=missing, cure=cure)


def print_json(facts: Mapping[str, Any]) -> None:
    """Print strict JSON: a value that JSON cannot hold, such as NaN, raises ValueError."""
    print(json.dumps(facts, indent=2, allow_nan=False, ensure_ascii=False))
