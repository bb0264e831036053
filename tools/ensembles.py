"""What ensembles buy and cost, from runs of ``train.py ensemble=…``, into sweeps/ensembles/.

Usage: python tools/ensembles.py RUN [RUN …]
What stands in RESULTS.md above the mark stays; below it, everything is written again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from nplm.app import members, report
from nplm.averaging import ensemble_in
from nplm.config import Ensemble, from_hydra
from sweepmore.report.document import markdown
from sweepmore.report.drawing import draw, save
from sweepmore.report.results import about_run
from sweepmore.runs.files import write_atomic
from sweepmore.runs.record import read_config

FOLDER = Path(__file__).resolve().parents[1] / "sweeps" / "ensembles"
BEGIN = "<!-- by tools/ensembles.py -->"


def part(run: Path) -> Iterator[str]:
    """Yield the lines about one ensemble, and draw its figure."""
    config, splits, trained = report.opened(run)
    model = ensemble_in(trained.model)
    assert model is not None
    assert isinstance(config.model, Ensemble)
    member = from_hydra(read_config(run / config.model.members[0].run))
    section = members.section(model, splits)
    (picture,), (table,) = section.pictures, section.tables
    save(draw(picture.charts), FOLDER / f"{config.ensemble}.png")
    yield from [f"## {config.ensemble}", "", f"{member.model}; {member.optim.steps:,} steps each."]
    yield from ["", *(f"- {label}: {text}" for label, text in about_run(run))]
    yield from [f"- data: {splits.name}, fingerprint {splits.fingerprint}", ""]
    yield from ["```", f"python train.py ensemble={config.ensemble}", "```", ""]
    yield from [section.text, "", f"![Loss by members]({config.ensemble}.png)", ""]
    yield from [markdown(table), ""]


def main(*runs: str) -> None:
    results = FOLDER / "RESULTS.md"
    results.parent.mkdir(exist_ok=True)
    above = results.read_text(encoding="utf-8").partition(BEGIN)[0] if results.exists() else ""
    lines = [line for run in runs for line in part(Path(run).resolve())]
    write_atomic(results, "\n".join([f"{above}{BEGIN}", "", *lines]))
    print(results)


if __name__ == "__main__":
    main(*sys.argv[1:])
