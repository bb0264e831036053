"""The real W&B clients against a stub of the server on loopback: what arrives there."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from sweepmore.errors import StudyError
from sweepmore.report.additions import Additions
from sweepmore.report.study import read_study
from sweepmore.report.upload import sync_study, uploads
from sweepmore.runs.files import read_json
from sweepmore.runs.places import Place
from sweepmore.seal.ledger import Ledger
from sweepmore.storage.opening import open_storage
from sweepmore.storage.urls import storage_url
from sweepmore.study.loading import load
from tests.support.helpers import CLOSED, run_command, run_script
from tests.support.wandb_stub import ENTITY, VIEW, Stub, serve

NAME = "rates"
WINNER = {  # as confirm.py leaves it
    "trial": 1, "params": {"optim.lr": 0.2}, "mean": 2.5, "half_width": 0.125,
    "seeds": 4, "final": {"seeds": [5, 6, 7, 8], "values": [2.5, 2.5, 2.4, 2.6]},
    "rows": [
        {"trial": 0, "params": {"optim.lr": 0.1}, "searched": 2.25, "mean": 2.4375,
         "half_width": 0.25, "tied": True},
        {"trial": 1, "params": {"optim.lr": 0.2}, "searched": 2.375, "mean": 2.5,
         "half_width": 0.125, "tied": True},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def outputs(few_names: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return confirmed_study(few_names, tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def other_outputs(few_names: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same once more, whose runs are uploaded."""
    return confirmed_study(few_names, tmp_path_factory.mktemp("other-outputs"))


def confirmed_study(few_names: Path, folder: Path) -> Path:
    """A study of two trials with two seeds each, which are four offline W&B runs; confirmed."""
    words = ("data=text", f"data.path={few_names}", "experiment=smoke", "optim.steps=20")
    sweeper = (f"hydra.sweeper.study_name={NAME}", f"hydra.sweeper.outputs={folder}")
    seeds = "hydra.sweeper.repeats={seed: [1, 2]}"
    done = run_script("train.py", "-m", *words, "optim.lr=0.1,0.2", seeds, *sweeper)
    assert done.returncode == 0, done.stderr
    database = open_storage(storage_url(None, None, folder))
    confirmed = optuna.create_study(study_name=f"{NAME}.confirm", storage=database)
    run = folder / "studies" / NAME / "0001" / "0"
    assert (run / "config.yaml").exists()
    confirmed.set_user_attr("winner", {**WINNER, "run": str(run)})
    ledger = Ledger(storage_url(None, None, folder), folder / "looks")
    fingerprint = read_json(run / "result.json")["data"]["fingerprint"]
    for name in (fingerprint, "b" * 32):  # rows alone: the checkout has no such receipts
        ledger.claim(name, "a" * 64, {"data": few_names.name})
    return folder


@pytest.fixture(scope="module")
def published(
    other_outputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], str]]:
    """The request that saves the report, as variables, and what was printed."""
    with serve() as stub:
        env = {**stub.env(), "HOME": str(tmp_path_factory.mktemp("home"))}
        done = run_command("wandb", NAME, f"--outputs={other_outputs}", env=env)
        assert done.returncode == 0, done.stderr
        (saved,) = stub.variables_of("upsertView")
        url = f"{stub.url}/{ENTITY}/sweepmore/reports/{NAME}--{VIEW}"
        assert done.stdout.splitlines()[-1] == f"report   {url}"
        yield saved, done.stdout


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as server:
        yield server


@pytest.fixture
def study(outputs: Path, tmp_path: Path) -> Iterator[optuna.Study]:
    """The study, whose folders are as they were before whatever the test does to them."""
    kept = tmp_path / "kept"
    shutil.copytree(outputs / "studies", kept, symlinks=True)
    yield load(open_storage(storage_url(None, None, outputs)), NAME)
    shutil.rmtree(outputs / "studies")
    shutil.copytree(kept, outputs / "studies", symlinks=True)


