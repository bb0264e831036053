"""The command in the folder of a foreign application, without torch and W&B."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import sweepmore
from sweepmore.command import main
from sweepmore.errors import ConfigError, StudyError
from tests.support.helpers import ROOT, call_command, environment

SCHEMAS = ROOT / "src" / "sweepmore" / "command" / "schemas"
# The command where neither torch nor W&B can be imported.
BARE = "import sys; sys.modules.update(torch=None, wandb=None); from sweepmore.__main__ import main"
APP = """
import random
import hydra
from sweepmore import current_trial

@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    if cfg.x == 3:
        raise ValueError("x is three")
    value = (cfg.x - 1) ** 2 + random.Random(cfg.seed).gauss(0, 0.01)
    trial = current_trial()
    if trial is not None and trial.report(1, value):
        return value
    return value

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: sweepmore
x: 0.0
seed: 0
"""


def bare(folder: Path, *words: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"{BARE}; main()", *words],
        cwd=folder, env=environment({}), input=answer, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def swept(folder: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "app.py", "-m", *words],
        cwd=folder, env=environment({}), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An application whose study `s` has four trials, one of them failed, in the usual place,
    and `t` in a database of its own."""
    folder = tmp_path_factory.mktemp("foreign") / "my app"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    (folder / "config.yaml").write_text(CONFIG)
    swept(folder, "x=0,1,2,3", "hydra.sweeper.study_name=s", "hydra.sweeper.max_failure_rate=1")
    other = "hydra.sweeper.storage=sqlite:///other.db"
    swept(folder, "x=0,1", "hydra.sweeper.study_name=t", other)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, which is the working directory."""
    shutil.copytree(made, tmp_path / "my app", symlinks=True)
    monkeypatch.chdir(tmp_path / "my app")
    return tmp_path / "my app"


@contextmanager
def sqlite_of(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / "outputs" / "studies.db")) as database:
        yield database
        database.commit()


def checked(text: str, name: str) -> Any:
    """The strict JSON of a verb, valid by its schema."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    facts = json.loads(text, parse_constant=refuse)
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(facts, schema)
    return facts


@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["ls", "--json"],
        ["show", "s"],
        ["show", "s", "--trial", "1"],
        ["show", "s", "--csv"],
        ["show", "t", "--json"],
        ["doctor"],
        ["--version"],
        *([task.__name__, "--help"] for task in main.VERBS),
    ],
    ids=shlex.join,
)
@pytest.mark.system
def test_each_verb_runs_without_torch_and_wandb(made: Path, words: list[str]) -> None:
    done = bare(made, *words)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout
    if "--help" in words:
        assert "sweepmore " + words[0] in done.stdout  # an example
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_wandb_says_what_it_needs(made: Path) -> None:
    blocked = bare(made, "wandb", "s")
    assert blocked.returncode == 2
    assert blocked.stderr.startswith("error: ")
    assert "sweepmore[wandb]" in blocked.stderr


def test_ls_has_both_databases_newest_first(folder: Path, made: Path) -> None:
    facts = checked(call_command("ls", "--json").stdout, "ls")
    assert [(study["name"], study["storage"]) for study in facts["studies"]] == [
        ("t", f"sqlite:///{made / 'other.db'}"),
        ("s", None),
    ]
    assert [study["state"] for study in facts["studies"]] == ["done", "done"]
    assert facts["studies"][1]["trials"] == facts["studies"][1]["n_trials"] == 4
    assert facts["runs"] == []


