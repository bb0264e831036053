"""sweepmore ls and report on real studies and runs: what they say, and the page in a browser."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

import html5lib
import optuna
import pytest
from axe_playwright_python.sync_playwright import Axe
from hydra import compose, initialize_config_dir
from optuna.distributions import IntDistribution, distribution_to_json
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from optuna_dashboard import get_note
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.report import MOST_BYTES, thousand
from nplm import sampling
from nplm.app import for_hydra
from nplm.app.additions import additions
from nplm.app.application import objectives
from nplm.app.report import bigrams
from nplm.config import Data
from nplm.data import Splits, load_splits
from sweepmore.compose.cli import ROOT_VARIABLE
from sweepmore.compose.hydra_internals import VERSION_BASE
from sweepmore.compose.question import ask
from sweepmore.errors import RunError, StudyError
from sweepmore.report.additions import Additions, Told, tell
from sweepmore.report.chart import Chart, Point
from sweepmore.report.comparison import compare_studies
from sweepmore.report.document import Page as WebPage
from sweepmore.report.document import (
    Picture,
    Section,
    Table,
    cell,
    markdown,
    sorts_by_number,
    write,
)
from sweepmore.report.drawing import without_outliers
from sweepmore.report.lists import Listing, list_runs, list_studies, set_words, state_of
from sweepmore.report.runs_page import as_typed, runs_page, warnings_of_runs
from sweepmore.report.study import Study, read_study
from sweepmore.report.study_page import study_page
from sweepmore.runs.files import read_json
from sweepmore.runs.finding import find_run
from sweepmore.runs.places import Place
from sweepmore.runs.record import read_config
from sweepmore.study.application import Application
from sweepmore.study.attempts import key_of
from sweepmore.study.attributes import StudyAttributes, Winner, store, stored
from sweepmore.study.parts import best_run
from sweepmore.study.verdict import verdict
from sweepmore.study.view import view
from sweepmore.study.winners import TESTED_BEFORE
from sweepmore.wording import shown_path
from tests.support.browser import QUIET, SIZES
from tests.support.helpers import ROOT, TrainHere, call_command, run_command, run_script
from tests.support.sweep_apps import until

PLACE = Place(Path("/elsewhere"))
RECORDED = additions(ROOT, None).recorded()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, few_names: Path) -> Path:
    """Two studies of one question's data, the first confirmed, a study of other data, two runs."""
    outputs = tmp_path_factory.mktemp("reports") / "outputs"
    few = ["data=text", f"data.path={few_names}", "optim=adamw", "optim.steps=40", "eval_every=0.2",
           "model.emb=2", "wandb.mode=disabled"]  # fmt: skip

    def train(*words: str) -> None:
        done = run_script("train.py", *words)
        assert done.returncode == 0, done.stderr

    def sweep(name: str, *words: str) -> None:
        names = [f"hydra.sweeper.outputs={outputs}", f"hydra.sweeper.study_name={name}"]
        train("-m", *words, *names)

    space = ["optim.lr=tag(log,interval(0.001,0.1))", "model.hidden=5,10,20"]
    search = ["hydra.sweeper.n_trials=10", "hydra.sweeper.n_jobs=2", "hydra.sweeper.sampler.seed=0"]
    sweep("a", *few, *space, *search)
    few.append("model.hidden=10")
    sweep("b", *few, "optim.lr=0.001,0.03")
    sweep("other", *few, "data.seed=1", "optim.lr=0.01,0.03")
    done = run_command("confirm", "a", "--top=2", "--seeds=2", f"--outputs={outputs}")
    assert done.returncode == 0, done.stderr
    for name, rate in (("one", "0.01"), ("two", "0.03")):
        train(*few, f"optim.lr={rate}", f"hydra.run.dir={outputs}/runs/{name}")
    return outputs


