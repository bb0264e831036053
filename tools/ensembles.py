"""What an ensemble buys and costs, from its members' runs, into sweeps/ensembles/RESULTS.md.

Usage: python tools/ensembles.py NAME RUN RUN …
It writes the section NAME, or writes it again, and NAME.png; all else stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from nplm import ensemble
from nplm.app import members
from nplm.averaging import ensemble_in
from nplm.config import from_hydra
from nplm.data import load_splits
from sweepmore.report.document import markdown
from sweepmore.report.drawing import draw, save
from sweepmore.report.results import about_run
from sweepmore.runs.files import read_json, write_atomic
from sweepmore.runs.record import read_config

FOLDER = Path(__file__).resolve().parents[1] / "sweeps" / "ensembles"


def part(name: str, runs: tuple[Path, ...]) -> Iterator[str]:
    """Yield the lines about one ensemble, and draw its figure."""
    config = from_hydra(read_config(runs[0]))
    model = ensemble_in(ensemble(*runs).model)
    assert model is not None
    splits = load_splits(config.data, model.shape.block_size)
    section = members.section(model, splits)
    (picture,), (table,) = section.pictures, section.tables
    save(draw(picture.charts), FOLDER / f"{name}.png")
    seeds = ", ".join(str(read_json(run / "result.json")["seed"]) for run in runs)
    yield from [f"## {name}", "", f"{config.model}; {config.optim.steps:,} steps each.", ""]
    yield from [f"- {label}: {text}" for label, text in about_run(runs[0])]
    yield from [f"- data: {splits.name}, fingerprint {splits.fingerprint}", f"- seeds: {seeds}", ""]
    yield from [section.text, "", f"![dev loss by the number of members]({name}.png)", ""]
    yield from [markdown(table), ""]


def main(name: str, *runs: str) -> None:
    torch.set_num_threads(1)  # as a run has by default
    results, begin, end = FOLDER / "RESULTS.md", f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    results.parent.mkdir(exist_ok=True)
    text = results.read_text(encoding="utf-8") if results.exists() else ""
    above, _, rest = text.partition(begin)
    below = rest.partition(end)[2]
    lines = "\n".join(part(name, tuple(map(Path, runs))))
    write_atomic(results, f"{above}{begin}{lines}\n{end}{below}")
    print(results)


if __name__ == "__main__":
    main(*sys.argv[1:])
