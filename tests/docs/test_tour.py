"""The notebook: what is committed is what its cells give, executed afresh from top to bottom."""

from __future__ import annotations

import getpass
import json
import re
import socket
import warnings
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from tests.support.helpers import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"
MOST_BYTES = 600_000
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
# /name/name, as in /home/me, C:\ and file:// too; "nats/token" and "train/dev" are not meant
ABSOLUTE = re.compile(r"(?<![\w.<])/[A-Za-z][\w.-]*/[\w.-]+|\b[A-Z]:\\|/(?:work|root|tmp|home)\b")
# Another CPU rounds otherwise, and training amplifies it: losses of other seeds differ by less
# than 0.02; the distances in the embedding, the rate and the share of a guess by more.
RELATIVE = 0.02
ROUGH = ("vowels = ", "model = lecture_model()\nexponents", "known = ", 'print("context  token')
# What the text claims, as expressions of the notebook's own variables.
FACTS = {
    "first_loss": "by_hand.item()",
    "same_loss": "by_function.item()",
    "safe": "F.cross_entropy(large, sure).item()",
    "overfitted": "overfitted",
    "floor": "floor",
    "exact": "exact",
    "rough": "rough",
    "narrow": "small.dev_loss",
    "wide": "wider.dev_loss",
    "rich": "richer.dev_loss",
    "trials": "len(study.trials)",
    "best": "study.best.value",
    "names": "len(splits.train.lines)",
    "data": "splits.name",
}


def read_tour() -> Any:
    return nbformat.read(TOUR, as_version=4)  # type: ignore[no-untyped-call]


def execute(book: Any, folder: Path) -> Any:
    """``book`` executed with ``folder`` as the working directory; an error of a cell raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the kernel's client closes its sockets late
        client = nbclient.NotebookClient(
            book,
            timeout=120,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute()
    return book


def code(book: Any) -> list[Any]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def texts(cell: Any) -> str:
    """All that a cell shows, but the pictures' pixels."""
    shown = [
        output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    ]
    return "".join(shown)


def pictures(cell: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


@pytest.fixture(scope="module")
def fresh() -> tuple[Any, dict[str, Any]]:
    """The notebook executed anew, and the facts that its variables then hold."""
    book = read_tour()
    for cell in code(book):
        cell.outputs, cell.execution_count = [], None
    pairs = ", ".join(f"{name!r}: {expression}" for name, expression in FACTS.items())
    book.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{pairs}}}))"))  # type: ignore[no-untyped-call]
    execute(book, TOUR.parent)
    facts = json.loads(texts(book.cells.pop()))
    return book, facts


def test_committed_was_executed_once_from_top_to_bottom() -> None:
    cells = code(read_tour())
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds <= {"stream", "display_data", "execute_result"}
    assert "stderr" not in {output.get("name") for cell in cells for output in cell.outputs}


def test_committed_names_no_place_and_nobody() -> None:
    book = read_tour()
    shown = "\n".join(texts(cell) for cell in code(book))
    assert ABSOLUTE.findall(shown) == []
    assert str(ROOT) not in json.dumps(book)
    assert socket.gethostname() not in shown
    assert f"/{getpass.getuser()}" not in shown
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in book.cells)


@pytest.mark.parametrize(
    ("text", "found"),
    [("in /srv/somewhere", True), ("file:///tmp/x", True), ("C:\\x", True), ("nats/token", False)],
)
def test_a_place_is_recognised(text: str, found: bool) -> None:
    assert bool(ABSOLUTE.search(text)) is found


def test_committed_is_small() -> None:
    assert TOUR.stat().st_size < MOST_BYTES


def test_one_cell_installs_and_it_is_the_first() -> None:
    first, *others = [cell.source for cell in code(read_tour())]
    # a path: pip would look for the bare name of a folder in a package index
    assert (
        first.count(
            '%pip install --quiet --group "{HERE}/pyproject.toml:nplm" -e "{HERE}[report,wandb]"'
        )
        == 1
    )
    assert first.count("CHECKOUT = ") == 1
    assert not any("pip install" in source for source in others)


def test_it_begins_in_the_root_of_the_checkout_too() -> None:
    book = read_tour()
    book.cells = code(book)[:1]
    executed = execute(book, ROOT)
    assert texts(executed.cells[0]) == "nplm is installed: True\n"


def test_the_facts_of_the_text(fresh: tuple[Any, dict[str, Any]]) -> None:
    _, facts = fresh
    assert (facts["data"], facts["names"]) == ("given_names", 23_406)
    assert facts["first_loss"] == pytest.approx(17.7697, abs=5e-5)  # the lecture's
    assert facts["same_loss"] == pytest.approx(facts["first_loss"], rel=1e-6)
    assert facts["safe"] == 0
    assert facts["floor"] == pytest.approx(5 / 32 * 1.6094379, rel=1e-6)  # ln 5 for 5 of 32
    assert facts["floor"] < facts["overfitted"] < 0.26  # the lecture ends at 0.2561
    assert facts["rough"] < facts["exact"] / 3
    assert facts["rich"] + 0.03 < facts["wide"] < facts["narrow"]
    assert facts["trials"] == 8
    assert facts["best"] < 2.16


def by_trial(cell: Any) -> str:
    """A cell's text, the trials of a sweep's table in the order of their numbers: two that differ
    by less than ``RELATIVE`` change their ranks from one processor to the next."""
    lines = texts(cell).splitlines()
    trials = sorted(line for line in lines if line.startswith("  trial"))
    return "\n".join(trials.pop(0) if line.startswith("  trial") else line for line in lines)


def test_committed_outputs_are_those_of_the_cells(fresh: tuple[Any, dict[str, Any]]) -> None:
    book, _ = fresh
    for committed, executed in zip(code(read_tour()), code(book), strict=True):
        assert pictures(committed) == pictures(executed), committed.source
        if not committed.source.startswith(ROUGH):
            expected = pytest.approx(numbers(by_trial(committed)), rel=RELATIVE, nan_ok=True)
            assert numbers(by_trial(executed)) == expected, committed.source
