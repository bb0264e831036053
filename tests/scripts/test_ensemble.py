"""``train.py ensemble=``: a confirmed study's nets, or runs, averaged: a run like any other."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
import pytest
import yaml
from optuna.distributions import IntDistribution
from optuna.trial import create_trial
from sqlalchemy.engine import URL

import evaluate_test
import sample
from nplm.app import report
from nplm.app.members import DRAWN
from nplm.app.tested_run import Wanted, find
from nplm.config import from_hydra
from nplm.losses import split_loss
from nplm.sampling import ensemble
from sweepmore.runs import places
from sweepmore.seal.receipts import receipts
from sweepmore.storage.opening import open_storage
from sweepmore.study.attributes import Winner
from tests.support.door import VALID
from tests.support.helpers import (
    ROOT,
    call_script,
    refused,
    result_of,
    rows_of,
    run_command,
    run_script,
    script_of,
    train_here,
)

SEEDS = 3
TRAINED = ("experiment=smoke", "model.init=scaled", "optim.steps=150", "optim.lr=0.5")
QUIET = "wandb.mode=disabled"


@dataclass(frozen=True)
class Place:
    """Outputs with a study ``s`` that was confirmed with three seeds, ``single`` with one, and
    ``begun``, which was not confirmed."""

    outputs: Path

    @property
    def members(self) -> list[Path]:
        return [self.outputs / "studies" / "s.confirm" / "0000" / str(at) for at in range(SEEDS)]

    def words(self, study: str, *words: str) -> list[str]:
        return [f"ensemble={self.outputs / 'studies' / study}", *words, QUIET]

    def run(self, name: str, *words: str) -> Path:
        """``train.py ensemble=s WORDS`` in this process, in a folder of that name."""
        return train_here(self.outputs / "runs" / name, *self.words("s", *words))

    def refused(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
        return refused(self.outputs / "runs" / "new", words, capsys, train_here)


def begin(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    study = optuna.create_study(study_name=name, storage=storage)
    study.set_user_attr("command", {"words": []})
    study.set_user_attr("uid", name[:6])
    return study


def confirm(
    storage: optuna.storages.BaseStorage,
    name: str,
    run: Path,
    seeds: int,
    files: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """What a search and its confirmation keep in the database."""
    search = begin(storage, name)
    plan = {"top": 1, "roots": [0], "seeds": list(range(seeds)), "seed_key": "seed"}
    search.set_user_attr("plan.confirm", plan)
    search.add_trial(create_trial(value=1.0, params={"x": 0}, user_attrs={"slot": 0, "root": 0},
                                  distributions={"x": IntDistribution(0, 1)}))  # fmt: skip
    named = Winner(run, f"{name}.confirm", seeds=seeds, searched=1.0, top=1, roots=(0,),
                   files=dict(files))  # fmt: skip
    begin(storage, f"{name}.confirm").set_user_attr("winner", named.written())


@pytest.fixture(scope="module")
def place(few_names: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("place") / "outputs")
    argv, formatter = sys.argv, warnings.formatwarning
    sys.argv = []
    for seed, folder in enumerate(made.members):
        words = (f"seed={seed}", "data=text", f"data.path={few_names}", *TRAINED, QUIET)
        train_here(folder, *words)
        path = folder / "provenance.json"
        about = {**json.loads(path.read_text()), "run_id": f"s.confirm-s.conf-0000-s{seed}"}
        path.write_text(json.dumps(about))
    storage = open_storage(URL.create("sqlite", database=str(made.outputs / "studies.db")))
    confirm(storage, "s", made.members[1], SEEDS)
    confirm(storage, "single", made.members[0], 1)
    begin(storage, "begun")
    made.run("e")
    yield made
    sys.argv, warnings.formatwarning = argv, formatter


@pytest.fixture
def folder(place: Place) -> Path:
    """A run of the ensemble, which nobody changes."""
    return place.outputs / "runs" / "e"


def test_it_is_the_mean_of_the_confirmed_nets(place: Place, folder: Path) -> None:
    result = result_of(folder)
    VALID.validate(result)
    _, splits, _ = report.opened(folder)
    assert result["dev_loss"] == split_loss(ensemble(*place.members).model, splits.dev)
    each = [result_of(member) for member in place.members]
    mean = sum(member["dev_loss"] for member in each) / SEEDS
    assert result["ensemble"] == {"members": SEEDS, "member_dev_loss": mean}
    assert (result["steps"], result["parameters"]) == (0, SEEDS * each[0]["parameters"])
    assert result["data"] == each[0]["data"]
    assert "ensemble: s\n" in (folder / "config.yaml").read_text()
    assert (folder / "model.safetensors").stat().st_size < 4_000  # no copy of the weights
    samples = (folder / "samples.txt").read_text().splitlines()
    assert [len(rows_of(folder)), len(samples)] == [1, 100]


def test_runs_are_averaged_by_their_folders(place: Place, folder: Path) -> None:
    """All nets of the study, in another order, are its ensemble."""
    runs = [str(member) for member in reversed(place.members)]
    made = train_here(place.outputs / "runs" / "of-runs", f"ensemble=[{','.join(runs)}]", QUIET)
    result, study = result_of(made), result_of(folder)
    assert result["dev_loss"] == pytest.approx(study["dev_loss"], abs=1e-6)
    assert result["ensemble"]["members"] == SEEDS
    kept = yaml.safe_load((made / "config.yaml").read_text())
    assert kept["ensemble"] == runs
    assert [each["sha256"] for each in kept["model"]["members"]] == [
        hashlib.sha256(Path(run, "model.safetensors").read_bytes()).hexdigest() for run in runs
    ]
    assert from_hydra(kept).ensemble == tuple(runs)


def test_a_counting_model_is_averaged_with_nets_and_mixed(place: Place, few_names: Path) -> None:
    """Whichever comes first. The ensemble is of the study that trained one of its members."""
    runs = place.outputs / "runs"
    data = ("data=text", f"data.path={few_names}")
    counting = train_here(runs / "counting", *data, "model=ngram", QUIET)
    net = place.members[0]
    for name, pair in ("count-net", f"{counting},{net}"), ("net-count", f"{net},{counting}"):
        result = result_of(train_here(runs / name, f"ensemble=[{pair}]", "mix=true", QUIET))
        assert result["dev_loss"] <= result["mix"]["net_dev_loss"]
        asked = find(Wanted(None, str(runs / name), None, places.Place(place.outputs)))
        assert asked.not_winner == "an ensemble with nets of s, not its winner"


def test_runs_that_cannot_be_averaged_are_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = place.members[:2]
    copied = Path(shutil.copytree(first, place.outputs / "runs" / "copied"))
    failed = Path(shutil.copytree(first, place.outputs / "runs" / "failed"))
    result = json.loads((failed / "result.json").read_text())
    (failed / "result.json").write_text(json.dumps({**result, "status": "diverged"}))
    for named, others, said in (
        (f"[{first}]", [], "leaves nothing to average"),
        (f"[{first},{second},{first}]", [], "s.confirm/0000/0 has the weights of"),
        (f"[{first},{copied}]", [], "runs/copied has the weights of"),
        (f"[{first},nowhere]", [], "nowhere is not a run"),
        (f"[{first},{failed}]", [], "runs/failed cannot be averaged: its status is diverged"),
        (f"[{first},{second}]", ["model.emb=4"], f"ensemble=[{first},{second}] takes model and"),
    ):
        words = [f"ensemble={named}", *others, QUIET]
        assert said in place.refused(words, capsys).replace("\n", " ")


def test_it_is_sampled_and_explained(folder: Path) -> None:
    drawn = call_script(sample, f"run={folder}", "n=4")
    assert (drawn.returncode, len(drawn.stdout.splitlines())) == (0, 7), drawn.stderr
    explained = call_script(sample, f"run={folder}", "explain=ann")
    assert len(explained.stdout.splitlines()) == 6, explained.stderr


def test_mixed_with_counting(
    place: Place, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = place.run("m", "mix=true")
    result, alone = result_of(both), result_of(folder)
    VALID.validate(result)
    assert result["mix"]["net_dev_loss"] == alone["dev_loss"] > result["dev_loss"]
    assert result["ensemble"] == alone["ensemble"]
    _, splits, trained = report.opened(both)
    assert split_loss(trained.model, splits.dev) == result["dev_loss"]
    printed = capsys.readouterr().out
    assert "model    ensemble of 3: 3 tokens of context" in printed
    assert "optim    none: its members were trained" in printed
    assert f"members  3, alone dev {alone['ensemble']['member_dev_loss']:.3f} on av" in printed


def test_the_page_shows_what_each_more_member_buys(
    place: Place, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (section,) = [s for s in report.sections(folder) if s.title == "Its members"]
    ((chart,),) = [picture.charts for picture in section.pictures]
    alone, both = chart.curves
    assert list(alone.x) == [1, 2, 3]
    assert alone.y[-1] == pytest.approx(result_of(folder)["dev_loss"], abs=1e-5)
    assert all(low < high for low, high in zip(both.y, alone.y, strict=True))
    (table,) = section.tables
    assert table.head[-1] == f"seconds for {DRAWN} samples"
    size = result_of(place.members[0])["parameters"]
    assert [row[4] for row in table.rows] == [f"{size * members:,}" for members in (1, 2, 3)]
    assert all(float(row[5]) > 0 for row in table.rows)
    tool = script_of(ROOT / "tools" / "ensembles.py")
    monkeypatch.setattr(tool, "FOLDER", tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "RESULTS.md").write_text(
        "above\n<!-- s -->\nold\n<!-- end of s -->\nbelow\n"
    )
    tool.main("s", *map(str, place.members))
    written = (tmp_path / "kept" / "RESULTS.md").read_text()
    assert f"| 3 | {alone.y[-1]:.4f} | {both.y[-1]:.4f} |" in written
    assert (written[:6], written[-6:], "old" in written) == ("above\n", "below\n", False)
    assert (tmp_path / "kept" / "s.png").exists()


def test_a_kill_before_the_result_costs_nothing(folder: Path) -> None:
    killed = Path(shutil.copytree(folder, folder.with_name("killed")))
    (killed / "result.json").unlink()
    train_here(killed, f"resume={killed}")
    again, first, clock = result_of(killed), result_of(folder), {"seconds", "steps_per_second"}
    assert {k: again[k] for k in again if k not in clock} == {
        k: first[k] for k in first if k not in clock
    }
    assert len(rows_of(killed)) == 1


def removed(weights: Path) -> None:
    weights.unlink()


def replaced(weights: Path) -> None:
    shutil.copy(weights.parents[1] / "0" / "model.safetensors", weights)


@pytest.mark.parametrize(("spoil", "said"), [(removed, "is missing"), (replaced, "has changed")])
def test_a_member_that_is_not_as_it_was_is_refused_by_name(
    place: Place,
    folder: Path,
    spoil: Callable[[Path], None],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """To a resumed run, to samples, and to the seal, which claims nothing."""
    stopped = Path(shutil.copytree(folder, folder.with_name(said.replace(" ", "-"))))
    (stopped / "result.json").unlink()
    weights = place.members[2] / "model.safetensors"
    shutil.copy(weights, tmp_path / "kept")
    spoil(weights)
    try:
        with pytest.raises(SystemExit) as ended:
            train_here(stopped, f"resume={stopped}")
        resumed = (ended.value.code, capsys.readouterr().err)
        place_of_looks = (f"outputs={place.outputs}", f"looks={tmp_path / 'looks'}")
        drawn = call_script(sample, f"run={folder}")
        look = call_script(evaluate_test, f"run={folder}", *place_of_looks)
        again = place.refused(place.words("s"), capsys) if spoil is removed else None
    finally:
        shutil.copy(tmp_path / "kept", weights)
    name = "s.confirm/0000/2/model.safetensors, a member of the ensemble, "
    for done in resumed, (drawn.returncode, drawn.stderr), (look.returncode, look.stderr):
        assert done[0] == 2
        assert name + said in done[1]
        assert done[1].count("error:") == 1
    assert not (tmp_path / "looks").exists()
    assert again is None or name + said in again  # nor is another one made


def test_a_reported_net_that_changed_since_the_confirmation_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = open_storage(URL.create("sqlite", database=str(place.outputs / "studies.db")))
    kept = hashlib.sha256((place.members[1] / "model.safetensors").read_bytes()).hexdigest()
    for name, digest in (("as-it-was", kept), ("changed", "0" * 64)):
        confirm(storage, name, place.members[1], SEEDS, {"model.safetensors": digest})
    said = place.refused(place.words("changed"), capsys)
    assert "s.confirm/0000/1/model.safetensors, a member of the ensemble, has changed since" in said
    assert "changed.confirm named it" in said
    train_here(place.outputs / "runs" / "as-it-was", *place.words("as-it-was"))


@pytest.mark.parametrize(("study", "words", "said"), [
    ("nowhere", [], "There is no study nowhere."),
    ("begun", [], "sweepmore confirm begun"),
    ("single", [], "single.confirm trained its winner with 1 seed"),
    ("s", ["model.emb=4"], "model.emb=4 was given"),
    ("s", ["experiment=quick", "mix=true"], "experiment=quick was given"),
])  # fmt: skip
def test_what_cannot_be_averaged_is_refused(
    place: Place, study: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in place.refused(place.words(study, *words), capsys)


def test_what_its_members_began_with_is_recorded(place: Place) -> None:
    """So that the seal warns of weights that learned from another split."""
    path = place.members[0] / "provenance.json"
    before = path.read_text()
    start = {"folder": "gone", "run_id": "other", "fingerprint": "of another split"}
    path.write_text(json.dumps({**json.loads(before), "start_from": start}))
    began = place.run("began")
    path.write_text(before)
    assert json.loads((began / "provenance.json").read_text())["start_from"] == start


def test_one_look_at_test(place: Place, folder: Path) -> None:
    """It is not the winner, and what its look says of it says so; one of its members beside it."""
    looks = place.outputs.parent / "looks"
    tested = Path(shutil.copytree(folder, folder.with_name("tested")))
    words = f"run={tested}", f"outputs={place.outputs}", f"looks={looks}"
    first = call_script(evaluate_test, *words, f"beside=[{place.members[0]}]")
    assert first.returncode == 0, first.stderr
    result = result_of(tested)
    VALID.validate(result)
    (receipt,) = receipts(looks, result["data"]["fingerprint"])
    assert receipt.about["note"] == "an ensemble with nets of s, not its winner"
    assert receipt.about["parameters"] == result["parameters"]
    assert receipt.result is not None
    assert len(receipt.result["beside"]) == 1
    assert result["test"]["loss"] == receipt.result["loss"]
    again = call_script(evaluate_test, *words)
    assert (again.returncode, "nothing was read now" in again.stdout + again.stderr) == (0, True)
    winner = call_script(evaluate_test, f"run={place.members[1]}", *words[1:])
    assert winner.returncode == 3  # the split has had its look
    assert len(receipts(looks, result["data"]["fingerprint"])) == 1


@pytest.mark.system
def test_from_a_sweep_to_a_page(few_names: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    study = f"ensemble={outputs / 'studies' / 'real'}"

    def ok(done: Any) -> str:
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    words = ["data=text", f"data.path={few_names}", *TRAINED, QUIET]
    sweep = ("hydra.sweeper.study_name=real", f"hydra.sweeper.outputs={outputs}")
    ok(run_script("train.py", "-m", *words, "model.hidden=8,16", *sweep))
    ok(run_command("confirm", "real", "--top=2", "--seeds=2", f"--outputs={outputs}"))
    folder = outputs / "runs" / "e"
    said = ok(run_script("train.py", study, f"hydra.run.dir={folder}", QUIET))
    assert "ensemble of 2" in said
    # the nets whose mean is reported: those of the final seeds
    config = (folder / "config.yaml").read_text()
    assert config.count("../../studies/real.confirm-final/0000/") == 2
    page = ok(run_command("report", str(folder), f"--outputs={outputs}"))
    html = next(Path(word) for word in page.split() if word.endswith("index.html"))
    assert "Its members" in (Path.cwd() / html).read_text()
    # a sweep would train it again and again
    for several in ([study, "optim.lr=0.1,0.2"], [f"{study},other"]):
        done = run_script("train.py", "-m", *several, f"hydra.sweeper.outputs={outputs}")
        assert (done.returncode, done.stderr.count("error:")) == (2, 1), done.stdout + done.stderr
        assert "averages nets that were trained, but a sweep trains" in done.stderr
