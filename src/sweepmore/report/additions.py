"""What the running application adds to pages of its own studies and runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweepmore.errors import UserError, described
from sweepmore.report.document import Section
from sweepmore.runs.names import name_of
from sweepmore.study.application import Application, Command, Describe
from sweepmore.wording import shown_path

# The name of each run and the content of its result.json.
Results = Sequence[tuple[str, Mapping[str, Any]]]


def nothing(of: Any) -> list[Any]:
    """Return an empty list: the default of every addition."""
    return []


@dataclass(frozen=True)
class Additions:
    """What an application adds to a page while it is imported. Its studies store the rest.

    ``describe`` is the function that the application registers. Single runs and studies of older
    versions need it, because they store no description. ``numbers`` adds facts from a run's
    ``result.json``, and ``note`` says how to read the curves of runs. ``facts``, ``warnings`` and
    ``sections`` open the run in a folder; so do ``clauses``, which end the page's first sentence,
    and ``chips``, a few words each on what the run is about. ``is_spent`` says whether its test
    split has been looked at, so that nobody is told to look again. ``scripts`` is the folder of the
    scripts that a page may name.
    """

    describe: Describe = lambda config: Application()
    numbers: Callable[[Mapping[str, Any]], Sequence[tuple[str, str]]] = nothing
    note: Callable[[Results], str] = lambda results: ""
    facts: Callable[[Path], Sequence[tuple[str, str]]] = nothing
    warnings: Callable[[Path], Sequence[str]] = nothing
    sections: Callable[[Path], Sequence[Section]] = nothing
    clauses: Callable[[Path], Sequence[str]] = nothing
    chips: Callable[[Path], Sequence[str]] = nothing
    is_spent: Callable[[Path], bool] = lambda run: False
    scripts: Path | None = None

    def of(self, application: Application) -> Additions:
        """Return these additions if they belong to ``application``, else only ``scripts``.

        One application cannot describe the studies of another.
        """
        own = self.describe({}).name == application.name
        return self if own else Additions(scripts=self.scripts)

    def recorded(self) -> Additions:
        """Return these additions without those that open a run's data or weights."""
        return replace(
            self, facts=nothing, warnings=nothing, sections=nothing, clauses=nothing, chips=nothing
        )

    def own(
        self, application: Application, command: Command | None, **words: str
    ) -> list[tuple[str, str]]:
        """Return a labelled command of the application, or [] if it has none that can be typed."""
        if command is None:
            return []
        typed = command.typed(*application.folders(self.scripts), **words)
        return [] if typed is None else [typed]


@dataclass(frozen=True)
class Told:
    """What an application adds to the page of one run."""

    facts: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    sections: Sequence[Section] = ()
    clauses: Sequence[str] = ()
    chips: Sequence[str] = ()


# What an application adds that is not asked.
NOTHING = Told()


def is_spent(additions: Additions, run: Path) -> bool:
    """Whether the test split of a run has been looked at; False where nobody can tell."""
    with contextlib.suppress(UserError):
        return (run / "result.json").exists() and additions.is_spent(run)
    return False


def tell(additions: Additions, run: Path) -> Told:
    """Ask the application about the run in a folder.

    A run that was deleted or cannot be opened becomes a warning rather than an error, because the
    study itself is still in the database: its data may be elsewhere, or the application's code may
    have changed since. The result is empty for an application that writes no ``config.yaml``.
    """
    if run.exists() and not (run / "config.yaml").exists():
        return Told()
    if not (run / "result.json").exists():
        return Told(warnings=[f"the run of the best is gone: {shown_path(run)}"])
    try:
        return Told(
            additions.facts(run),
            additions.warnings(run),
            additions.sections(run),
            additions.clauses(run),
            additions.chips(run),
        )
    except Exception as error:
        reason = error.problem if isinstance(error, UserError) else described(error)[0]
        what = f"{name_of(run)} cannot be described further"
        return Told(warnings=[f"{what}: {reason.splitlines()[0]}"])
