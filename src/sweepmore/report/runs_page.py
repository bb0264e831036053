"""The page of one run, or of two side by side."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepmore.errors import RunError
from sweepmore.report import figures
from sweepmore.report.additions import Additions, Results, Told, tell
from sweepmore.report.document import Page, Picture, Section, Table
from sweepmore.report.figures import brief
from sweepmore.runs.files import read_json
from sweepmore.runs.names import name_of
from sweepmore.runs.record import read_config, read_metrics, read_overrides
from sweepmore.study.application import Curves
from sweepmore.typed import dotted
from sweepmore.wording import decimals, plural, shown_path


def runs_page(folders: Sequence[Path], additions: Additions) -> Page:
    """Return the page of one run, or of two side by side.

    Two runs are compared by the settings that differ, their curves in one chart, and the sections
    that the application adds to both. Raises RunError if their data differ, because their losses
    then cannot be compared.
    """
    results = [read_json(folder / "result.json") for folder in folders]
    for result in results[1:]:
        if result["data"]["fingerprint"] != results[0]["data"]["fingerprint"]:
            names = [result["data"]["name"] for result in results]
            raise RunError("The runs have other data: their losses cannot be compared.",
                           value=names, cure="Compare runs of equal fingerprints.")  # fmt: skip

    # the evidence: settings, curves, then what the application adds
    names = [name_of(folder) for folder in folders]
    labels = labels_of(names, folders)
    application = additions.describe(dotted(read_config(folders[0])))
    additions = additions.of(application)
    remarks, sections = [tell(additions, folder) for folder in folders], list[Section]()
    named_results = list(zip(names, results))
    if len(folders) > 1:
        sections.append(Section("What differs", tables=[differing(folders)]))
    # what takes no steps, such as a model that counts, has no curves
    if application.curves.drawn and any(result["steps"] for result in results):
        legend = labels if len(folders) > 1 else [""]
        runs = [(label, read_metrics(folder)) for label, folder in zip(legend, folders)]
        chart = figures.logged(application.curves, runs, results[0]["data"])
        pictures = [Picture([chart], additions.note(named_results))]
        sections.append(Section(application.curves.title, pictures=pictures))
    sections += side_by_side(names, remarks) if len(folders) > 1 else remarks[0].sections

    # the answer, which a page shows first: how each run ended, then its numbers
    facts = [
        fact
        for name, result in named_results
        for fact in (
            (name, ended(application.curves, result)),
            *((f"{name}: the {label}", text) for label, text in additions.numbers(result)),
        )
    ]
    return Page(
        title=" and ".join(names),
        subtitle=" · ".join(
            f"{f'{label}: ' if len(results) > 1 else ''}{plural(r['steps'], 'step')} in "
            f"{r['seconds']:.1f} s"
            for label, r in zip(labels, results)
        ),
        facts=[*facts, *(remarks[0].facts if len(folders) == 1 else ())],
        warnings=warnings_of_runs(labels, remarks),
        sections=sections,
        commands=[
            command
            for k in better_first(application.curves, results)
            for command in additions.own(
                application,
                application.commands.run,
                which="it" if len(names) == 1 else labels[k],
                run=shlex.quote(shown_path(folders[k])),
                where="",
            )
        ],
        verdict=verdict_of(application.curves, [*zip(labels, results)], remarks),
        number=_number(application.curves, results[0]) if len(folders) == 1 else None,
        settings=" ".join(read_overrides(folders[0])) if len(folders) == 1 else "",
        chips=list(dict.fromkeys(chip for remark in remarks for chip in remark.chips)),
    )


def _number(curves: Curves, result: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the final value of the first of the application's curves, and what it is."""
    for curve in curves.drawn:
        if result.get(curve.key) is not None:
            return decimals(result[curve.key]), f"{curve.name} {curves.quantity}, one run"
    return None