def blocks_of(saved: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [block for block in json.loads(saved["spec"])["blocks"] if block["type"] == kind]


# the report


def test_report_shows_the_runs_of_the_study_in_the_panels_of_a_sweep(
    published: tuple[dict[str, Any], str],
) -> None:
    saved, _ = published
    assert (saved["entityName"], saved["projectName"]) == (ENTITY, "sweepmore")
    assert saved["displayName"] == NAME
    (block,) = blocks_of(saved, "panel-grid")
    grid = block["metadata"]

    (runs,) = grid["runSets"]
    (group,) = runs["filters"]["filters"]
    assert group["key"] == {"section": "run", "name": "group"}
    assert (group["op"], group["value"]) == ("=", NAME)
    assert runs["project"]["id"] == "42"
    assert runs["runFeed"]["columnOrder"] == [
        "run:displayName", "summary:dev_loss", "config:optim.lr.value"
    ]  # fmt: skip

    panels = {panel["viewType"]: panel["config"] for panel in grid_panels(grid)}
    assert set(panels) == {
        "Parallel Coordinates Plot", "Run History Line Plot", "Parameter Importance",
        "Run Comparer",
    }  # fmt: skip
    columns = [c["accessor"] for c in panels["Parallel Coordinates Plot"]["columns"]]
    assert columns == ["config:optim.lr.value", "summary:dev_loss"]
    assert panels["Parameter Importance"]["targetKey"] == "dev_loss"
    lines = [p["config"] for p in grid_panels(grid) if p["viewType"] == "Run History Line Plot"]
    assert [line["metrics"] for line in lines] == [["dev_loss"], ["train_loss"]]
    assert {line["xAxis"] for line in lines} == {"_step"}


def grid_panels(grid: dict[str, Any]) -> list[dict[str, Any]]:
    panels = grid["panelBankSectionConfig"]["panels"]
    assert isinstance(panels, list)
    return panels


def test_report_tells_the_question_and_the_winner(
    published: tuple[dict[str, Any], str],
) -> None:
    saved, out = published
    answer, table = map(text_of, blocks_of(saved, "markdown-block"))
    assert "minimize dev loss (nats/token) over optim.lr" in answer
    assert "**Winner**: optim.lr=0.2: 2.5000 ± 0.1250 (95 %, over 4 final seeds)." in answer
    headings = [block["children"][0]["text"] for block in blocks_of(saved, "heading")]
    assert headings[0] == "What fresh and final seeds say"
    assert "mean of 4 fresh seeds" in table.splitlines()[0]
    assert table.splitlines()[2:] == [
        "| 0 | 2.2500 | 2.4375 | 0.2500 | tied | optim.lr=0.1 |",
        "| **1** | **2.3750** | **2.5000** | **0.1250** | **yes** | **optim.lr=0.2** |",
    ]
    (command,) = map(text_of, blocks_of(saved, "code-block"))
    assert command.startswith("python train.py -m ")
    assert "4 of 4 runs uploaded" in out


def test_the_best_of_single_seeds_may_be_luck_and_of_repeated_ones_less(
    study: optuna.Study,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of wandb-workspaces about itself
        from sweepmore.report.wandb_report import answer
    seen = replace(read_study(study, Additions(), Place(Path("/elsewhere"))), winner=None)
    assert "luck" not in answer(seen, ())  # of two seeds each
    once = replace(seen.attrs, question={**seen.question, "repeats": None})
    assert "One seed a trial" in answer(replace(seen, attrs=once), ())


def text_of(block: dict[str, Any]) -> str:
    """Of a Markdown block, or of the lines of a code block."""
    if "content" in block:
        return str(block["content"])
    return "\n".join(leaf["text"] for line in block["children"] for leaf in line["children"])


@pytest.mark.system
def test_project_that_the_server_does_not_have(
    stub: Stub, other_outputs: Path, tmp_path: Path
) -> None:
    env = {**stub.env(), "HOME": str(tmp_path)}
    words = (NAME, f"--outputs={other_outputs}", "--project=elsewhere")
    done = run_command("wandb", *words, env=env)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: W&B has no project {ENTITY}/elsewhere.")
    assert "sweepmore wandb" in done.stderr
    assert not stub.variables_of("upsertView")


@pytest.mark.system
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "no API key is known"),
        ({"WANDB_API_KEY": "short"}, "API key must have 40+ characters"),
        ({"WANDB_API_KEY": "0" * 40, "WANDB_MODE": "offline"}, "W&B's mode is offline"),
    ],
)
def test_without_an_account_one_message_and_no_request(
    stub: Stub, outputs: Path, tmp_path: Path, more: dict[str, str], says: str
) -> None:
    env = {"WANDB_BASE_URL": stub.url, "HOME": str(tmp_path), "NETRC": str(tmp_path / "no"), **more}
    done = run_command("wandb", NAME, f"--outputs={outputs}", env=env)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert not stub.asked


# uploads


@pytest.fixture
def online(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """The stub as this process's server: ``wandb sync`` inherits its variables."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    for name, value in {**stub.env(), "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return stub


def test_every_run_of_a_study_is_uploaded_once(
    online: Stub, study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    sync_study(study)
    begun = online.runs_begun()
    assert len(begun) == len(set(begun)) == 4
    groups = {v["groupName"] for v in online.variables_of("UpsertBucket") if v["groupName"]}
    assert groups == {NAME}
    trials = [a.user_attrs["wandb_id"] for a in study.get_trials(deepcopy=False)]
    assert set(trials) <= set(begun)
    for run in begun:
        steps = [row["_step"] for row in online.streamed(run, "wandb-history.jsonl")]
        assert steps == [0, 5, 10, 15, 20]  # a trial sends its evaluations
        assert f"{run}/config.yaml" in online.files
    assert capsys.readouterr().out == "W&B      4 of 4 runs uploaded\n"

    online.asked.clear()
    online.streams.clear()
    sync_study(study)
    assert (online.asked, online.streams) == ([], {})
    assert capsys.readouterr().out == "W&B      4 of 4 runs uploaded before\n"


@pytest.mark.system
def test_a_refused_run_stops_the_upload_which_goes_on_later(
    online: Stub, study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = study.get_trials(deepcopy=False)[1].user_attrs["wandb_id"]
    online.refused.add(refused)
    with pytest.raises(StudyError, match="was not uploaded") as raised:
        sync_study(study)
    assert refused in str(raised.value)
    assert len(uploads(study).done) == 3
    online.refused.clear()
    online.asked.clear()
    sync_study(study)
    assert online.runs_begun() == [refused]
    assert capsys.readouterr().out.endswith("4 of 4 runs uploaded\n")


def test_a_trial_that_runs_is_left_for_later(study: optuna.Study) -> None:
    folder = study.get_trials(deepcopy=False)[0].user_attrs["folder"]
    before = uploads(study)
    running = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        user_attrs={"slot": 2, "folder": folder},
    )
    study.add_trial(running)
    left = uploads(study).left
    assert (len(before.left), len(left)) == (4, 2)
    assert not any(run.is_relative_to(folder) for run in left)
    number = len(study.get_trials(deepcopy=False)) - 1
    study.tell(number, state=optuna.trial.TrialState.FAIL)
    assert uploads(study) == before


@pytest.mark.system
def test_upload_without_a_key(
    online: Stub, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("WANDB_BASE_URL", CLOSED)
    with pytest.raises(StudyError, match="No API key configured"):
        sync_study(study)
    assert not uploads(study).done
