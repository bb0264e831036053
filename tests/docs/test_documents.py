"""The documents name files that exist, show figures that their sources have, and a true picture."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import READ
from tests.support.helpers import ROOT, script_of

WITH_PAGES = ("benchmarks", "docs", "examples", "src", "sweeps")
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (
        *ROOT.glob("*.md"),
        *(p for name in WITH_PAGES for p in (ROOT / name).rglob("*.md")),
    )
)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)")  # a file, and a heading in it
LINE = re.compile(r"L(\d+)")
TEST = re.compile(r"\s*(async )?def test_")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# In `docs/architecture.md` rooms and modules have their names within the two packages.
FOLDERS = (ROOT, ROOT / "src" / "sweepmore", ROOT / "src" / "nplm")
NAMED = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/?)`")
NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?(?![\w])")
COMMIT = re.compile(r"commit ([0-9a-f]{7})")

architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
rooms = script_of(ROOT / "tools" / "draw_rooms.py")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_a_page_links_exists(page: Path) -> None:
    for file, heading in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        target = ROOT / page.parent / file if file else ROOT / page
        assert target.exists(), file
        if line := LINE.fullmatch(heading):
            assert TEST.match(line_of(target, int(line[1]))), f"{file}#{heading} holds no test"
        else:
            assert not heading or heading in headings(target), f"{file}#{heading}"


def line_of(file: Path, number: int) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    return lines[number - 1] if number <= len(lines) else ""


def test_the_readme_is_read_to_the_end() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200
    assert len([line for line in lines if "(tests/" in line]) == 6  # a reason, a test


def test_readme_and_documentation_stay_short() -> None:
    words = {page: len(page.read_text(encoding="utf-8").split()) for page in READ}
    challenge = sum(n for page, n in words.items() if page.name.startswith("challenge"))
    assert challenge <= 1_600  # with a transcript, and an agent's log
    assert sum(words.values()) - challenge <= 13_500


def headings(page: Path) -> set[str]:
    """As GitHub links them."""
    titles = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def named_files(text: str) -> list[str]:
    """What stands in backticks and is a path, or a file of Python or of documentation."""
    return [name for name in NAMED.findall(text) if "/" in name or name.endswith((".py", ".md"))]


def test_what_the_architecture_names_exists() -> None:
    names = named_files(architecture)
    assert len(names) > 60
    assert [n for n in names if not any((folder / n).exists() for folder in FOLDERS)] == []


def test_the_architecture_names_every_room() -> None:
    packages = {path.parent.name for path in (ROOT / "src" / "sweepmore").glob("*/__init__.py")}
    modules = {path.name for path in (ROOT / "src" / "sweepmore").glob("[!_]*.py")}
    first_cells = set(re.findall(r"^\| `([\w./]+)` \|", architecture, re.MULTILINE))
    assert {f"{name}/" for name in packages} | modules <= first_cells


def test_the_architecture_has_fifteen_changes() -> None:
    changes = re.findall(r"^\| (\d+)\. ", architecture, re.MULTILINE)
    assert changes == [str(number) for number in range(1, 16)]


def test_the_badges_are_true() -> None:
    badges = script_of(ROOT / "tools" / "badges.py")
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, (label, text) in badges.facts().items():
        drawn = badges.badge(label, text)
        assert drawn == badges.path_of(name).read_text(encoding="utf-8"), "python tools/badges.py"
        assert f"(docs/images/badge-{name}.svg)" in page


def test_the_picture_of_the_rooms_is_current() -> None:
    drawn = rooms.draw()
    assert drawn == rooms.PICTURE.read_text(encoding="utf-8"), "run: python tools/draw_rooms.py"


def test_the_picture_shows_the_contract_and_the_imports(tmp_path: Path) -> None:
    """An import that is there is a dot, and rooms in another order are another picture."""
    assert "of sweep to sweepmore/study</title>" in rooms.draw()
    assert "of study to sweepmore/sweep</title>" not in rooms.draw()
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    swapped = tmp_path / "pyproject.toml"
    swapped.write_text(
        text.replace('    "statistics",\n    "storage",', '    "storage",\n    "statistics",')
    )
    assert rooms.draw(swapped) != rooms.draw()


def test_rooms_that_share_a_layer_stand_side_by_side() -> None:
    assert rooms.members("typed | values | (wording)") == ("typed", "values", "wording")


def negative_results() -> Iterator[tuple[str, str]]:
    """Result and source of each row."""
    text = (ROOT / "docs" / "negative-results.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (?!date)(.*) \|$", text, re.MULTILINE):
        date, _, result, source = row.split(" | ")
        assert re.fullmatch(r"\d\d(-\d\d)?", date)
        yield result, source


def said_in(source: str) -> str | None:
    """What a source says: the files and the commits' messages; None where nothing is kept, or
    where the history is not at hand."""
    files = [ROOT / "docs" / file for file, _ in LINK.findall(source)]
    texts = [file.read_text(encoding="utf-8") for file in files]
    for commit in COMMIT.findall(source):
        words = ["git", "log", "-1", "--format=%B", commit]
        if shutil.which("git") is None:
            return None
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
        if done.returncode:  # a copy without history, or a shallow one
            return None
        texts.append(done.stdout)
    return "\n".join(texts) or None


@pytest.mark.parametrize(("result", "source"), list(negative_results()))
def test_a_negative_result_has_the_figures_of_its_source(result: str, source: str) -> None:
    assert LINK.search(source) or COMMIT.search(source) or source == "prototype"
    said = said_in(source)
    if said is not None:
        figures = set(NUMBER.findall(said))
        assert [number for number in NUMBER.findall(result) if number not in figures] == []


def test_pre_commit_runs_what_make_test_runs_on_style() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ntest: setup\n")[1]
    recipe = recipe.split("\n\n")[0].replace("@$(BIN)", ".venv/bin")
    checks = [line.strip() for line in recipe.splitlines() if "pytest" not in line]
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in config["repos"]} == {"local"}  # no network is needed
    # the contract is a part of make test by tests/test_contract.py
    assert entries == [*checks, ".venv/bin/lint-imports --no-cache"]