def better_first(curves: Curves, results: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the indices of runs, that which ended lowest in the first curve of all first."""
    for curve in curves.drawn:
        ends: dict[int, Any] = {k: result.get(curve.key) for k, result in enumerate(results)}
        if None not in ends.values():
            return sorted(ends, key=ends.__getitem__)
    return [*range(len(results))]


def verdict_of(curves: Curves, results: Results, remarks: Sequence[Told]) -> str:
    """Say in a sentence how the run ended, or which of two runs ended better."""
    values = [_number(curves, result) for _, result in results]
    if len(results) == 1:
        name, result = results[0]
        told = ended(curves, result) if values[0] is None else f"{values[0][0]}"
        what = f"It ended with {values[0][1].split(',')[0]} " if values[0] else f"{name} "
        after = f" after {plural(result['steps'], 'step')}" if result["steps"] else ""
        return f"{'; '.join([f'{what}{told}{after}', *remarks[0].clauses])}."
    low, high = (results[k][0] for k in better_first(curves, [result for _, result in results]))
    (_, first), (_, second) = results
    for curve in curves.drawn:
        end, other = first.get(curve.key), second.get(curve.key)
        if end is not None and other is not None:
            by = decimals(abs(end - other), end)
            what = f"{curve.name} {curves.quantity}"
            return f"{low} ends with a {what} {by} below that of {high}; one run each may be luck."
    return ""


# Characters of a legend's entry: two runs have four entries in a row.
LEGEND = 24


def labels_of(names: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Return what tells runs apart in a legend: the settings that differ, else their names."""
    rows = differing(folders).rows
    labels = [brief({row[0]: row[k + 1] for row in rows}) for k in range(len(names))]
    fit = all(0 < len(label) <= LEGEND for label in labels)
    return labels if fit and len(set(labels)) == len(labels) else list(names)


def ended(curves: Curves, result: Mapping[str, Any]) -> str:
    """Say how a run ended: by its final losses if it is ok, else by its status and the reason."""
    if result["status"] != "ok":
        return f"{result['status']}: {result['reason']}"
    measured = [curve for curve in curves.drawn if result.get(curve.key) is not None]
    values = (f"{curve.name} {decimals(result[curve.key])}" for curve in measured)
    return ", ".join(values) or "ok"


def warnings_of_runs(names: Sequence[str], remarks: Sequence[Told]) -> list[str]:
    """Return the warnings of all runs. Of two runs, each names its run, or says that it is of both.

    Warnings that differ in their numbers alone are one, with both numbers.
    """
    if len(remarks) == 1:
        return list(remarks[0].warnings)
    firsts, seconds = ([*remark.warnings] for remark in remarks)
    warnings = []
    for warning in firsts:
        same = next((other for other in seconds if _joined(warning, other)), None)
        if same is None:
            warnings.append(f"{names[0]}: {warning}")
        else:
            seconds.remove(same)
            warnings.append(f"both: {_joined(warning, same)}")
    return [*warnings, *(f"{names[1]}: {warning}" for warning in seconds)]


def _joined(one: str, two: str) -> str:
    """Return one text for two, with both of each number that differs; empty if words differ."""
    words, others = (re.split(r"(\d[\d,.]*\d|\d)", text) for text in (one, two))
    if words[::2] != others[::2]:
        return ""
    return "".join(a if a == b else f"{a} and {b}" for a, b in zip(words, others))


def side_by_side(names: Sequence[str], remarks: Sequence[Told]) -> list[Section]:
    """Return the sections that all runs share by title, with their tables next to each other."""
    joined = []
    titled = [{section.title: section for section in remark.sections} for remark in remarks]
    for title in titled[0]:
        same = [sections[title] for sections in titled if title in sections]
        if len(same) == len(names):
            tables = [
                replace(table, caption=f"{name}. {section.text}".strip())
                for name, section in zip(names, same)
                for table in section.tables
            ]
            joined += [Section(title, tables=tables)] if tables else []
    return joined


def differing(folders: Sequence[Path]) -> Table:
    """Return a table of the settings that differ between runs, written as they are typed.

    A setting that a run's version did not have is None, which a page shows as –.
    """
    flat = [dotted(read_config(folder)) for folder in folders]
    typed = [{key: as_typed(value) for key, value in settings.items()} for settings in flat]
    keys = sorted({key for settings in typed for key in settings})
    rows = [[key, *(settings.get(key) for settings in typed)] for key in keys]
    return Table(
        ["setting", *map(name_of, folders)], [row for row in rows if len(set(row[1:])) > 1]
    )


def as_typed(value: Any) -> str:
    """Return a setting as it is typed in a command: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
