"""The page "The lecture": its commands run, and give the numbers that the page claims."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from nplm.config import Data
from nplm.data import load_splits
from tests.support.helpers import ROOT, result_of, run_script

PAGE = (ROOT / "docs" / "lecture.md").read_text()
BLOCK = re.compile(r"^```\n(python [^\n]+)\n```\n\n((?:\|.*\|\n)*)", re.MULTILINE)
ROW = re.compile(r"^\| `(?P<what>[^`]+)` \| (?P<value>[\d.]+) ± (?P<tolerance>[\d.]+) \|$", re.M)


@dataclass(frozen=True)
class Claim:
    """A row of a table: ``what`` is ``value`` nats, within ``tolerance``."""

    what: str
    value: float
    tolerance: float


def claims_of(table: str) -> list[Claim]:
    rows = ROW.finditer(table)
    return [Claim(row["what"], float(row["value"]), float(row["tolerance"])) for row in rows]


COMMANDS = [(command, claims_of(table)) for command, table in BLOCK.findall(PAGE)]


def obtained(command: str, folder: Path) -> tuple[dict[str, float], str]:
    """What the command gave by the names of the page's tables, and what it printed.

    The command is run as it stands; what is added says where the outputs go, and leaves W&B out.
    """
    python, script, *words = shlex.split(command)
    assert python == "python"
    swept = "-m" in words
    place = f"hydra.sweeper.outputs={folder}" if swept else f"hydra.run.dir={folder / 'run'}"
    done = run_script(script, *words, place, "wandb.mode=disabled")
    assert (done.returncode, done.stderr) == (0, "")
    return (trials_in(folder) if swept else losses_in(folder / "run")), done.stdout


def losses_in(run: Path) -> dict[str, float]:
    first = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert first["step"] == 0
    result = result_of(run)
    losses = {which: float(result[which]) for which in ("dev_loss", "train_loss")}
    return {"start": first["dev_loss"], **losses}


def trials_in(outputs: Path) -> dict[str, float]:
    """The best and the worst of a study, and the value of each ``key=value`` of its grid."""
    (table,) = outputs.glob("studies/*/trials.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"ok"}
    values = [float(row["value"]) for row in rows]
    settings = {
        f"{key}={float(row[key]):g}": float(row["value"])
        for row in rows
        for key in row
        if "." in key
    }
    return {"best": min(values), "worst": max(values), **settings}


@pytest.mark.system
@pytest.mark.parametrize(
    ("command", "claims"),
    # sweeps take 15 s each
    [pytest.param(*one, marks=[pytest.mark.slow] if " -m " in one[0] else [], id=one[0])
     for one in COMMANDS],
)  # fmt: skip
def test_a_command_gives_what_the_page_says(
    command: str, claims: list[Claim], tmp_path: Path
) -> None:
    found, printed = obtained(command, tmp_path)
    for claim in claims:
        given = found[claim.what]
        assert given == pytest.approx(claim.value, abs=claim.tolerance), claim.what
        if claim.what == "start":
            assert f"start    dev loss {given:.3f} at step 0" in printed


def test_every_command_and_every_row_of_the_page_is_checked() -> None:
    fenced = re.findall(r"^```.*?^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(fenced) == len(COMMANDS) == 4
    tables = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(tables) == sum(len(claims) for _, claims in COMMANDS)
    assert all(claims for _, claims in COMMANDS)
    parts = re.findall(r"^## (E\d\d): ", PAGE, re.MULTILINE)
    assert parts == ["E01", "E02", "E03"]


# chapter, command, what it gives on the lecture's names, and on the project's own
CHAPTER = re.compile(
    r"^\| [^|`]+ \| (`python train[^`]+`|the same) \| ([^|]+) \| ([^|]+) \|$", re.M
)
# What the page calls a number, and where train.py prints it.
PRINTED = {
    "examples": r"lines; ([\d,]+ and [\d,]+) examples",
    "parameters": r"; ([\d,]+) parameters",
    "overlap": r"dev lines \(([\d.]+%)\)",
    "start": r"^start    dev loss ([\d.]+)",
    "loss": r"^loss     ([\d.]+)",
    "dev loss": r"^dev loss ([\d.]+)",
}


def chapters() -> dict[str, list[tuple[str, str]]]:
    """What each command is to give on both files, by the command."""
    found: dict[str, list[tuple[str, str]]] = {}
    command = ""
    for typed, names, given in CHAPTER.findall(PAGE):
        command = command if typed == "the same" else typed.strip("`")
        found.setdefault(command, []).append((names, given))
    return found


def test_the_page_has_the_chapters() -> None:
    assert sum(map(len, chapters().values())) == 9


@pytest.mark.system
@pytest.mark.parametrize("data", ["names", "given_names"])
@pytest.mark.parametrize("command", chapters())
def test_a_chapter_gives_what_the_page_says(
    command: str, data: str, names_dir: Path, tmp_path: Path
) -> None:
    words = [*shlex.split(command)[2:], f"data={data}", "wandb.mode=disabled"]
    env = {"SWEEPMORE_DATA_DIR": str(names_dir)}
    done = run_script("train.py", *words, f"hydra.run.dir={tmp_path / 'run'}", env=env)
    assert done.returncode == 0, done.stderr
    for row in chapters()[command]:
        check(row[data == "given_names"], done.stdout)


def check(claim: str, printed: str) -> None:
    """``dev loss 2.105 ± 0.015`` by its tolerance, all else to the letter."""
    name = next(name for name in sorted(PRINTED, key=len, reverse=True) if claim.startswith(name))
    shown = re.search(PRINTED[name], printed, re.MULTILINE)
    assert shown is not None, printed
    value, _, tolerance = claim.removeprefix(f"{name} ").partition(" ± ")
    if tolerance:
        assert float(shown[1]) == pytest.approx(float(value), abs=float(tolerance)), claim
    else:
        assert shown[1] == value


def claimed(what: str, *, containing: str) -> float:
    """The value that the page states for the command with these words."""
    (claims,) = [claims for command, claims in COMMANDS if command.endswith(containing)]
    (claim,) = [claim for claim in claims if claim.what == what]
    return claim.value


def test_the_uniform_guess_is_that_of_the_vocabulary() -> None:
    size = len(load_splits(Data(), block_size=3).vocabulary)
    assert f"ln {size} = {math.log(size):.3f}" in PAGE
    assert abs(claimed("start", containing="init=scaled") - math.log(size)) < 0.02


def test_the_sentences_follow_from_the_tables() -> None:
    quick = claimed("dev_loss", containing="experiment=quick")
    best = claimed("best", containing="model.emb=20 hydra.sweeper.n_jobs=2")
    assert 2.180 - quick == pytest.approx(0.05, abs=0.005)
    assert quick - best == pytest.approx(0.05, abs=0.005)
    repeats = "'hydra.sweeper.repeats={seed: [0, 1, 2]}' hydra.sweeper.n_jobs=2"
    short, long = (claimed(f"model.block_size={b}", containing=repeats) for b in (3, 5))
    assert short - long == pytest.approx(0.03, abs=0.005)


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE)
    assert links
    assert all((ROOT / "docs" / link).exists() for link in links)
