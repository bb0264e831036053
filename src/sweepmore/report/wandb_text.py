"""What a W&B report says about studies: the verdicts first, then what supports them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from wandb_workspaces.reports.v2 import interface as wr

from sweepmore.report import comparison
from sweepmore.report.additions import NOTHING, Told
from sweepmore.report.confirmation import seeds_title, winner_table
from sweepmore.report.document import Table, cell, markdown
from sweepmore.report.study import Study
from sweepmore.report.study_page import warnings_of
from sweepmore.report.upload import folders_of, superseded_in
from sweepmore.report.wandb_panels import Runs
from sweepmore.runs.record import read_config
from sweepmore.study.attempts import words
from sweepmore.study.attributes import Winner
from sweepmore.study.parts import parts_of
from sweepmore.study.verdict import verdict
from sweepmore.study.winners import reported
from sweepmore.sweep.command_lines import command_line
from sweepmore.typed import dotted


@dataclass(frozen=True)
class Subject:
    """A study in a report: what it says in a sentence, its warnings, and which runs are its."""

    study: Study
    verdict: str
    runs: Runs
    warnings: Sequence[str] = ()

    @classmethod
    def of(cls, stored: optuna.Study, study: Study, told: Told = NOTHING) -> Subject:
        """Read what a report needs beside the page's record of a study; ``told`` is what the
        application adds to its page."""
        runs = Runs(
            study.seen.name,
            groups=[study.seen.name, *(part.study_name for part in parts_of(stored))],
            superseded=superseded_in(folders_of(stored)),
            searched=study.question["space"],
            config=config_of(study.winning_run),
            sign=study.sign,
        )
        warnings = [*warnings_of(study), *told.warnings]
        return cls(study, verdict(study.found, *told.clauses, edges=False), runs, warnings)

    @property
    def key(self) -> str:
        """What tells the study from a later one of its name."""
        return f"{self.study.seen.name} {self.study.attrs.uid}"


def config_of(run: Path) -> dict[str, Any]:
    """Return what one run's config says of all, flat; {} where its folder was deleted."""
    return dotted(read_config(run)) if (run / "config.yaml").exists() else {}


def about_studies(subjects: Sequence[Subject]) -> list[wr.BlockTypes]:
    """Return the text of a report: the verdicts first, then what supports them."""
    several = len(subjects) > 1
    blocks: list[wr.BlockTypes] = []
    if several:
        blocks += [wr.MarkdownBlock(text=text) for text in [better(subjects)] if text]
        studies = [subject.study for subject in subjects]
        blocks += section("What differs", comparison.differing(studies))
    for subject in subjects:
        study = subject.study
        blocks += [wr.H2(study.seen.name)] if several else []
        blocks.append(wr.MarkdownBlock(text=answer(subject)))
        blocks.append(wr.CodeBlock(code=command_line(study.attrs.command), language=None))
        if study.winner is not None:
            title, table = seeds_title(study.winner), winner_text(study.winner)
            blocks += [wr.H3(title) if several else wr.H2(title), wr.MarkdownBlock(text=table)]
    return blocks


def better(subjects: Sequence[Subject]) -> str:
    """Say which confirmed study is better, by how much; nothing unless all are confirmed."""
    winners = [subject.study.winner for subject in subjects]
    means = [winner.mean for winner in winners if winner is not None]
    if len(means) < len(winners):
        return ""
    first, second, *_ = comparison.best_first(means, subjects[0].study.sign)
    better, other = subjects[first].study, subjects[second].study
    return f"**{better.seen.name}** is {comparison.against(better, other)}."


def section(title: str, table: Table) -> list[wr.BlockTypes]:
    return [wr.H2(title), wr.MarkdownBlock(text=markdown(table))] if table.rows else []


def answer(subject: Subject) -> str:
    """Return the verdict, the question and the warnings, in a few lines of Markdown."""
    study = subject.study
    space = study.question["space"]
    lines = [
        f"**{subject.verdict}**",
        f"**Question**: {study.seen.directions[0]} {study.metrics[0]} over {', '.join(space)}.",
    ]
    if study.seen.ranked:
        values = ", ".join(cell(value) for value in study.best.values or ())
        best = f"{study.best.root} with {values}: {words(study.best.params)}"
        lines.append(f"**Best trial**: {best}.")
    if study.winner is not None:
        lines.append(f"**Winner**: {words(study.winner.params)}: {reported(study.winner)}.")
    if subject.warnings:
        listed = [f"- {warning}" for warning in subject.warnings]
        lines.append("\n".join(["Check these:", "", *listed]))
    return "\n\n".join(lines)


def winner_text(winner: Winner) -> str:
    """Return the confirmed configurations as a Markdown table with the winner's row in bold."""
    table = winner_table(winner)
    rows = [
        [f"**{cell(value, at in table.typed)}**" if k in table.marked else value
         for at, value in enumerate(row)]
        for k, row in enumerate(table.rows)
    ]  # fmt: skip
    return markdown(replace(table, rows=rows))
