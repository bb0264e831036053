"""The command line: what it says, when, and how little of it."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from nplm.config import Data
from nplm.data import load_splits
from sweepmore.typed import dotted
from tests.support.helpers import ROOT, TrainHere, result_of, run_script, train_here

# a line of --help: key, value, what it is
KEY = re.compile(r"^  ([a-z_.0-9]+)=(.*?)  +(.*)$", re.MULTILINE)
ALSO = re.compile(r"^  also  (.*?)\n\n", re.MULTILINE | re.DOTALL)


def test_help_shows_at_most_30_keys_one_line_a_group_and_leaves_no_folder(tmp_path: Path) -> None:
    done = run_script("train.py", "--help", f"hydra.run.dir={tmp_path / 'run'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
    heads = r"Groups\n|Experiments: .*\n|Sweeps: .*\n|Keys and their values\n"
    groups, experiments, sweeps, keys = re.split(heads, done.stdout)[1:]
    for named, folder in ((experiments, "conf/experiment"), (sweeps, "sweeps")):
        names = [line.split()[0] for line in named.strip().splitlines()]
        assert names == sorted(path.stem for path in (ROOT / folder).glob("*.yaml"))
    listed = {line.split()[0]: line.split()[1:] for line in groups.strip().splitlines()}
    folders = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()} - {"hydra"}
    assert set(listed) == folders - {"experiment"} | {"GROUP=?"}
    del listed["GROUP=?"]
    for group, words in listed.items():
        options = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        assert {word.rstrip(",") for word in words} >= options
    assert 20 < len(KEY.findall(keys)) <= 30


@pytest.mark.system
def test_help_names_every_setting_with_its_value(finished: Path) -> None:
    out = run_script("train.py", "--help", "model.emb=7").stdout
    shown, (also,) = KEY.findall(out), ALSO.findall(out)
    rare = [word.split("=")[0] for word in also.split() if "=" in word]
    config = yaml.safe_load((finished / "config.yaml").read_text())
    names = {f"{group}.name" for group in ("model", "optim", "data")}  # the groups' options
    assert {*(key for key, _, _ in shown), *rare} == set(dotted(config)) - names
    assert ("model.emb", "7", "numbers that embed a token") in shown
    assert all(text for _, _, text in shown)


@pytest.mark.system
def test_help_shows_the_keys_of_the_chosen_optimiser() -> None:
    out = run_script("train.py", "--help", "optim=adamw").stdout
    assert "  optim.warmup=0.3 " in out
    assert "optim.momentum" not in out


@pytest.mark.parametrize("script", ["train.py", "sample.py"])
def test_outside_the_environment_one_line_says_what_to_do(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / script)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "sweepmore is not installed here: run `make setup`, then `. .venv/bin/activate`\n"
    )


@pytest.mark.system
def test_smoke_run_prints_at_most_20_lines_beside_its_evaluations(
    few_names: Path, tmp_path: Path
) -> None:
    done = run_script(
        "train.py", "data=text", f"data.path={few_names}", "experiment=smoke",
        f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    evaluations = [line for line in lines if line.startswith("step ")]
    assert [line.split()[1] for line in evaluations] == ["25/100", "50/100", "75/100", "100/100"]
    assert len(lines) - len(evaluations) <= 20


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and output of a smoke run on the data that ship with the project."""
    folder = tmp_path_factory.mktemp("printed") / "run"
    words = ("experiment=smoke", "wandb.mode=disabled", f"hydra.run.dir={folder}")
    done = run_script("train.py", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


@pytest.mark.parametrize(
    "says",
    [
        "data     given_names: 29,258 lines, 27 tokens",
        "split    train 23,406 · dev 2,926 · test 2,926 lines; 170,536 and 21,354 examples",
        "overlap  0 of 2,926 dev lines (0.0%) also appear in train",
        "test     sealed, 0 looks",
        ": ... → ",
        "625 parameters",
        "a uniform guess has ln V = 3.296",
        "bigram by counting 2.463 on this split",
        "not comparable with the lecture's 2.17: other data",
    ],
)
def test_output_says(printed: tuple[Path, str], says: str) -> None:
    assert says in printed[1]


def test_output_ends_with_the_loss_its_rivals_samples_and_the_folder(
    printed: tuple[Path, str],
) -> None:
    folder, out = printed
    loss, rivals, samples, last, after = out.splitlines()[-5:]
    result = result_of(folder)
    dev, train = result["dev_loss"], result["train_loss"]
    assert loss.startswith(
        f"dev loss {dev:.3f} nats/token · train {train:.3f} · gap {dev - train:.3f} · "
    )
    assert loss.endswith(" s")
    assert rivals.startswith("compare  ")
    assert (
        samples.removeprefix("samples  ").split(" · ")
        == ((folder / "samples.txt").read_text().splitlines()[:5])
    )
    assert (Path.cwd() / last.removeprefix("folder   ")).resolve() == folder
    assert after.startswith("next     python sample.py")
    assert after.endswith("python train.py -m sweeps=minute")


def test_bigram_is_counted_on_train_and_scored_on_dev(printed: tuple[Path, str]) -> None:
    """By a plain count of pairs, one added to each."""
    splits = load_splits(Data(), 1)
    pairs = Counter(pair for line in splits.train.lines for pair in zip(f".{line}", f"{line}."))
    rows: Counter[str] = Counter()
    for (first, _), count in pairs.items():
        rows[first] += count
    nats = [
        -math.log((pairs[pair] + 1) / (rows[pair[0]] + len(splits.vocabulary)))
        for line in splits.dev.lines
        for pair in zip(f".{line}", f"{line}.")
    ]
    assert f"bigram by counting {sum(nats) / len(nats):.3f} " in printed[1]


@pytest.mark.usefixtures("names_dir", "here")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "the lecture's net 2.17\n"),
        ((), "overlap  424 of 3,203 dev lines (13.2%) also appear in train"),
        (("data.seed=1",), "not comparable with the lecture's 2.17: another split"),
    ],
)
def test_lecture_s_loss_is_named_only_beside_the_lecture_s_split(
    words: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    always = ("data=names", "experiment=smoke", "wandb.mode=disabled")
    train_here(tmp_path / "run", *always, *words)
    assert says in capsys.readouterr().out


@pytest.mark.system
def test_two_values_make_two_runs_with_the_basic_sweeper(few_names: Path, tmp_path: Path) -> None:
    done = run_script(
        "train.py", "-m", "data=text", f"data.path={few_names}", "experiment=smoke",
        "wandb.mode=disabled", "hydra/sweeper=basic", "model.emb=2,3",
        f"hydra.sweep.dir={tmp_path / 'both'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folders = sorted(path.parent for path in (tmp_path / "both").glob("*/result.json"))
    assert len(folders) == 2
    first, second = (result_of(folder)["parameters"] for folder in folders)
    assert second - first == 3 * 16 + len(set(few_names.read_text()))  # a column of C, W1's rows


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["sweeps=minute"], "sweeps"),
        (["sweeps=minute", "optim.lr=0.1", "model.emb=2"], "sweeps"),  # hidden is searched too
        (["sweeps=minute", "hydra.sweeper.dry=true"], "hydra.sweeper.dry"),
        (["model.hidden=5", "hydra/sweeper/sampler=tpe"], "hydra/sweeper/sampler"),
    ],
)
def test_a_search_without_m_is_refused_with_the_cure(
    words: list[str], named: str, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "run"
    words.append(f"hydra.run.dir={folder}")
    done = run_script("train.py", *words)
    assert (done.returncode, done.stdout) == (2, "")
    problem, cure = done.stderr.splitlines()
    assert problem == f"error: {named} is about a search, but without -m this is one run."
    assert (
        cure == f"  To search, run: {shlex.join(['python', str(ROOT / 'train.py'), '-m', *words])}"
    )
    assert not folder.parent.exists()


def test_a_trial_of_a_search_is_one_run(here: TrainHere, tmp_path: Path) -> None:
    """As a sweep prints it after ``again:``."""
    words = ["sweeps=minute", "optim.lr=0.01", "model.emb=2", "model.hidden=5", "optim.steps=5"]
    assert result_of(here(tmp_path / "run", *words))["status"] == "ok"


def test_seed_0_is_a_seed_on_the_command_line(here: TrainHere, tmp_path: Path) -> None:
    assert result_of(here(tmp_path / "run", "seed=0"))["seed"] == 0
