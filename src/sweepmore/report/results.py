"""RESULTS.md: a study as a repository keeps it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweepmore.process.machine import processor
from sweepmore.report.document import Page, markdown
from sweepmore.report.study import Study
from sweepmore.report.study_page import FOLDER
from sweepmore.report.trials import TRIALS
from sweepmore.runs.files import read_json
from sweepmore.sweep.command_lines import command_line

# Trials that RESULTS.md lists; trials.csv beside it has all.
MOST_COMMITTED = 20


def about_run(run: Path) -> list[tuple[str, str]]:
    """Return labelled facts on where a run's numbers come from, as far as the run recorded them."""
    path = run / "provenance.json"
    if not path.exists():  # the application keeps none
        return [("machine", processor())]
    code = read_json(path)
    commit = code["commit"] or "none"
    return [
        ("commit", commit[:7] + ("+" if code["dirty_diff"] else "")),
        ("versions", ", ".join(f"{k} {v}" for k, v in code["versions"].items())),
        ("machine", f"{processor()}; Python {code['python']}"),
    ]


def results_page(study: Study, page: Page, about: Sequence[tuple[str, str]]) -> str:
    """Return RESULTS.md of a study that is committed with its trials and figures.

    It says what was asked, what came out and what failed. ``page`` is the study's page, and
    ``about`` holds labelled facts about the commit, the versions and the machine.
    """
    facts = [(label, text) for label, text in page.facts if label != FOLDER]  # not committed
    lines = [f"# {page.title}", "", page.verdict, "", page.subtitle, ""]
    lines += [f"- {label}: {text}" for label, text in (*about, *facts)]
    lines += [f"- data: {json.dumps(study.question['identity'])}", ""]
    # the command comes before the evidence: it is what a reader needs to repeat the study
    lines += ["```", command_line(study.attrs.command), "```", ""]
    if page.warnings:
        lines += ["Check these:", "", *(f"- {warning}" for warning in page.warnings), ""]
    for section in page.sections:
        lines += [f"## {section.title}", ""]
        lines += [section.text, ""] if section.text and section.title != TRIALS else []
        for picture in section.pictures:
            if len(picture.charts) == 1:
                lines += [f"**{picture.charts[0].title}** ({picture.shown[0].subtitle})", ""]
            lines += [f"![{section.title}]({picture.name}.png)", ""]
        for table in section.tables:
            few = replace(table, rows=table.rows[:MOST_COMMITTED])
            lines += [markdown(few), ""]
            if len(few.rows) < len(table.rows):
                lines += [f"The first {len(few.rows)} rows; trials.csv has every trial.", ""]
    return "\n".join(lines)
