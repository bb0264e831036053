"""What nplm adds to pages of its runs and studies, named in pyproject.toml: [tool.sweepmore].

The parts that open a run's data and weights are imported where they are used: a list of studies
needs neither torch nor the data.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nplm.app.application import describe
from nplm.app.recorded import note, numbers
from sweepmore.report.additions import Additions

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from sweepmore.report.document import Section


def additions(root: Path, url: URL | None) -> Additions:
    """Return nplm's part of a page.

    ``root`` is the folder of its scripts and of the receipts of looks at test; ``url`` is the
    studies' database, which records looks too, or None where there is none.
    """

    def facts(folder: Path) -> list[tuple[str, str]]:
        from nplm.app import report

        return report.facts(folder)

    def warnings(folder: Path) -> list[str]:
        from nplm.app import report

        return report.warnings(folder)

    def sections(folder: Path) -> list[Section]:
        from nplm.app import report

        return report.sections(folder)

    def clauses(folder: Path) -> list[str]:
        from nplm.app import report

        return report.clauses(folder)

    def chips(folder: Path) -> list[str]:
        from nplm.app import report

        return report.chips(folder, root, url)

    def is_spent(folder: Path) -> bool:
        from nplm.app import report

        return report.looks_of(folder, root, url).own > 0

    return Additions(
        describe, numbers, note, facts, warnings, sections, clauses, chips, is_spent, root
    )
