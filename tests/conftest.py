"""Where the lecture's file lies, small data, and the root scripts without their side effects."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import hypothesis
import pytest
import torch

from nplm.config import Data
from nplm.data import Splits, load_splits
from sweepmore.compose.cli import ROOT_VARIABLE

pytest.register_assert_rewrite("tests.support")  # before it is imported
from tests.support.helpers import ROOT, TrainHere, train_here  # noqa: E402
from tests.support.sweep_apps import App  # noqa: E402

# As in an environment that was activated: commands are printed as `python …`.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

# Files that start many processes, the longest first (n=1, 2026-11: 80 s down to 12 s on two busy
# cores); a new one belongs here once it takes longer than the last.
LONGEST = (
    "faults/test_points", "faults/test_soak", "sweepmore/sweep/test_outcomes",
    "sweepmore/sweep/test_placement",
    "scripts/test_report", "sweepmore/sweep/test_search", "sweepmore/sweep/test_resume",
    "sweepmore/sweep/test_stops", "faults/test_losses", "docs/test_first_minutes",
    "sweepmore/process/test_invocation", "sweepmore/sweep/test_launchers",
    "sweepmore/sweep/test_deaths", "scripts/test_train_sweeps", "sweepmore/sweep/test_budget",
    "docs/test_tour", "examples/test_architectures", "sweepmore/confirm/test_winner",
    "sweepmore/confirm/test_challenge", "sweepmore/study/test_slots",
    "sweepmore/report/test_wandb_report", "scripts/test_resume", "scripts/test_evaluate_test",
    "scripts/test_old_versions",
    "sweepmore/runs/test_tracking", "scripts/test_bad_input", "scripts/test_train",
    "scripts/test_find_lr",
)  # fmt: skip

# `make test` draws the same inputs each time, so that it fails by a change alone;
# `make test-faults` draws others at each run, five times as many.
hypothesis.settings.register_profile("faults", derandomize=False, max_examples=500)
hypothesis.settings.register_profile("same", derandomize=True, database=None, max_examples=100)
hypothesis.settings.load_profile("same")


# Whoever takes one of these starts sweeps in real processes, a browser, a notebook.
OF_THE_SYSTEM = {
    "app", "train", "asked", "outputs", "page_of_a", "browser", "story", "published", "fresh",
    "whole",
}  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks ``system`` by fixtures. With several workers the short files come last and fill what
    the long ones leave."""
    for item in items:
        taken = OF_THE_SYSTEM & set(getattr(item, "fixturenames", ()))
        if taken and item.get_closest_marker("always") is None:
            item.add_marker("system")
    if hasattr(config, "workerinput"):
        place = {f"tests/{name}.py": at for at, name in enumerate(LONGEST)}
        items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that tests measured, which the documentation quotes; seconds per folder."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {name}: {value}")
    seconds: dict[str, float] = defaultdict(float)
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[str(Path(report.nodeid.partition("::")[0]).parent)] += report.duration
    if len(seconds) > 2:
        for folder, spent in sorted(seconds.items(), key=lambda item: -item[1]):
            terminalreporter.write_line(f"{spent:7.1f} s  {folder}")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As a run has by default; small products gain nothing from more."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def names_dir() -> Iterator[Path]:
    """The folder of the lecture's names.txt, which is not ours to ship.

    Where it is absent the test is skipped; under CI=1 it fails, because there every fact counts.
    """
    folder = Path(os.environ.get("SWEEPMORE_DATA_DIR") or ROOT.parent / "shared" / "data")
    if not (folder / "names.txt").exists():
        reason = "the lecture's names.txt is absent: set SWEEPMORE_DATA_DIR to its folder"
        if os.environ.get("CI") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPMORE_DATA_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def names(names_dir: Path) -> Splits:
    """The lecture's split at its block size."""
    return load_splits(Data(name="names"), block_size=3)


@pytest.fixture(scope="session")
def few_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 400 given names: enough for every path, small enough for every test."""
    path = tmp_path_factory.mktemp("data") / "few_names.txt"
    lines = (ROOT / "src" / "nplm" / "given_names.txt").read_text().splitlines()
    path.write_text("\n".join(lines[:400]) + "\n")
    return path


@pytest.fixture(scope="session")
def few(few_names: Path) -> Splits:
    return load_splits(Data(name="text", path=str(few_names)), block_size=3)


@pytest.fixture
def here(few_names: Path, monkeypatch: pytest.MonkeyPatch) -> TrainHere:
    """``here(folder, *overrides)``: a smoke run on few names in this process, without W&B."""
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    always = ("data=text", f"data.path={few_names}", "experiment=smoke", "wandb.mode=disabled")

    def run(folder: Path, *words: str) -> Path:
        return train_here(folder, *always, *words)

    return run


@pytest.fixture(scope="session")
def finished(few_names: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, trained once for all who only read it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    argv, formatter = sys.argv, warnings.formatwarning
    sys.argv = []
    try:
        words = ("data=text", f"data.path={few_names}", "experiment=smoke", "seed=7")
        return train_here(folder, *words, "optim.steps=300", "wandb.mode=disabled")
    finally:
        sys.argv, warnings.formatwarning = argv, formatter


@pytest.fixture
def app(tmp_path: Path) -> App:
    """A trivial application in a folder of its own, which a sweep runs in real processes."""
    return App.copied(tmp_path)


@pytest.fixture
def hangups() -> Iterator[None]:
    """What is started inside the test hears SIGHUP, also where the tests run under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(autouse=True)
def no_root_of_another_test() -> Iterator[None]:
    """An application that ran in this process said where its outputs are; the next is another."""
    os.environ.pop(ROOT_VARIABLE, None)
    yield
    os.environ.pop(ROOT_VARIABLE, None)
