"""The real W&B clients against a stub of the server on loopback: what arrives there."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from sweepmore.errors import StudyError
from sweepmore.report.additions import Additions
from sweepmore.report.study import read_study
from sweepmore.report.upload import folders_of, superseded_in, sync_study, uploads
from sweepmore.runs.files import read_json, write_json
from sweepmore.runs.places import Place
from sweepmore.runs.tracking import SUPERSEDED
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


@dataclass(frozen=True)
class Published:
    """The request that saves a report, as variables; what was printed, and the server."""

    saved: dict[str, Any]
    out: str
    stub: Stub
    outputs: Path
    env: dict[str, str]


@pytest.fixture(scope="module")
def published(other_outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with serve() as stub:
        env = {**stub.env(), "HOME": str(tmp_path_factory.mktemp("home"))}
        done = run_command("wandb", NAME, f"--outputs={other_outputs}", env=env)
        assert done.returncode == 0, done.stderr
        (saved,) = stub.variables_of("upsertView")
        url = f"{stub.url}/{ENTITY}/sweepmore/reports/{NAME}--{VIEW}"
        assert done.stdout.splitlines()[-1] == f"report   {url}"
        yield Published(saved, done.stdout, stub, other_outputs, env)


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
    published: Published,
) -> None:
    saved = published.saved
    assert (saved["entityName"], saved["projectName"]) == (ENTITY, "sweepmore")
    assert saved["displayName"] == NAME
    (block,) = blocks_of(saved, "panel-grid")
    grid = block["metadata"]

    (runs,) = grid["runSets"]
    assert filters_of(runs) == [
        ("run", "group", "IN", [NAME, f"{NAME}.confirm"]), ("run", "tags", "NIN", ["superseded"]),
    ]  # fmt: skip
    assert runs["project"]["id"] == "42"
    assert runs["runFeed"]["columnOrder"] == [
        "run:displayName", "summary:result.dev_loss", "tags:__ALL__", "config:optim.value.lr"
    ]  # fmt: skip

    panels = {panel["viewType"]: panel["config"] for panel in grid_panels(grid)}
    assert set(panels) == {
        "Parallel Coordinates Plot", "Run History Line Plot", "Parameter Importance",
        "Run Comparer",
    }  # fmt: skip
    columns = [c["accessor"] for c in panels["Parallel Coordinates Plot"]["columns"]]
    assert columns == ["config:optim.value.lr", "summary:result.dev_loss"]
    assert panels["Parameter Importance"]["targetKey"] == "result.dev_loss"
    lines = lines_of(grid)
    assert [(*line["metrics"], line["xAxis"]) for line in lines] == [
        ("dev_loss", "step"), ("dev_loss", "_runtime"),
        ("train_loss", "step"), ("train_loss", "_runtime"),
    ]  # fmt: skip
    grouped = {(line["groupBy"], line["groupAgg"], line["groupArea"]) for line in lines}
    assert grouped == {("study.value.settings", "mean", "stderr")}


def filters_of(runs: dict[str, Any]) -> list[tuple[str, str, str, Any]]:
    """The filters of a run set, all of which a run must meet."""
    filters = runs["filters"]["filters"]
    assert {each.get("connector", "AND") for each in filters} <= {"AND"}
    return [
        (each["key"]["section"], each["key"]["name"], each["op"], each["value"]) for each in filters
    ]


def lines_of(grid: dict[str, Any]) -> list[dict[str, Any]]:
    return [p["config"] for p in grid_panels(grid) if p["viewType"] == "Run History Line Plot"]


def at(path: str, content: Any) -> Any:
    """What lies there in nested mappings; KeyError where nothing does."""
    for part in path.split("."):
        content = content[part]
    return content


def test_what_the_report_asks_for_is_what_the_runs_sent(published: Published) -> None:
    (block,) = blocks_of(published.saved, "panel-grid")
    (runs,) = block["metadata"]["runSets"]
    panels = {panel["viewType"]: panel["config"] for panel in grid_panels(block["metadata"])}
    wanted = [c["accessor"] for c in panels["Parallel Coordinates Plot"]["columns"]]
    settings = [name.removeprefix("config:") for name in wanted if name.startswith("config:")]
    numbers = [name.removeprefix("summary:") for name in wanted if name.startswith("summary:")]
    settings += [line["groupBy"] for line in lines_of(block["metadata"])]
    stub = published.stub
    trials = [run for run in stub.runs_begun() if not run.endswith("-winner")]
    assert len(trials) == 4
    for run in trials:
        told = [v for v in stub.variables_of("UpsertBucket") if v["name"] == run]
        for setting in settings:
            assert at(setting, json.loads(told[-1]["config"])) is not None
        summary = stub.streamed(run, "wandb-summary.json")[-1]
        for number in [*numbers, panels["Parameter Importance"]["targetKey"]]:
            assert at(number, summary) > 0
        (row, *_) = stub.streamed(run, "wandb-history.jsonl")
        for line in lines_of(block["metadata"]):
            assert {line["xAxis"], *line["metrics"]} <= row.keys()
        assert told[0]["groupName"] in filters_of(runs)[0][3]


def grid_panels(grid: dict[str, Any]) -> list[dict[str, Any]]:
    panels = grid["panelBankSectionConfig"]["panels"]
    assert isinstance(panels, list)
    return panels


def test_report_tells_the_question_and_the_winner(published: Published) -> None:
    saved, out = published.saved, published.out
    answer, table = map(text_of, blocks_of(saved, "markdown-block"))
    verdict, *_ = answer.splitlines()
    assert verdict.startswith("**Trial 1 wins at 2.5000 ± 0.1250 over 4 final seeds")
    assert "minimize dev loss (nats/token) over optim.lr" in answer
    assert "**Winner**: optim.lr=0.2: 2.5000 ± 0.1250 (95 %, over 4 final seeds)." in answer
    headings = [block["children"][0]["text"] for block in blocks_of(saved, "heading")]
    assert headings[0] == "What fresh and final seeds say"
    assert "mean of 4 fresh seeds" in table.splitlines()[0]
    assert table.splitlines()[2:] == [
        "| 0 | 2.2500 | 2.4375 | 0.2500 | tied | optim.lr=0.1 |",
        "| **1** | **2.3750** | **2.5000** | **0.1250** | **winner** | **optim.lr=0.2** |",
    ]
    (command,) = map(text_of, blocks_of(saved, "code-block"))
    assert command.startswith("python train.py -m ")
    assert "5 of 5 runs uploaded" in out  # the winner's weights among them


def test_the_winners_weights_are_an_artifact(published: Published) -> None:
    stub, run = published.stub, published.outputs / "studies" / NAME / "0001" / "0"
    (artifact,) = [variables["input"] for variables in stub.variables_of("CreateArtifact")]
    assert artifact["artifactTypeName"] == "model"
    result = read_json(run / "result.json")
    metadata = json.loads(artifact["metadata"])
    assert metadata["dev_loss"] == result["dev_loss"]
    assert metadata["data"]["fingerprint"] == result["data"]["fingerprint"]
    assert metadata["confirmed"] == {"mean": 2.5, "half_width": 0.125, "seeds": 4}
    name = f"artifact-{artifact['artifactCollectionName']}/model.safetensors"
    assert stub.files[name] == (run / "model.safetensors").read_bytes()


@pytest.mark.system
def test_a_second_call_updates_the_report_unless_somebody_deleted_it(published: Published) -> None:
    stub = published.stub
    words = ("wandb", NAME, f"--outputs={published.outputs}")
    begun = len(stub.runs_begun())
    for deleted, view in ((False, VIEW), (True, None)):
        stub.deleted = deleted
        done = run_command(*words, env=published.env)
        assert done.returncode == 0, done.stderr
        assert stub.variables_of("upsertView")[-1]["id"] == view
    stub.deleted = False
    assert len(stub.runs_begun()) == begun  # nothing is uploaded again


@pytest.mark.system
def test_studies_are_compared_in_one_report(published: Published, few_names: Path) -> None:
    words = ("data=text", f"data.path={few_names}", "experiment=smoke", "optim.steps=20")
    sweeper = ("hydra.sweeper.study_name=widths", f"hydra.sweeper.outputs={published.outputs}")
    done = run_script("train.py", "-m", *words, "model.hidden=8,16", *sweeper)
    assert done.returncode == 0, done.stderr
    place = f"--outputs={published.outputs}"
    before = len(published.stub.variables_of("upsertView"))
    done = run_command("wandb", NAME, "widths", place, env=published.env)
    assert done.returncode == 0, done.stderr
    (saved,) = published.stub.variables_of("upsertView")[before:]
    assert (saved["displayName"], saved["id"]) == (f"{NAME} and widths", None)
    (block,) = blocks_of(saved, "panel-grid")
    groups = [filters_of(runs)[0][3] for runs in block["metadata"]["runSets"]]
    assert groups == [[NAME, f"{NAME}.confirm"], ["widths"]]
    differs = text_of(blocks_of(saved, "markdown-block")[0])
    assert "model.hidden" in differs
    assert "optim.lr" in differs
    panels = {panel["viewType"]: panel["config"] for panel in grid_panels(block["metadata"])}
    columns = [c["accessor"] for c in panels["Parallel Coordinates Plot"]["columns"]]
    assert columns[:2] == ["config:optim.value.lr", "config:model.value.hidden"]


@pytest.mark.system
def test_two_runs_are_compared_in_one_report(stub: Stub, few_names: Path, tmp_path: Path) -> None:
    words = ("data=text", f"data.path={few_names}", "experiment=smoke", "optim.steps=20")
    for name, lr in (("a", 0.1), ("b", 0.2)):
        place = f"hydra.run.dir={tmp_path}/runs/{name}"
        done = run_script("train.py", *words, f"optim.lr={lr}", place)
        assert done.returncode == 0, done.stderr
    env = {**stub.env(), "HOME": str(tmp_path)}
    done = run_command("wandb", "a", "b", f"--outputs={tmp_path}", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1 of 1 run uploaded") == 2
    (saved,) = stub.variables_of("upsertView")
    (block,) = blocks_of(saved, "panel-grid")
    (runs,) = block["metadata"]["runSets"]
    assert filters_of(runs) == [("run", "name", "IN", stub.runs_begun())]
    views = [panel["viewType"] for panel in grid_panels(block["metadata"])]
    assert views == ["Run History Line Plot"] * 4 + ["Run Comparer"]
    assert not any("groupBy" in line for line in lines_of(block["metadata"]))
    told, differs = map(text_of, blocks_of(saved, "markdown-block"))
    assert told.startswith("**b ends with a dev loss ")
    assert "**a**: dev " in told
    assert "| optim.lr | 0.1 | 0.2 |" in differs.splitlines()
    weights = [name for name in stub.files if name.endswith("model.safetensors")]
    assert len(weights) == 2


def test_the_answer_begins_with_the_verdict(
    study: optuna.Study,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of wandb-workspaces about itself
        from sweepmore.report.wandb_text import Subject, answer
    seen = replace(read_study(study, Additions(), Place(Path("/elsewhere"))), winner=None)
    subject = Subject.of(study, seen)
    assert "luck" not in answer(subject)  # of two seeds each
    assert answer(subject).startswith(f"**{subject.verdict}**")


def test_studies_of_other_data_get_no_report(study: optuna.Study, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of wandb-workspaces about itself
        from sweepmore.report.wandb_report import Wanted, require_reportable
        from sweepmore.report.wandb_text import Subject
    seen = read_study(study, Additions(), Place(Path("/elsewhere")))
    other = replace(seen, attrs=replace(seen.attrs, question={**seen.question, "identity": "b"}))
    subjects = [Subject.of(study, each) for each in (seen, other)]
    with pytest.raises(StudyError, match="have other data"):
        require_reportable(subjects, Wanted(tmp_path))
    assert require_reportable(subjects[:1], Wanted(tmp_path)) == "result.dev_loss"
    assert require_reportable(subjects[:1], Wanted(tmp_path, metric="delay")) == "delay"


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


@pytest.mark.system
def test_attempts_that_began_again_are_marked_and_left_out(
    online: Stub, study: optuna.Study
) -> None:
    """The first attempt at a run was killed before its first checkpoint."""
    trial = study.get_trials(deepcopy=False)[1]
    folder, name = Path(trial.user_attrs["folder"], "1"), trial.user_attrs["wandb_id"]
    provenance = read_json(folder / "provenance.json")
    write_json(folder / "provenance.json", {**provenance, "began": 1})
    sync_study(study)
    tags: dict[str, list[list[str]]] = {}
    for told in online.variables_of("UpsertBucket"):
        tags.setdefault(told["name"], []).append(told["tags"])
    assert tags.pop(name)[0] == [NAME, SUPERSEDED]
    assert not [each for each in tags.values() if [NAME, SUPERSEDED] in each]
    assert superseded_in(folders_of(study)) == [name]


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