def test_the_place_is_found_from_below_and_by_options(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert "study    t: done" in call_command("show", "t").stdout
    monkeypatch.chdir(tmp_path)
    assert call_command("show", "s").returncode == 2
    done = call_command("show", "s", f"--outputs={folder / 'outputs'}")
    assert "study    s: done" in done.stdout
    place = shlex.join(["--outputs", "my app/outputs"])
    assert done.stdout.splitlines()[-1].endswith(f"sweepmore report s {place}")
    monkeypatch.setenv("SWEEPMORE_OUTPUTS", str(folder / "outputs"))
    assert call_command("show", "s").returncode == 0


def test_show_prints_the_closing_table(folder: Path) -> None:
    out = call_command("show", "s").stdout
    assert "study    s: done; minimize objective" in out
    assert "trials   4 of 4 done: 3 complete, 1 fail" in out
    assert "failed:  1 × ValueError: x is three" in out
    history = out[out.index("history  ") :].splitlines()
    assert history[0] == "history  █▁█"
    assert history[1].endswith("; the best came after 2 of 3 trials")
    best = [line for line in out.splitlines() if line.startswith("  trial ")]
    assert best[0].split()[1] == "1"
    assert "next     sweepmore confirm s · sweepmore report s" in out
    assert call_command("show", "last").stdout.startswith("study    t: done")


def test_show_is_the_record_that_a_program_loads(folder: Path) -> None:
    facts = checked(call_command("show", "s", "--json").stdout, "show")
    study = sweepmore.load_study("s")
    assert facts == json.loads(json.dumps(study.as_json()))
    assert [trial.state for trial in study.trials] == ["COMPLETE"] * 3 + ["FAIL"]
    assert study.best is not None
    assert (study.best.number, study.best.params) == (1, {"x": 1})
    assert study.ranking[0] == 1
    assert study.trial(3).reason == "exception"
    assert (study.winner, study.directions, study.n_trials) == (None, ("minimize",), 4)
    with pytest.raises(ConfigError, match="no trial 9"):
        study.trial(9)
    with pytest.raises(StudyError, match="no study none"):
        sweepmore.load_study("none")


def test_a_trial_in_full(folder: Path) -> None:
    out = call_command("show", "s", "--trial=1").stdout
    assert "trial    1 of s\nstate    complete; 1 attempt\n" in out
    assert "rank 1" in out
    assert "param    x=1" in out
    assert out.splitlines()[-1].endswith("&& python app.py x=1")  # in the folder of its sweep
    facts = checked(call_command("show", "s", "--json").stdout, "show")
    one = json.loads(call_command("show", "s", "--trial=1", "--json").stdout)
    assert one == facts["trials"][1]
    failed = call_command("show", "s", "--trial=3").stdout
    assert "state    fail: exception" in failed
    assert re.search(r"^error    .*outputs/studies/s/0003/error\.txt$", failed, re.MULTILINE)


def test_csv_has_every_attempt(folder: Path) -> None:
    done = call_command("show", "s", "--csv")
    assert done.stdout == "table    outputs/reports/s/trials.csv\n"
    with Path("outputs/reports/s/trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["COMPLETE"] * 3 + ["FAIL"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "none"], "There is no study none."),
        (["show", "s", "--trial=9"], "s has no trial 9."),
        (["show", "s", "--csv", "--json"], "--csv writes all trials to a file."),
        (["ls", "--outputs=typo"], "There is no folder"),
        (["ls", "--storage=sqlite:///typo.db"], "there is no such file"),
        (["report", "none"], "There is no study or run none."),
        (["confirm", "s", "--top=0"], "greater than or equal to 1"),
        (["confirm"], "Missing argument"),
        (["challange"], "No such command"),
    ],
    ids=lambda value: "" if isinstance(value, str) else shlex.join(value),
)
def test_bad_words_are_one_message(folder: Path, words: list[str], told: str) -> None:
    before = sorted(folder.rglob("*"))
    done = call_command(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert sorted(folder.rglob("*")) == before


@pytest.mark.system
def test_an_application_without_a_seed_is_not_told_to_confirm(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace("cfg.seed", "0"))
    (tmp_path / "config.yaml").write_text(CONFIG.replace("seed: 0\n", ""))
    out = swept(tmp_path, "x=0,1", "hydra.sweeper.study_name=s")
    assert "confirm" not in out
    assert "next:    sweepmore report s\n" in out
    refused = bare(tmp_path, "confirm", "s")
    assert refused.returncode == 2
    assert "No setting of s is known to hold a seed." in refused.stderr


class TestRemoving:
    @pytest.fixture
    def stopped(self, folder: Path) -> Path:
        """With a study of four trials that has had two."""
        words = ("x=0,1,2,1.5", "hydra.sweeper.study_name=u")
        swept(folder, *words, "hydra.sweeper.n_trials=2", "hydra/sweeper/sampler=grid")
        with sqlite_of(folder) as database:
            database.execute(
                "UPDATE study_system_attributes SET value_json = ? "
                "WHERE key = 'sweepmore:budget' AND "
                "study_id = (SELECT study_id FROM studies WHERE study_name = 'u')",
                ('{"n_trials": 4, "grid": true}',),
            )
        return folder

    def test_it_asks(self, stopped: Path) -> None:
        kept = bare(stopped, "ls", "--rm", "u", answer="n\n")
        assert kept.returncode == 0, kept
        assert "study u, 2 trials: outputs/studies/u" in kept.stdout
        assert "nothing was removed" in kept.stdout
        assert (stopped / "outputs" / "studies" / "u").exists()
        gone = bare(stopped, "ls", "--rm", "u", answer="y\n")
        assert "removed  study u, 2 trials" in gone.stdout
        assert not (stopped / "outputs" / "studies" / "u").exists()
        assert call_command("show", "u").returncode == 2
        assert call_command("show", "s").returncode == 0

    def test_what_is_finished_stays(self, folder: Path) -> None:
        done = call_command("ls", "--rm=s", "--yes")
        assert done.returncode == 2
        assert "s is finished." in done.stderr
        assert call_command("show", "s").returncode == 0

    def test_a_run_that_did_not_end(self, folder: Path) -> None:
        run = folder / "outputs" / "runs" / "r"
        run.mkdir(parents=True)
        (run / "config.yaml").write_text("{}")
        done = call_command("ls", "--rm=r", "--yes")
        assert done.stdout == "run r, not ended: outputs/runs/r\nremoved  run r, not ended\n"
        assert not run.exists()

    @pytest.mark.parametrize("name", ["conf", ".", "outputs/studies/s/0001", "last"])
    def test_nothing_but_a_study_or_a_run_of_outputs_goes(self, folder: Path, name: str) -> None:
        """A config.yaml makes no run: the application's own folder may have one, or conf/."""
        (folder / "conf").mkdir()
        (folder / "conf" / "config.yaml").write_text("x: 1\n")
        before = sorted(folder.rglob("*"))
        done = call_command("ls", f"--rm={name}", "--yes")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"There is no study or run {name}." in done.stderr
        assert sorted(folder.rglob("*")) == before

    def test_where_nobody_answers_nothing_goes(self, stopped: Path) -> None:
        done = bare(stopped, "ls", "--rm", "u")
        assert done.returncode == 2
        assert "error: Nothing was removed." in done.stderr
        assert "--yes" in done.stderr
        assert call_command("show", "u").returncode == 0

    def test_all_are_checked_before_one_goes(self, stopped: Path) -> None:
        assert call_command("ls", "--rm=u", "--rm=s", "--yes").returncode == 2
        assert call_command("show", "u").returncode == 0


@pytest.mark.system
def test_a_database_that_is_gone_hides_no_other(folder: Path) -> None:
    """One that a sweep noted; nor does one whose variable is not set."""
    (folder / "outputs" / "studies" / "t" / "storage").write_text(f"sqlite:///{folder / 'no.db'}")
    other = folder / "outputs" / "studies" / "elsewhere"
    other.mkdir()
    (other / "storage").write_text("${oc.env:NO_SUCH_VARIABLE}")
    for words in (["ls", "--json"], ["report", "s"], ["show", "last"]):
        done = bare(folder, *words)
        assert done.returncode == 0, done
        assert done.stderr.count("warning: ") == 2, done
        assert done.stderr.count("Its studies are left out") == 2
        if "--json" in words:
            facts = checked(done.stdout, "ls")
            assert [study["name"] for study in facts["studies"]] == ["s"]
    gone = call_command("show", "t")
    assert gone.returncode == 2
    assert "there is no such file" in gone.stderr
    named = call_command("ls", f"--storage=sqlite:///{folder / 'no.db'}")
    assert named.returncode == 2
    assert call_command("doctor").returncode == 1


@pytest.mark.parametrize("value", ["3", '"nplm"', '["a:b"]', '""'])
def test_additions_that_name_no_function_are_refused(folder: Path, value: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.sweepmore]\nadditions = {value}\n")
    done = call_command("ls")
    assert (done.returncode, done.stdout) == (2, "")
    assert 'Write "module:function".' in done.stderr


def test_the_doctor_says_what_installs_what_is_missing(folder: Path) -> None:
    facts = checked(call_command("doctor", "--json").stdout, "doctor")
    found = {check["about"]: check for check in facts["checks"]}
    assert found["storage"]["found"] == "2 studies in 2 databases, in outputs"
    assert found["optuna"]["state"] == "ok"
    assert found["launcher ray"]["cure"] == "pip install hydra-ray-launcher"
    Path("outputs/studies.db").write_text("no database")
    done = call_command("doctor")
    assert done.returncode == 1
    assert "✗ storage" in done.stdout