def report(outputs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_command("report", f"--outputs={outputs}", *words)


def report_here(outputs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return call_command("report", f"--outputs={outputs}", *words)


def listed(outputs: Path) -> subprocess.CompletedProcess[str]:
    return run_command("ls", f"--outputs={outputs}", cwd=ROOT)


@pytest.fixture(scope="module")
def page_of_a(outputs: Path) -> Path:
    done = report(outputs, "a")
    assert (done.returncode, done.stderr) == (0, "")
    path = outputs / "reports" / "a" / "index.html"
    where, after = done.stdout.splitlines()[-2:]
    assert where.endswith("reports/a/index.html")
    assert after == f"next     python evaluate_test.py study=a outputs={outputs}"
    return path


def open_study(outputs: Path, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{outputs / 'studies.db'}")


@pytest.fixture(scope="module")
def foreign_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study of an application that is not ours, which registers nothing."""
    outputs = tmp_path_factory.mktemp("foreign")
    script = ROOT / "examples" / "plain" / "app.py"
    words = ["x=interval(-5, 5)", "y=choice(1, 2, 3)", "hydra.sweeper.n_trials=14",
             "hydra.sweeper.sampler.seed=0", "hydra.sweeper.study_name=plain"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(script), "-m", *words, f"hydra.sweeper.outputs={outputs}"],
        capture_output=True, text=True, cwd=script.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = run_command("report", "plain", f"--outputs={outputs}", cwd=script.parent)
    assert done.returncode == 0, done.stderr
    return outputs / "reports" / "plain" / "index.html"


@pytest.fixture(scope="module")
def pages(outputs: Path, page_of_a: Path, foreign_page: Path) -> dict[str, Path]:
    """A page of each kind: of a study, a run, two studies, two runs, a foreign application."""
    for words in (["one"], ["a", "b"], ["one", "two"]):
        done = report(outputs, *words)
        assert done.returncode == 0, done.stderr
    written = {
        name: outputs / "reports" / name / "index.html" for name in ("one", "a-b", "one-two")
    }
    return {"a": page_of_a, "foreign": foreign_page, **written}


# listing


def test_the_list_has_runs_and_studies_newest_first(outputs: Path) -> None:
    done = listed(outputs)
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.split()[0] for line in done.stdout.splitlines() if line.strip()]
    assert names.index("two") < names.index("one") < names.index("other")
    assert names.index("other") < names.index("b") < names.index("a")
    assert "a.confirm" not in names
    assert "confirmed" in next(line for line in done.stdout.splitlines() if line.startswith(" a "))


def test_the_list_says_what_each_run_and_study_is_of(outputs: Path) -> None:
    done = listed(outputs)
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    for name in ("one", "two", "a", "b", "other"):
        assert " few_names.txt " in lines[name]
    assert "set, beside data=text data.path=/" in " ".join(done.stdout.split())
    assert lines["two"].split()[-1] == "optim.lr=0.03"  # what the runs do not share
    assert max(len(line) for line in done.stdout.splitlines()[:-1]) <= 100  # but for the command


@pytest.mark.parametrize(
    ("total", "confirmed", "state"),
    [
        (4, {}, "done"),
        (7, {}, "stopped"),
        (None, {}, "done"),
        (4, {"winner": {"run": "r"}}, "confirmed"),
        (7, {"winner": {"run": "r"}, "test": {"look": 1}}, "tested"),
        (7, {"winner": {"run": "b"}, "test": {"look": 1}, "tested_run": "b"}, "tested"),
        (7, {"winner": {"run": "b"}, "test": {"look": 1}, "tested_run": "a"}, "confirmed anew"),
    ],
)
def test_the_state_of_a_study(total: int | None, confirmed: dict[str, object], state: str) -> None:
    """Of four trials."""
    study = optuna.create_study()
    for key, value in confirmed.items():
        study.set_user_attr(key, value)
    assert state_of(view(two_objectives()), total, StudyAttributes.of(study)) == state


def test_a_study_whose_trials_wait_is_stopped_whatever_its_budget() -> None:
    """It may have been interrupted by a version that kept no budget."""
    study = two_objectives()
    waits = create_trial(state=TrialState.WAITING, user_attrs={"slot": 4})
    study.add_trial(waits)
    assert state_of(view(study), None, StudyAttributes()) == "stopped"
    (row,) = list_studies(study._storage, PLACE)
    assert (row.name, row.state, row.trials) == ("two", "stopped", 4)


def test_a_study_has_its_budget_before_its_sources_are_kept(
    here: TrainHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops it from then on, it is listed as stopped."""

    def full(*_: object) -> None:
        raise StudyError("The disk is full.", value=None, cure="Make room.")

    monkeypatch.setattr("sweepmore.sweep.parent.freeze", full)
    place = ("hydra.sweeper.study_name=s", f"hydra.sweeper.outputs={tmp_path}")
    with pytest.raises(SystemExit):
        here(tmp_path / "run", "optim.lr=0.1,0.2,0.3", *place, "-m")
    study = open_study(tmp_path, "s")
    assert stored(study)["budget"] == {"n_trials": 3, "grid": True, "n_jobs": 1}
    (row,) = list_studies(study._storage, PLACE)
    assert Listing([row], []).studies_table().rows[0][:3] == ["s", "stopped", "0 of 3"]


def test_runs_are_listed_by_when_they_began_not_by_when_they_were_copied(
    tmp_path: Path,
) -> None:
    for age, (name, day) in enumerate((("new", 3), ("old", 1), ("middle", 2), ("unknown", None))):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("{}")
        os.utime(folder / "config.yaml", (age, age))  # long ago: a copy's can be any
        if day is not None:
            starts = [{"time": f"2026-01-0{day}T00:00:00+00:00"}, {"time": "2026-02-01T00:00:00"}]
            (folder / "provenance.json").write_text(json.dumps({"starts": starts}))
    names = [run.name for run in list_runs(tmp_path, Application(), 15)]
    assert names == ["new", "middle", "old", "unknown"]
    assert find_run("last", tmp_path, "config.yaml").name == "new"


@pytest.mark.parametrize(
    ("value", "typed"),
    [(None, "null"), (True, "true"), (0.02, "0.02"), ([1, 2], "[1, 2]"), ("a", "a")],
)
def test_settings_are_shown_as_they_are_typed(value: object, typed: str) -> None:
    assert as_typed(value) == typed


def test_what_was_set_for_a_study_leaves_out_its_place() -> None:
    words = ["hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=9", "optim.lr=0.1,0.2",
             "objective=[dev_loss,seconds]", "hydra.sweeper.outputs=elsewhere"]  # fmt: skip
    shown = ["optim.lr=0.1,0.2", "objective=[dev_loss,seconds]", "hydra.sweeper.n_trials=9"]
    assert set_words(words) == shown


def test_brackets_in_a_list_are_no_markup(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    (folder / "overrides.yaml").write_text("- objective=[dev_loss,seconds]\n")
    assert "objective=[dev_loss,seconds]" in listed(tmp_path / "outputs").stdout


def test_nothing_to_list_says_how_to_begin(tmp_path: Path) -> None:
    done = run_command("ls", cwd=tmp_path)  # of no application that says how
    assert (done.returncode, done.stdout) == (0, "Nothing yet\n")
    done = run_command("ls", f"--outputs={tmp_path}", cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "Nothing yet: python train.py experiment=quick\n")


# a study's page


def text_of(page: Path) -> str:
    return " ".join(re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>", " ",
                           page.read_text(), flags=re.DOTALL).split())  # fmt: skip


def test_the_page_is_valid_and_asks_for_nothing(page_of_a: Path) -> None:
    html5lib.HTMLParser(strict=True).parse(page_of_a.read_text())
    sources = re.findall(r'(?:src|href)="([^"]*)"', page_of_a.read_text())
    assert {source.split(":")[0] for source in sources if not source.startswith("#")} <= {"data"}
    assert "url(http" not in page_of_a.read_text()


def test_the_answer_comes_first(outputs: Path, page_of_a: Path) -> None:
    study = open_study(outputs, "a")
    winner = json.loads((outputs / "studies" / "a.confirm" / "winner.json").read_text())
    text = text_of(page_of_a)
    body = text.split(" Facts ", 1)[1]  # behind the list of contents
    top, head = body[: body.index("How the search went")], body[body.rindex(" Facts ") :]
    number = f"{winner['mean']:.4f} ± {winner['half_width']:.4f}"
    assert re.search(rf"Trial \d+ wins at {re.escape(number)} over 2 final seeds", top)
    assert f"{number} dev loss (nats/token), lower is better, 2 final seeds, 95 %" in top
    assert "0 looks at test" in top
    assert (
        f"best dev loss (nats/token) {study.best_value:.4f} (trial {study.best_trial.number})"
        in head
    )
    over = f"{winner['seeds']} final seeds"
    assert f"{winner['mean']:.4f} ± {winner['half_width']:.4f} (95 %, over {over})" in head
    trial = next(t for t in study.trials if t.params == winner["params"])
    assert head.index(f"winner trial {trial.number}: optim.lr=") < head.index("best dev loss")
    assert "a.confirm-final/0000/" in head
    assert re.search(r"gain over trial 0 [+-]\d", head)
    assert re.search(r"gain over Kneser–Ney, 3 tokens of context [+-]\d\.\d{4} \[", head)
    result = json.loads((Path(winner["run"]) / "result.json").read_text())
    overlap = result["data"]["dev_in_train"] > 0
    assert ("of the dev lines also appear in train" in top) == overlap


def test_each_figure_is_a_file_too(page_of_a: Path) -> None:
    drawn = set(re.findall(r'<figure id="([^"]+)"', page_of_a.read_text()))
    files = {path.stem for path in page_of_a.parent.glob("*.png")}
    assert drawn == files
    assert {"history", "curves", "fit", "confirmed", "importance", "embeddings"} <= drawn


def test_csv_has_a_row_for_each_trial(outputs: Path) -> None:
    assert call_command("show", "a", "--csv", f"--outputs={outputs}").returncode == 0
    with (outputs / "reports" / "a" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    complete = [row for row in rows if row["state"] == "COMPLETE"]
    assert all(row["result.dev_loss"] == row["value"] for row in complete)
    assert all(float(row["result.train_loss"]) > 0 for row in complete)


def test_the_page_ends_with_what_to_do(outputs: Path, page_of_a: Path) -> None:
    text = text_of(page_of_a)
    end = text[text.index("What to do next") :]
    assert f"python evaluate_test.py study=a outputs={outputs} " in end
    assert "10 trials are done; for more, n_trials is the new total:" in end
    assert "hydra.sweeper.n_trials=20" in end
    assert f"python sample.py study=a outputs={outputs} " in end
    assert f"sweepmore dashboard a --outputs {outputs}" in end


def test_fresh_seeds_are_told_by_the_search_s_numbers(outputs: Path) -> None:
    study = read_study(open_study(outputs, "a"), Additions(), PLACE)
    assert study.winner is not None
    numbers = {key_of(a.params): a.root for a in study.seen.ranked}
    assert study.winner.trial == numbers[key_of(study.winner.params)]
    for row in study.winner.rows:
        assert row.trial == numbers[key_of(row.params)]
    assert study.answer.params == study.winner.params
    assert best_run(open_study(outputs, "a")) == study.winning_run


def always(run: Path) -> bool:
    return True


def never(run: Path) -> bool:
    return False


def test_a_split_that_another_study_opened_is_not_offered(outputs: Path) -> None:
    ours, study = additions(ROOT, None), open_study(outputs, "a")
    asks = {}
    for spent in (False, True):
        told = replace(ours, is_spent={True: always, False: never}[spent])
        page = study_page(read_study(study, told, PLACE), told)
        asks[spent] = any("evaluate_test" in command for _, command in page.commands)
    assert asks == {False: True, True: False}


def test_after_the_look_the_page_has_its_number_and_no_longer_asks_for_it(
    outputs: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "outputs"
    moved.mkdir()
    shutil.copy(outputs / "studies.db", moved)
    ours, study = additions(ROOT, None), open_study(moved, "a")
    confirmed = open_study(moved, "a.confirm")
    test = {"look": 1, "loss": {"mean": 2.15234, "low": 2.13, "high": 2.1701}}
    store(confirmed, test=test)
    path = best_run(study) / "result.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "test": test}))
    try:
        page = study_page(read_study(study, ours, PLACE), ours)
    finally:
        path.write_text(before)
    assert ("test loss (nats/token), look 1", "2.1523 [2.1300, 2.1701]") in page.facts
    assert page.commands[0] == (
        "What the winner writes:",
        "python sample.py study=a outputs=/elsewhere",
    )
    assert not any("evaluate_test" in command for _, command in page.commands)
    rows = Listing(list_studies(study._storage, PLACE), []).studies_table().rows
    states = {row[0]: row[1:4] for row in rows}
    winner = stored(confirmed)["winner"]
    assert states["a"] == ["tested", 10, f"{winner['mean']:.4f} ± {winner['half_width']:.4f}"]
    assert states["b"] == ["done", 2, open_study(outputs, "b").best_value]


def test_a_look_at_an_earlier_winner_is_not_one_at_this(outputs: Path, tmp_path: Path) -> None:
    """A later round of the confirmation has named another."""
    moved = tmp_path / "outputs"
    moved.mkdir()
    shutil.copy(outputs / "studies.db", moved)
    ours, study = additions(ROOT, None), open_study(moved, "a")
    confirmed = open_study(moved, "a.confirm")
    store(confirmed, tested_run=str(moved / "of an earlier winner"))
    store(confirmed, test={"look": 1, "loss": {"mean": 2.1, "low": 2.0, "high": 2.2}})
    page = study_page(read_study(study, ours, PLACE), ours)
    assert TESTED_BEFORE in page.warnings
    assert not any(name.startswith("test loss") for name, _ in page.facts)
    states = {row.name: row.state for row in list_studies(study._storage, PLACE)}
    assert states["a"] == "confirmed anew"
    store(confirmed, tested_run=stored(confirmed)["winner"]["run"])
    page = study_page(read_study(study, ours, PLACE), ours)
    assert TESTED_BEFORE not in page.warnings


@pytest.mark.parametrize("ending", [".confirm", ".noise"])
def test_a_confirmation_is_not_to_be_confirmed(ending: str) -> None:
    """Nor to have more trials, nor is its best a matter of luck."""
    study = one_objective(f"two{ending}")
    ours = additions(ROOT, None).recorded()
    page = study_page(read_study(study, ours, PLACE), ours)
    told = ("The study that it is about:", "sweepmore report two --outputs /elsewhere")
    assert page.commands == [told]
    assert not any("confirm" in warning for warning in page.warnings)
    other = read_study(one_objective("other"), Additions(), PLACE)
    both = compare_studies([read_study(study, Additions(), PLACE), other])
    assert [warning.split(" is")[0] for warning in both.warnings] == ["other"]


def test_a_list_tells_its_members_apart(outputs: Path) -> None:
    study = open_study(outputs, "a")
    page = study_page(read_study(study, Additions(), PLACE), Additions())
    (section,) = [one for one in page.sections if one.title == "Each parameter"]
    (table,) = section.tables
    assert table.head[0] == "model.hidden"
    for value, number, best, mean in table.rows:
        values = [t.values[0] for t in study.trials if t.params["model.hidden"] == value]
        assert (number, best) == (len(values), min(values))
        assert mean == pytest.approx(sum(values) / len(values))
    assert sum(row[1] for row in table.rows) == 10


def test_a_page_says_each_doubt_once(outputs: Path) -> None:
    """Its verdict, or a warning; the terminal, which has no warnings, says all in its verdict."""
    ours = additions(ROOT, None)
    study = read_study(open_study(outputs, "a"), ours, PLACE)
    at_end = {**study.answer.params, "optim.lr": 0.1}
    winner = replace(study.winner or Winner(Path()), params=at_end)
    attempts = tuple(replace(a, params=at_end) if a is study.answer else a
                     for a in study.seen.attempts)  # fmt: skip
    edge = replace(study, winner=winner, seen=replace(study.seen, attempts=attempts))
    page = study_page(edge, ours)
    assert any("optim.lr=0.1 is the highest of its range" in each for each in page.warnings)
    assert "edge" not in page.verdict
    assert "lr" in verdict(edge.found)
    assert "at the edge of" in verdict(edge.found)
    doubted = [each for each in page.warnings if "counting with" in each]
    assert bool(doubted) != ("counting" in page.verdict)


def test_counting_that_is_better_is_a_warning(outputs: Path) -> None:
    ours = additions(ROOT, None)
    page = runs_page([outputs / "runs" / "one"], ours)
    lost = {label: told for label, told in page.facts if "Kneser" in label and told[0] == "-"}
    warned = [warning for warning in page.warnings if warning.startswith("counting with ")]
    assert len(lost) == len(warned) > 0
    for (label, told), warning in zip(lost.items(), warned, strict=True):
        assert label.removeprefix("gain over Kneser–Ney, ").split(" of")[0] in warning
        assert told[1:7] in warning


def test_a_study_whose_data_are_gone_has_a_page_all_the_same(outputs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(outputs, moved)
    study = open_study(moved, "b")
    for config in (outputs / "studies" / "b").rglob("result.json"):
        config.rename(config.with_suffix(".gone"))
    try:
        page = study_page(read_study(study, Additions(), PLACE), Additions())
    finally:
        for config in (outputs / "studies" / "b").rglob("result.gone"):
            config.rename(config.with_suffix(".json"))
    best = best_run(study)
    assert f"the run of the best is gone: {shown_path(best)}" in page.warnings


def test_of_an_application_that_keeps_no_record_no_run_is_missed(tmp_path: Path) -> None:
    trial = tmp_path / "studies" / "own" / "0003"
    gone = [f"the run of the best is gone: {shown_path(trial)}"]
    assert tell(additions(tmp_path, None), trial).warnings == gone
    trial.mkdir(parents=True)
    assert tell(additions(tmp_path, None), trial) == Told()
    (trial / "config.yaml").touch()
    assert tell(additions(tmp_path, None), trial).warnings == gone


# comparing


def test_two_studies_at_equal_trials_and_equal_work(outputs: Path) -> None:
    done = report_here(outputs, "a", "b")
    assert (done.returncode, done.stderr) == (0, "")
    text = text_of(outputs / "reports" / "a-b" / "index.html")
    assert "At equal numbers of trials, and at equal work" in text
    html5lib.HTMLParser(strict=True).parse((outputs / "reports/a-b/index.html").read_text())


def test_studies_of_other_data_are_refused_with_the_reason(outputs: Path) -> None:
    done = report_here(outputs, "a", "other")
    assert done.returncode == 2
    assert "a and other have other data: " in done.stderr
    studies = [read_study(open_study(outputs, name), Additions(), PLACE) for name in ("a", "other")]
    with pytest.raises(StudyError) as caught:
        compare_studies(studies)
    mine, theirs = cast("list[str]", caught.value.value)
    assert mine != theirs  # fingerprints


def test_two_runs_show_only_what_differs(outputs: Path) -> None:
    done = report_here(outputs, "one", "two")
    assert (done.returncode, done.stderr) == (0, "")
    text = (outputs / "reports" / "one-two" / "index.html").read_text()
    html5lib.HTMLParser(strict=True).parse(text)
    table = text[text.index('id="what-differs"') : text.index('id="losses"')]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", table) == ["optim.lr", "0.01", "0.03"]


def test_two_runs_have_their_samples_side_by_side(outputs: Path) -> None:
    folders = [outputs / "runs" / name for name in ("one", "two")]
    page = runs_page(folders, additions(ROOT, None))
    (section,) = [section for section in page.sections if section.title == "What it writes"]
    assert [table.caption.split(".")[0] for table in section.tables] == ["one", "two"]
    for folder, table in zip(folders, section.tables, strict=True):
        drawn = {str(word).removesuffix(" *") for row in table.rows for word in row}
        assert drawn <= set(samples_again(folder))


def test_two_runs_are_named_by_what_differs(outputs: Path) -> None:
    folders = [outputs / "runs" / name for name in ("one", "two")]
    ours = additions(ROOT, None)
    page = runs_page(folders, ours)
    losses = [read_json(folder / "result.json")["dev_loss"] for folder in folders]
    low, high = ("lr=0.01", "lr=0.03") if losses[0] < losses[1] else ("lr=0.03", "lr=0.01")
    by = f"{abs(losses[0] - losses[1]):.4f}"
    assert page.verdict.startswith(f"{low} ends with a dev loss {by} below that of {high}; ")
    assert re.fullmatch(r"lr=0.01: .+ s · lr=0.03: .+ s", page.subtitle)
    assert page.commands[0][0] == f"New lines from {low}:"
    # both have the same kinds of warning, each said once
    alone = [runs_page([folder], ours).warnings for folder in folders]
    assert len(alone[0]) == len(alone[1]) == len(page.warnings) > 0
    assert all(warning.startswith("both: ") for warning in page.warnings)
    assert page.title == "one and two"
    typed = runs_page([folders[0]], ours).settings
    assert "optim.lr=0.01" in typed.split()
    assert not page.settings  # what differs is a table


def test_warnings_that_differ_in_a_number_are_one() -> None:
    one = Told(warnings=["beaten by 0.0505 with 3 tokens", "only of the first"])
    two = Told(warnings=["stopped early", "beaten by 0.0492 with 3 tokens"])
    assert warnings_of_runs(["lr=1", "lr=2"], [one, two]) == [
        "both: beaten by 0.0505 and 0.0492 with 3 tokens",
        "lr=1: only of the first",
        "lr=2: stopped early",
    ]
    assert warnings_of_runs(["lr=1"], [two]) == two.warnings


def test_a_net_beside_counting_has_the_tables_that_both_have(
    outputs: Path, few_names: Path, tmp_path: Path
) -> None:
    """Counting has no embeddings, which come first of a net."""
    folder = tmp_path / "counted"
    words = ["data=text", f"data.path={few_names}", "model=ngram", "model.order=3"]
    done = run_script("train.py", *words, "wandb.mode=disabled", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    ours, both = additions(ROOT, None), [outputs / "runs" / "one", folder]
    # counting takes no steps: it has no curves, and its page speaks of none
    counted = runs_page([folder], ours)
    assert "Losses" not in {section.title for section in counted.sections}
    assert " step" not in counted.verdict
    for folders in (both, both[::-1]):
        names = [folder.name for folder in folders]
        page = runs_page(folders, ours)
        beside = {section.title: section.tables for section in page.sections[2:]}
        assert list(beside) == ["The hardest dev lines", "What it writes"]
        for tables in beside.values():
            assert [table.caption.split(".")[0] for table in tables] == names
        warned = Counter(warning.partition(": ")[0] for warning in page.warnings)
        alone = {name: runs_page([run], ours).warnings for name, run in zip(names, folders)}
        assert warned == {name: len(told) for name, told in alone.items() if told}
        assert warned["one"]
        losses = {run.name: read_json(run / "result.json")["dev_loss"] for run in folders}
        better_first = sorted(losses, key=lambda name: losses[name])
        told = [f"New lines from {name}:" for name in better_first]
        assert [label for label, _ in page.commands] == told
        commands = [command for _, command in page.commands]
        assert all(line.endswith(name) for line, name in zip(commands, better_first, strict=True))


def samples_again(folder: Path) -> list[str]:
    seed = read_config(folder)["seed"]
    return sampling.sample(sampling.load_trained(folder), 200, seed)


def test_a_trial_by_its_number(outputs: Path) -> None:
    done = report_here(outputs, "b", "--trial=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith("reports/b-0001/index.html")
    assert "b has no run of a trial 99" in report_here(outputs, "b", "--trial=99").stderr


def test_a_diverged_run_has_a_page(outputs: Path, few_names: Path) -> None:
    folder = outputs / "diverged"
    words = ["data=text", f"data.path={few_names}", "optim.lr=1e6", "optim.steps=50"]
    run_script("train.py", *words, "wandb.mode=disabled", f"hydra.run.dir={folder}")
    page = runs_page([folder], additions(ROOT, None))
    assert page.facts[0][1].startswith("diverged: ")
    assert page.warnings == [
        f"diverged cannot be described further: {folder / 'model.safetensors'} is missing."
    ]


def made_up(
    name: str,
    *trials: tuple[float, float],
    direction: Literal["minimize", "maximize"] = "minimize",
    winner: tuple[float, float] | None = None,
) -> Study:
    """A study of ``trials`` (value, seconds), confirmed where ``winner`` (mean, half) is given."""
    study = optuna.create_study(study_name=name, direction=direction)
    study.set_user_attr("question", {"space": {}, "config": {}, "identity": None})
    study.set_user_attr("command", {"script": ["train.py"], "fixed": [], "hydra": [], "words": []})
    began = datetime(2026, 1, 1)
    for slot, (value, seconds) in enumerate(trials):
        trial = create_trial(value=value, user_attrs={"slot": slot, "folder": "gone"})
        trial.datetime_start, trial.datetime_complete = began, began + timedelta(seconds=seconds)
        study.add_trial(trial)
    read = read_study(study, Additions(), PLACE)
    if winner is None:
        return read
    mean, half = winner
    return replace(read, winner=Winner(Path(), trial=0, mean=mean, half_width=half, seeds=8))


def test_the_larger_value_is_best_where_it_is_maximized() -> None:
    low, high = (made_up(name, (value, 1.0), direction="maximize")
                 for name, value in (("low", 1.0), ("high", 2.0)))  # fmt: skip
    page = compare_studies([low, high])
    assert page.facts == [
        ("best in the end", "2.0000 (high, not confirmed), 1.0000 (low, not confirmed)"),
        ("best after 1 trial", "2.0000 (high), 1.0000 (low)"),
        ("best after 1.0 s", "2.0000 (high), 1.0000 (low)"),
    ]
    assert page.sections[1].tables[0].marked == [1]


def test_studies_are_compared_at_the_least_trials_and_the_least_work() -> None:
    """The long one's best comes too late to count; in ten seconds the slow one has one trial."""
    long = made_up("long", (3.0, 1.0), (2.5, 1.0), (2.4, 1.0), (1.0, 17.0))
    slow = made_up("slow", (2.75, 6.0), (2.0, 4.5))
    page = compare_studies([long, slow])
    assert page.facts == [
        ("best in the end", "1.0000 (long, not confirmed), 2.0000 (slow, not confirmed)"),
        ("best after 2 trials", "2.0000 (slow), 2.5000 (long)"),
        ("best after 10.5 s", "2.0000 (slow), 2.4000 (long)"),
    ]
    assert page.verdict == (
        "Best in the end: 1.0000 (long, not confirmed), 2.0000 (slow, not confirmed); best after "
        "2 trials: 2.0000 (slow), 2.5000 (long)."
    )
    (table,) = page.sections[1].tables
    assert table.marked == [0]
    assert table.head[:6] == ["study", "trials", "seconds", "best after 2 trials",
                              "best after 10.5 s", "best objective"]  # fmt: skip
    assert [row[:6] for row in table.rows] == [
        ["long", 4, 20.0, 2.5, 2.4, 1.0],
        ["slow", 2, 10.5, 2.0, 2.0, 2.0],
    ]
    assert [warning.split(" is not")[0] for warning in page.warnings] == ["long", "slow"]


def test_confirmed_studies_are_compared_by_their_confirmed_means() -> None:
    one = made_up("one", (2.0, 1.0), (1.5, 1.0), winner=(2.25, 0.125))
    two = made_up("two", (1.75, 1.0), winner=(2.125, 0.25))
    page = compare_studies([one, two])
    assert page.facts == [
        ("two is", "tied with one: the difference is 0.1250 ± 0.2624 (95 %)"),
        ("two, confirmed", "2.1250 ± 0.2500 (95 %, over 8 fresh seeds)"),
        ("one, confirmed", "2.2500 ± 0.1250 (95 %, over 8 fresh seeds)"),
        ("best after 1 trial", "1.7500 (two), 2.0000 (one)"),
        ("best after 1.0 s", "1.7500 (two), 2.0000 (one)"),
    ]
    assert page.verdict == (
        "two is tied with one: the difference is 0.1250 ± 0.2624 (95 %); best after 1 trial: "
        "1.7500 (two), 2.0000 (one)."
    )
    assert page.sections[1].tables[0].marked == [1]
    assert page.warnings == []
    half = compare_studies([replace(one, winner=None), two])
    ends = "1.5000 (one, not confirmed), 2.1250 ± 0.2500 (two, confirmed)"
    assert half.facts[0] == ("best in the end", ends)
    assert half.sections[1].tables[0].marked == []  # one may have been lucky
    assert [warning.split(" is not")[0] for warning in half.warnings] == ["one"]


def one_objective(name: str) -> optuna.Study:
    """The losses of two trials."""
    return made_study(name, [((1.0,), 5), ((2.0,), 2)])


def two_objectives() -> optuna.Study:
    """Loss and seconds of four trials, the last one with the parameters of the first."""
    return made_study("two", [((1.0, 9.0), 5), ((2.0, 3.0), 2), ((2.5, 4.0), 3), ((2.75, 9.5), 5)])


def made_study(name: str, found: Sequence[tuple[tuple[float, ...], int]]) -> optuna.Study:
    """A trial for each values and n."""
    directions = [StudyDirection.MINIMIZE] * len(found[0][0])
    study = optuna.create_study(study_name=name, directions=directions)
    one = IntDistribution(1, 9)
    space = {"n": json.loads(distribution_to_json(one))}
    study.set_user_attr("question", {"space": space, "config": {}, "identity": None})
    study.set_user_attr("command", {"script": ["train.py"], "fixed": [], "hydra": [], "words": []})
    for number, (values, n) in enumerate(found):
        attrs = {"slot": number, "root": number, "attempt": 0, "folder": "gone"}
        study.add_trial(create_trial(values=values, params={"n": n},
                                     distributions={"n": one}, user_attrs=attrs))  # fmt: skip
    return study


def test_a_study_of_two_objectives_tells_both() -> None:
    ours = Additions(lambda config: Application(objectives=("loss (nats)", "training (s)")))
    page = study_page(read_study(two_objectives(), ours, PLACE), ours)
    assert page.facts[:3] == [
        ("best loss (nats)", "1.0000 (trial 0)"),
        ("best training (s)", "3.0000 (trial 1)"),
        ("no trial beats", "2 of 4 trials"),
    ]
    (front,) = page.sections[0].tables
    assert page.sections[0].title == "What no trial beats"
    assert [row[:3] for row in front.rows] == [[0, 1.0, 9.0], [1, 2.0, 3.0]]
    (trials,) = next(one for one in page.sections if one.title == "The trials").tables
    assert [row[0] for row in trials.rows] == [0, 1, 2, 3]
    assert trials.marked == [0, 1]


def test_repeated_configurations_are_a_warning() -> None:
    page = study_page(read_study(two_objectives(), Additions(), PLACE), Additions())
    told = [warning for warning in page.warnings if "parameters of an earlier one" in warning]
    assert [warning.split(" have")[0] for warning in told] == ["1 of 4 trials"]


def test_repeated_lines_are_a_warning(here: TrainHere, few_names: Path, tmp_path: Path) -> None:
    lines = few_names.read_text().splitlines()
    twice = tmp_path / "twice.txt"
    twice.write_text("\n".join([*lines, *lines]) + "\n")
    told = {}
    for rule in ("keep", "drop"):
        folder = here(tmp_path / rule, f"data.path={twice}", f"data.duplicates={rule}")
        page = runs_page([folder], additions(ROOT, None))
        told[rule] = [warning for warning in page.warnings if "repeat another" in warning]
    splits = load_splits(Data(name="text", path=str(twice)), 3)
    seen = Counter([*splits.train.lines, *splits.dev.lines])
    number = sum(times - 1 for times in seen.values())
    assert number > 100
    assert [warning.split(" repeat")[0] for warning in told["keep"]] == [
        f"{number} of the {sum(seen.values())} train and dev lines"
    ]
    assert told["drop"] == []


def test_a_run_by_last(outputs: Path) -> None:
    done = report_here(outputs, "last")
    assert done.stdout.splitlines()[-2].endswith("reports/two/index.html")


def test_runs_of_other_data_are_refused(outputs: Path) -> None:
    (other,) = (outputs / "studies" / "other").glob("0000")
    with pytest.raises(RunError):
        runs_page([outputs / "runs" / "one", other], Additions())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["c"], "There is no study or run c."),
        (["one", "two", "one"], "3 runs were named."),
        (["a", "one"], "Runs and studies cannot be compared."),
        (["a", "--trail=1"], "No such option: --trail"),
        (["c", "--trial=1"], "There is no study c"),
        (["a", "b", "--trial=1"], "--trial is about one study."),
        (["a", "b", "--keep"], "--keep is about one study."),
        (["one", "--keep"], "--keep is about a study."),
        (["a", "--trial=1", "--keep"], "--keep is about a whole study."),
    ],
)
def test_bad_words_are_one_message(outputs: Path, words: list[str], told: str) -> None:
    done = report_here(outputs, *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_bigrams_count_what_follows_what(few: Splits) -> None:
    (picture,) = bigrams(few).pictures
    (chart,) = picture.charts
    follows = Counter(pair for line in few.train.lines for pair in pairwise(f".{line}."))
    for (first, second), number in follows.items():
        row, column = (chart.categories.index(token) for token in (first, second))
        assert chart.counts[row][column] == number
    assert sum(map(sum, chart.counts)) == sum(follows.values())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], ["dev loss (nats/token)"]),
        (["objective={seconds_to: 2.17}"], ["seconds to dev loss 2.17"]),
        (["objective=[dev_loss,{seconds_to: 4.5}]"],
         ["dev loss (nats/token)", "seconds to dev loss 4.5"]),
        (["objective=[dev_loss,steps]"], ["dev loss (nats/token)", "steps"]),
    ],
)  # fmt: skip
def test_objectives_are_named_with_their_units(words: list[str], named: list[str]) -> None:
    """From the config as a study's question holds it."""
    os.environ[ROOT_VARIABLE] = str(ROOT)
    for_hydra.register()
    with initialize_config_dir(str(ROOT / "conf"), **VERSION_BASE):
        config = compose("config", overrides=words)
    question = ask({}, config, {}, None, ["hydra"])
    assert objectives(question["config"]) == named


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (True, "yes"), (0.123456, "0.1235"), (1e-5, "1e-05"), (12345, "12,345")],
)
def test_cells(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_what_is_typed_into_a_command_has_no_separators() -> None:
    assert cell(12345, typed=True) == "12345"
    one = IntDistribution(1, 9999)
    study = optuna.create_study(study_name="large")
    space = {"n": json.loads(distribution_to_json(one))}
    study.set_user_attr("question", {"space": space, "config": {}, "identity": None})
    study.set_user_attr("command", {"script": ["train.py"], "fixed": [], "hydra": [], "words": []})
    attrs = {"slot": 1500, "root": 1500, "folder": "gone"}
    study.add_trial(create_trial(value=1.0, params={"n": 2048}, distributions={"n": one},
                                 user_attrs=attrs))  # fmt: skip
    page = study_page(read_study(study, Additions(), PLACE), Additions())
    (trials,) = next(one for one in page.sections if one.title == "The trials").tables
    assert markdown(trials).splitlines()[-1].split(" | ")[0::3] == ["| 1500", "2048 |"]


def test_a_bar_in_a_cell_ends_no_column() -> None:
    table = Table(["a|b", "n"], [["x|y", 1024]])
    assert markdown(table).splitlines() == [
        "| a\\|b | n |", "| --- | --- |", "| x\\|y | 1,024 |",
    ]  # fmt: skip


def test_a_page_written_anew_leaves_no_figure_of_the_old_one(tmp_path: Path) -> None:
    pictures = [Picture([Chart(name, "", "x", "y", [Point(1, 1, "")])]) for name in ("old", "new")]
    for picture in pictures:
        write(WebPage("p", "", [], [], [Section("s", pictures=[picture])]), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "new.png"}


def test_all_combinations_of_repeats_are_runs_of_a_trial() -> None:
    """Two seeds by three splits are six; and six runs of trial 0 are less noisy than one."""
    one = made_up("s", (2.0, 1.0), (1.5, 1.0))
    seeded = replace(
        one, attrs=replace(one.attrs, question={**one.question, "config": {"seed": 0}})
    )
    one, repeats = seeded, {"repeats": {"seed": [1, 2], "data.seed": [1, 2, 3]}}
    repeated = replace(one, attrs=replace(one.attrs, question={**one.question, **repeats}))
    facts = dict(study_page(repeated, Additions()).facts)
    assert facts["gain over trial 0"] == "+0.5000 (6 runs each, not confirmed)"
    assert "luck" not in study_page(repeated, Additions()).verdict
    assert "partly by luck" in study_page(one, Additions()).verdict
    winner = Winner(Path("gone"), trial=1, mean=1.75, half_width=0.1, seeds=18, searched=1.5,
                    selection_bias=0.25)  # fmt: skip
    confirmed = dict(study_page(replace(repeated, winner=winner), Additions()).facts)
    half = 0.1 * (1 + 18 / 6) ** 0.5
    assert confirmed["gain over trial 0"] == (
        f"+0.2500 ± {half:.4f} (95 %; trial 0 is assumed to be as noisy as the winner)"
    )


def test_a_mixture_s_net_alone_stands_beside_it(finished: Path, tmp_path: Path) -> None:
    """On the page of a run, of two, and of a study: by both losses, and in the table of trials."""
    mixture, net = (tmp_path / name for name in ("mixture", "net"))
    for folder in (mixture, net):
        shutil.copytree(finished, folder)
    mix = {"weight": 0.25, "order": 5, "net_dev_loss": 2.5, "net_train_loss": 2.25}
    result = json.loads((mixture / "result.json").read_text())
    (mixture / "result.json").write_text(json.dumps({**result, "mix": mix}))
    told = "dev 2.5000, train 2.2500 (25% of the mixture is counting, of order 5)"
    for folders in ([mixture], [mixture, net]):
        page = runs_page(folders, RECORDED)
        assert page.facts[1] == ("mixture: the net alone", told)
        assert len(page.facts) == 2 * len(folders) - (len(folders) - 1)
        (losses,) = [one for one in page.sections if one.title == "Losses"]
        assert losses.pictures[0].caption == "The curves of mixture show the net alone."
    study = optuna.create_study(study_name="s")
    study.set_user_attr("question", {"space": {}, "config": {}, "identity": None})
    study.set_user_attr("command", {"script": ["train.py"], "fixed": [], "hydra": [], "words": []})
    kept = {"net_dev_loss": mix["net_dev_loss"]}
    attrs = {"slot": 0, "folder": str(mixture), "result": kept}
    study.add_trial(create_trial(value=2.0, user_attrs=attrs))
    of_study = study_page(read_study(study, RECORDED, PLACE), RECORDED)
    assert ("its run's net alone", told) in of_study.facts
    (trials,) = next(one for one in of_study.sections if one.title == "The trials").tables
    assert trials.head[:3] == ["trial", "objective", "the net alone"]
    assert trials.rows[0][:3] == [0, 2.0, mix["net_dev_loss"]]


def test_only_finite_numbers_sort_by_number() -> None:
    values = [1, 0.5, True, None, float("inf"), float("nan"), "1"]
    assert list(map(sorts_by_number, values)) == [True, True, *[False] * 5]


# a large study


@pytest.mark.system
def test_a_thousand_trials_are_under_five_megabytes(tmp_path: Path) -> None:
    study = read_study(thousand(None, run="gone"), Additions(), PLACE)
    path = write(study_page(study, Additions()), tmp_path / "page")
    assert path.stat().st_size < MOST_BYTES
    html5lib.HTMLParser(strict=True).parse(path.read_text())


# in a browser


@dataclass
class Seen:
    """What went on in a browser's page."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Absent, the tests skip; under CI=1 they fail."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI") == "1":
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def seen(browser: Browser) -> Iterator[Seen]:
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.set_default_timeout(120_000)
    seen = Seen(page)
    page.on("console", lambda m: seen.complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    yield seen
    page.close()


# Kind → how many of the marks have an extent and lie in their figure, for each kind there is.
MARKS = """figure => {
    const shown = [...figure.querySelectorAll("svg")].filter(svg => svg.checkVisibility());
    const kinds = {point: "[id*='-points-'] use",
                   curve: "[id*='-curve-'] path, [id*='-line-'] path",
                   row: "[id*='-row-'] use",
                   bar: "[id*='-bar-'] path", count: "[id*='-count-']"};
    const inside = (box, frame) => box.width + box.height > 0 &&
        box.left >= frame.left && box.right <= frame.right &&
        box.top >= frame.top && box.bottom <= frame.bottom;
    return Object.entries(kinds).map(([kind, query]) => [kind, shown.flatMap(svg =>
        [...svg.querySelectorAll(query)].filter(mark => inside(
            mark.getBoundingClientRect(), svg.getBoundingClientRect()))).length]);
}"""

# The texts of the figure's labels that can be seen, and the pairs of them that overlap.
LABELS = """figure => {
    const labels = [...figure.querySelectorAll("text")].filter(one => one.checkVisibility())
        .filter(one => /^[a-z.]$/.test(one.textContent)).map(one =>
            [one.textContent, one.getBoundingClientRect()]);
    const meet = ([, a], [, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;  // a line's leading is empty
    const pairs = labels.flatMap((one, k) => labels.slice(k + 1).filter(other => meet(one, other))
        .map(other => one[0] + other[0]));
    return [labels.map(([text]) => text), pairs];
}"""


def marks_of(picture: Picture) -> Counter[str]:
    """How many marks of each kind stand for its data."""
    found = Counter[str]()
    for chart in map(without_outliers, picture.charts):
        found["point"] += len(chart.points)
        found["curve"] += len(chart.curves)
        found["bar"] += len(chart.bars)
        found["row"] += len(chart.rows)
        found["count"] += sum(map(len, chart.counts))
    return found


def named(pictures: list[Picture], name: str) -> Picture:
    (found,) = [picture for picture in pictures if picture.name == name]
    return found


class TestInABrowser:
    def test_no_complaint_and_no_request(self, seen: Seen, page_of_a: Path) -> None:
        seen.page.goto(page_of_a.as_uri(), wait_until="networkidle")
        assert seen.complaints == []
        assert [url for url in seen.requests if not url.startswith("data:")] == [page_of_a.as_uri()]

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1280, 390])
    @pytest.mark.parametrize("kind", ["a", "one", "a-b", "one-two", "foreign"])
    def test_anybody_can_use_and_read_it(
        self,
        seen: Seen,
        pages: dict[str, Path],
        kind: str,
        width: int,
        scheme: Literal["light", "dark"],
    ) -> None:
        """By axe-core: WCAG 2.1 AA, contrast included. No text is small, and nothing is cut."""
        seen.page.set_viewport_size({"width": width, "height": 900})
        seen.page.emulate_media(color_scheme=scheme)
        seen.page.goto(pages[kind].as_uri())
        rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]}
        found = Axe().run(seen.page, options=rules)
        assert found.violations_count == 0, found.generate_report()
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        sizes = seen.page.evaluate(SIZES)
        assert len(sizes) > 50
        assert min(sizes) >= 10
        assert seen.complaints == []

    @pytest.mark.parametrize("by", ["hover", "focus"])
    def test_a_trial_is_lit_wherever_it_appears(self, seen: Seen, page_of_a: Path, by: str) -> None:
        seen.page.goto(page_of_a.as_uri())
        row = seen.page.locator("#the-trials tbody tr").first
        row.hover() if by == "hover" else row.focus()
        trial = row.get_attribute("data-trial")
        lit = seen.page.locator(".lit")
        assert {lit.nth(k).get_attribute("data-trial") for k in range(lit.count())} == {trial}
        figures = seen.page.locator("figure:has(.lit)")
        names = {figures.nth(k).get_attribute("id") for k in range(figures.count())}
        assert {"history", "parallel", "slices"} <= names
        seen.page.locator("h1").hover()
        if by == "hover":
            assert lit.count() == 0

    def test_rows_are_filtered(self, seen: Seen, page_of_a: Path, tmp_path: Path) -> None:
        rows = [[number, number / 7] for number in range(100, 120)]
        table = Table(["trial", "loss"], rows)
        page = write(WebPage("p", "", [], [], [Section("s", tables=[table])]), tmp_path)
        seen.page.goto(page.as_uri())
        seen.page.get_by_label("Filter rows").fill("107")
        visible = seen.page.locator("tbody tr:visible")
        assert visible.count() == 1
        assert visible.first.get_attribute("data-trial") == "107"

    @pytest.mark.parametrize("width", [1280, 390])
    def test_every_figure_draws_what_it_is_of(
        self, seen: Seen, page_of_a: Path, outputs: Path, width: int
    ) -> None:
        """Not the ticks and frames, but each point, curve, bar and count, inside its figure.

        On a phone no figure is wider than the page, and a table of counts has no numbers.
        """
        seen.page.set_viewport_size({"width": width, "height": 900})
        ours = additions(ROOT, None)
        page = study_page(read_study(open_study(outputs, "a"), ours, PLACE), ours)
        pictures = [picture for section in page.sections for picture in section.pictures]
        seen.page.goto(page_of_a.as_uri())
        shown = seen.page.locator("figure svg:visible")
        assert shown.count() == sum(len(picture.charts) for picture in pictures) >= 8
        for picture in pictures:
            figure = seen.page.locator(f"figure#{picture.name}")
            marks = Counter[str](dict(figure.evaluate(MARKS)))
            wanted = marks_of(picture)
            wanted["count"] *= width > 1000
            assert marks == wanted, picture.name
            assert figure.evaluate("figure => figure.scrollWidth <= figure.clientWidth")
            for svg in figure.locator("svg:visible").all():
                box = svg.bounding_box()
                assert box is not None
                assert box["width"] > 300
                assert box["height"] > 100
        study = open_study(outputs, "a")
        complete = [t.number for t in study.trials if t.state.name == "COMPLETE"]
        pruned = [
            t.number for t in study.trials if t.state.name == "PRUNED" and t.value is not None
        ]
        assert marks_of(named(pictures, "history"))["point"] == len(complete) + len(pruned) == 10
        assert marks_of(named(pictures, "confirmed"))["row"] == 2
        assert marks_of(named(pictures, "importance"))["bar"] == 2
        assert marks_of(named(pictures, "slices"))["point"] == 2 * len(complete)

    def test_a_point_tells_its_trial(self, seen: Seen, page_of_a: Path) -> None:
        """The page holds each trial's words once: pointing at another mark brings them there."""
        seen.page.goto(page_of_a.as_uri())
        titles = seen.page.locator("#history use title")
        assert titles.count() == 10
        assert re.match(r"trial \d+ · ", titles.first.text_content() or "")
        point = seen.page.locator("#slices use[data-trial]").first
        assert point.locator("title").count() == 0
        trial = point.get_attribute("data-trial")
        point.dispatch_event("pointerover")
        assert (point.locator("title").text_content() or "").startswith(f"trial {trial} · ")

    @pytest.mark.parametrize("width", [1280, 390])
    def test_every_label_of_the_embeddings_can_be_read(
        self, seen: Seen, page_of_a: Path, few: Splits, width: int
    ) -> None:
        seen.page.set_viewport_size({"width": width, "height": 900})
        seen.page.goto(page_of_a.as_uri())
        labels, overlaps = seen.page.locator("figure#embeddings").evaluate(LABELS)
        assert sorted(labels) == sorted(few.vocabulary.tokens)
        assert overlaps == []

    def test_a_long_table_begins_with_twelve_whole_rows(
        self, seen: Seen, page_of_a: Path, tmp_path: Path
    ) -> None:
        tables = [Table(["trial", "loss"], [[k, k / 7] for k in range(n)]) for n in (16, 17)]
        page = write(WebPage("p", "", [], [], [Section("s", tables=tables)]), tmp_path)
        seen.page.goto(page.as_uri())
        rows = [seen.page.locator("table").nth(k).locator("tbody tr:visible") for k in range(2)]
        assert [found.count() for found in rows] == [16, 12]
        boxes = seen.page.locator(".scroll")
        for box in boxes.all():
            assert box.evaluate("box => box.scrollHeight <= box.clientHeight")
        seen.page.locator("th button").nth(2).click()  # by trial, up, then down
        seen.page.locator("th button").nth(2).click()
        assert rows[1].first.get_attribute("data-trial") == "16"
        assert rows[1].count() == 12
        seen.page.get_by_role("button", name="Show all 17 rows").click()
        assert rows[1].count() == 17

    def test_a_table_sorts_by_number_up_and_down(self, seen: Seen, page_of_a: Path) -> None:
        seen.page.goto(page_of_a.as_uri())
        table = seen.page.locator("section", has_text="The trials").locator("table").first
        rate = table.locator("th", has_text="optim.lr")
        column = 1 + [h.strip() for h in table.locator("th").all_text_contents()].index("optim.lr")

        def values() -> list[float]:
            cells = table.locator(f"tbody td:nth-child({column})")
            return [float(cell.get_attribute("data-value") or "nan") for cell in cells.all()]

        rate.locator("button").click()
        assert values() == sorted(values())
        assert rate.get_attribute("aria-sort") == "ascending"
        rate.locator("button").click()
        assert values() == sorted(values(), reverse=True)
        assert len(set(values())) > 3

    def test_on_a_phone_nothing_sticks_out_and_all_can_be_read(
        self, seen: Seen, page_of_a: Path
    ) -> None:
        seen.page.set_viewport_size({"width": 375, "height": 700})
        seen.page.goto(page_of_a.as_uri())
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 375
        texts = seen.page.locator("figure svg text:visible")
        heights = texts.evaluate_all("all => all.map(text => text.getBoundingClientRect().height)")
        assert len(heights) > 50
        assert min(heights) >= 9

    def test_dark_and_light_differ(self, seen: Seen, page_of_a: Path) -> None:
        colours: dict[str, dict[str, str]] = {}
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme in schemes:
            seen.page.emulate_media(color_scheme=scheme)
            seen.page.goto(page_of_a.as_uri())
            colours[scheme] = {
                name: seen.page.locator(name).first.evaluate(
                    f"one => getComputedStyle(one).{property}"
                )
                for name, property in (
                    ("body", "backgroundColor"),
                    (".verdict", "color"),
                    ("#history text", "fill"),
                    ("#history [id*='-points-'] use", "fill"),
                )
            }
        light, dark = colours["light"], colours["dark"]
        assert light["body"] == "rgb(255, 255, 255)"
        assert dark["body"] == "rgb(13, 17, 23)"
        for name in light:
            assert light[name] != dark[name], name
        for seen_in in (light, dark):
            assert seen_in["#history text"] == seen_in[".verdict"] != seen_in["body"]

    def test_the_dashboard_shows_figure_and_note(self, seen: Seen, outputs: Path) -> None:
        """As `sweepmore dashboard` starts it, at the link that it prints."""
        study = open_study(outputs, "a")
        assert "python train.py -m" in get_note(study)
        assert "**Winner**" in get_note(study)
        port = 18_080 + os.getpid() % 1_000
        url = f"http://127.0.0.1:{port}"
        server = subprocess.Popen(
            [sys.executable, "-m", "sweepmore", "dashboard", "a", "--port", str(port),
             f"--outputs={outputs}"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, text=True,
        )  # fmt: skip
        try:
            until(lambda: answers(url))
            assert server.stdout is not None
            link = f"{url}/dashboard/studies/{study._study_id}"
            assert server.stdout.readline() == f"dashboard {link} (Ctrl-C ends it)\n"
            seen.page.goto(f"{url}/dashboard/studies/{study._study_id}/note")
            seen.page.get_by_text("Winner").first.wait_for()
            seen.page.goto(f"{url}/dashboard/studies/{study._study_id}")
            seen.page.get_by_text("dev loss (nats/token)").first.wait_for()
            best = study.best_trial.number
            seen.page.goto(f"{url}/dashboard/studies/{study._study_id}/trials?numbers={best}")
            image = seen.page.locator("img[src*=artifacts]").first
            image.wait_for()
            width = "async image => { await image.decode(); return image.naturalWidth }"
            assert image.evaluate(width) > 100
            outside = [
                request
                for request in seen.requests
                if not request.startswith((url, "data:", "blob:"))
            ]
            assert outside == []
            assert seen.complaints == []
        finally:
            server.terminate()
            server.communicate()


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=60).close()
    except OSError:
        return False
    return True
