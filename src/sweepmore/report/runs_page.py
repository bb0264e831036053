"""The page of one run, or of two side by side."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepmore.errors import RunError
from sweepmore.report import figures
from sweepmore.report.additions import Additions, Told, tell
from sweepmore.report.document import Page, Picture, Section, Table
from sweepmore.runs.files import read_json
from sweepmore.runs.names import name_of
from sweepmore.runs.record import read_config, read_metrics
from sweepmore.study.application import Curves
from sweepmore.typed import dotted
from sweepmore.wording import decimals, plural, shown_path


def runs_page(folders: Sequence[Path], additions: Additions) -> Page:
    """A run, or two of them: what differs in their settings, their curves together, and what the
    application tells of each side by side."""
    results = [read_json(folder / "result.json") for folder in folders]
    for result in results[1:]:
        if result["data"]["fingerprint"] != results[0]["data"]["fingerprint"]:
            names = [one["data"]["name"] for one in results]
            raise RunError("The runs have other data: their losses cannot be compared.",
                           value=names, cure="Compare runs of equal fingerprints.")  # fmt: skip
    names = [name_of(folder) for folder in folders]
    application = additions.describe(dotted(read_config(folders[0])))
    additions = additions.of(application)
    told, sections = [tell(additions, folder) for folder in folders], list[Section]()
    known = list(zip(names, results))
    if len(folders) > 1:
        sections.append(Section("What differs", tables=[differing(folders)]))
    if application.curves.drawn:
        chart = figures.logged(application.curves, _logged(names, folders), results[0]["data"])
        pictures = [Picture([chart], additions.note(known))]
        sections.append(Section(application.curves.title, pictures=pictures))
    sections += side_by_side(names, told) if len(folders) > 1 else told[0].sections
    facts = [
        fact
        for name, result in known
        for fact in (
            (name, _ended(application.curves, result)),
            *((f"{name}: the {label}", text) for label, text in additions.numbers(result)),
        )
    ]
    return Page(
        title=" and ".join(names),
        subtitle=" · ".join(
            f"{plural(r['steps'], 'step')} in {r['seconds']:.1f} s" for r in results
        ),
        facts=[*facts, *(told[0].facts if len(folders) == 1 else ())],
        warnings=warnings_of_runs(names, told),
        sections=sections,
        commands=[
            command
            for name, folder in zip(names, folders)
            for command in additions.own(
                application,
                application.commands.run,
                which="it" if len(names) == 1 else name,
                run=shlex.quote(shown_path(folder)),
                where="",
            )
        ],
    )


def _logged(
    names: Sequence[str], folders: Sequence[Path]
) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    """The rows of each run's journal, by its name, which a single run does not need."""
    return [
        (name if len(folders) > 1 else "", read_metrics(folder))
        for name, folder in zip(names, folders)
    ]


def _ended(curves: Curves, result: Mapping[str, Any]) -> str:
    """How a run ended: its status, or what it was measured by."""
    if result["status"] != "ok":
        return f"{result['status']}: {result['reason']}"
    known = [curve for curve in curves.drawn if result.get(curve.key) is not None]
    values = (f"{curve.name} {decimals(result[curve.key])}" for curve in known)
    return ", ".join(values) or "ok"


def warnings_of_runs(names: Sequence[str], told: Sequence[Told]) -> list[str]:
    """Of several runs each warning says whose it is."""
    if len(told) == 1:
        return list(told[0].warnings)
    return [f"{name}: {warning}" for name, one in zip(names, told) for warning in one.warnings]


def side_by_side(names: Sequence[str], told: Sequence[Told]) -> list[Section]:
    """Of the sections that all runs have, by title, the tables beside each other."""
    found = []
    titled = [{section.title: section for section in one.sections} for one in told]
    for title in titled[0]:
        same = [sections[title] for sections in titled if title in sections]
        if len(same) == len(names):
            tables = [
                replace(table, caption=f"{name}. {section.text}".strip())
                for name, section in zip(names, same)
                for table in section.tables
            ]
            found += [Section(title, tables=tables)] if tables else []
    return found


def differing(folders: Sequence[Path]) -> Table:
    """The settings that are not the same in all runs, as they are typed; – where a run's version
    did not have one."""
    flat = [dotted(read_config(folder)) for folder in folders]
    typed = [{key: as_typed(value) for key, value in one.items()} for one in flat]
    keys = sorted({key for one in typed for key in one})
    rows = [[key, *(one.get(key) for one in typed)] for key in keys]
    return Table(
        ["setting", *map(name_of, folders)], [row for row in rows if len(set(row[1:])) > 1]
    )


def as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
