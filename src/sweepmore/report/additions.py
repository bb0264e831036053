"""What the running application adds to pages of its own studies and runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepmore.compose.cli import script_beside
from sweepmore.errors import UserError
from sweepmore.report.document import Section
from sweepmore.runs.names import name_of
from sweepmore.study.application import Application, Command, Describe
from sweepmore.wording import shown_path

# Of each run by its name: what its result.json holds.
Results = Sequence[tuple[str, Mapping[str, Any]]]


def nothing(of: Any) -> list[Any]:
    return []


@dataclass(frozen=True)
class Additions:
    """What is known where an application is imported, beside what its studies keep of it.

    ``describe`` is what it registers: for studies of older versions, which keep no record, and for
    single runs. ``numbers`` says more of a run by its ``result.json``, ``note`` how to read the
    curves of runs; ``facts``, ``warnings`` and ``sections`` open the run in a folder. ``scripts``
    is the folder of the scripts that pages may name.
    """

    describe: Describe = lambda config: Application()
    numbers: Callable[[Mapping[str, Any]], Sequence[tuple[str, str]]] = nothing
    note: Callable[[Results], str] = lambda results: ""
    facts: Callable[[Path], Sequence[tuple[str, str]]] = nothing
    warnings: Callable[[Path], Sequence[str]] = nothing
    sections: Callable[[Path], Sequence[Section]] = nothing
    scripts: Path | None = None

    def of(self, application: Application) -> Additions:
        """These, where they are this application's; of another one's studies nothing is known."""
        own = self.describe({}).name == application.name
        return self if own else Additions(scripts=self.scripts)

    def script(self, label: str, script: str, words: str) -> list[tuple[str, str]]:
        """A command by a script of sweepmore's, where that script is there."""
        start = None if self.scripts is None else script_beside(self.scripts, script)
        return [] if start is None else [(label, f"{start} {words}")]

    def own(
        self, application: Application, command: Command | None, **words: str
    ) -> list[tuple[str, str]]:
        """A command of the application's own, where it can be typed."""
        if command is None:
            return []
        typed = command.typed(*application.folders(self.scripts), **words)
        return [] if typed is None else [typed]


NOTHING_ADDED, NOTHING_KNOWN = Additions(), Application()


@dataclass(frozen=True)
class Told:
    """What an application told of one run."""

    facts: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    sections: Sequence[Section] = ()


def tell(additions: Additions, run: Path) -> Told:
    """A run that is gone or cannot be opened (its data are elsewhere) is a warning, no failure:
    the study itself lies in the database. Of an application that keeps no such record, nothing."""
    if run.exists() and not (run / "config.yaml").exists():
        return Told()
    if not (run / "result.json").exists():
        return Told(warnings=[f"the run of the best is gone: {shown_path(run)}"])
    try:
        return Told(additions.facts(run), additions.warnings(run), additions.sections(run))
    except UserError as error:
        return Told(warnings=[f"of {name_of(run)} nothing more is known: {error.problem}"])
