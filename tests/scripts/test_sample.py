"""sample.py through its command, and what its numbers are."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import create_trial

import sample as command
from nplm.data import Split, Splits, encode
from nplm.losses import split_loss
from nplm.model import MLP
from nplm.sampling import MAX_TOKENS, Trained, explain, load_trained, sample
from sweepmore.compose import cli
from tests.support.helpers import run_script

Told = Callable[..., str]


@pytest.fixture
def told(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Told:
    """``told(*words)``: what sample.py prints, in this process."""

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["sample.py", *words])
        cli.command(command.Arguments, command.main, [f"run={finished}", *words])
        return capsys.readouterr().out

    return run


def lines_of(out: str) -> list[str]:
    """The lines before the last three: a blank one, the share, and what comes next."""
    return out.rstrip("\n").split("\n")[:-3]


def test_n_lines_and_their_share_in_train(told: Told, few: Splits) -> None:
    out = told("n=7", "seed=1")
    assert len(lines_of(out)) == 7
    assert "of 7 appear in train" in out


def test_same_seed_same_lines_and_0_is_a_seed(told: Told) -> None:
    assert told("seed=0") == told("seed=0") == told()
    assert told("seed=0") != told("seed=1")


def test_a_study_s_trial_is_sampled_like_a_run(
    told: Told, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "outputs" / "studies" / "s" / "0017")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    of_run = told("n=5")
    for study in (["study=s"], ["study=last"], []):
        assert lines_of(told("run=null", "trial=17", *study, "n=5")) == lines_of(of_run)
    with pytest.raises(SystemExit):
        told("trial=17")


@pytest.fixture
def searched(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    """A study of three trials of which the second is best; each has the finished run's weights."""
    monkeypatch.setattr(command, "ROOT", tmp_path)
    outputs = tmp_path / "outputs"
    for run in ("s/0000", "s/0001", "s/0002", "s.confirm/0000/1"):
        shutil.copytree(finished, outputs / "studies" / run)
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{outputs / 'studies.db'}")
    study.set_user_attr("command", {"words": []})
    for number, value in enumerate((2.3, 2.1, 2.2)):
        folder = str(outputs / "studies" / "s" / f"{number:04d}")
        attrs = {"slot": number, "root": number, "folder": folder}
        study.add_trial(create_trial(value=value, user_attrs=attrs))
    return study


def last_two(out: str) -> list[str]:
    return out.splitlines()[-2:]


def test_a_study_alone_means_its_best_trial(told: Told, searched: optuna.Study) -> None:
    for name in ("s", "last"):
        share, after = last_two(told("run=null", f"study={name}", "n=3"))
        assert share.endswith("of 3 appear in train · s/0001")
        assert after.startswith(f"next: python sample.py study={name} explain=LINE")


def test_once_confirmed_it_means_the_winner(
    told: Told, searched: optuna.Study, tmp_path: Path
) -> None:
    confirmed = optuna.create_study(study_name="s.confirm", storage=searched._storage)
    run = tmp_path / "outputs" / "studies" / "s.confirm" / "0000" / "1"
    confirmed.set_user_attr("winner", {"run": str(run)})
    share, _ = last_two(told("run=null", "study=s", "n=3"))
    assert share.endswith("of 3 appear in train · s.confirm/0000/1")


def test_the_hint_means_the_same_run(
    told: Told, finished: Path, searched: optuna.Study, tmp_path: Path
) -> None:
    hint = "explain=LINE shows what the model predicts, token by token"
    assert last_two(told("n=3"))[1] == f"next: python sample.py run={finished} {hint}"
    share, after = last_two(told("run=null", "study=s", "trial=2", "n=3"))
    assert share.endswith(" · s/0002")
    assert after == f"next: python sample.py study=s trial=2 {hint}"
    (tmp_path / "outputs").rename(tmp_path / "elsewhere")
    share, after = last_two(told("run=null", "study=s", "trial=2", "outputs=elsewhere", "n=3"))
    assert share.endswith(" · s/0002")
    assert after == f"next: python sample.py study=s trial=2 outputs=elsewhere {hint}"


def test_a_study_named_as_a_run_says_so(
    searched: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refusal(capsys, "run=s")
    assert "s is a study, not a run." in error
    assert "Give study=s instead" in error
    assert "run=x and study=s are two runs." in refusal(capsys, "run=x", "study=s")


def test_marked_lines_are_exactly_those_of_train(told: Told, few: Splits) -> None:
    lines = lines_of(told("n=3000", "temperature=0.7"))
    starred = [line for line in lines if line.endswith(" *")]
    assert all((line.removesuffix(" *") in few.train.lines) == (line in starred) for line in lines)


def test_share_is_that_of_the_marked_lines(told: Told) -> None:
    out = told("n=3000", "temperature=0.7")
    starred = sum(line.endswith(" *") for line in lines_of(out))
    assert starred > 0
    assert f"{starred / 3000:.0%} of 3000 appear in train" in out


@pytest.mark.parametrize("temperature", ["1e-6", "0.01", "100"])
def test_every_temperature_ends(told: Told, temperature: str) -> None:
    lines = lines_of(told("n=50", f"temperature={temperature}"))
    assert len(lines) == 50
    assert all(len(line) <= MAX_TOKENS + 2 for line in lines)


def test_coldest_lines_are_all_the_greedy_one(finished: Path) -> None:
    trained = load_trained(finished)
    assert len(set(sample(trained, 20, seed=3, temperature=1e-6))) == 1


def test_a_model_that_never_ends_a_line_is_cut(finished: Path) -> None:
    trained = load_trained(finished)
    assert isinstance(trained.model, MLP)
    trained.model.b2.data[0] = -1e9
    assert {len(line) for line in sample(trained, 5, seed=0)} == {MAX_TOKENS}


def test_samples_follow_the_model_s_probabilities(finished: Path) -> None:
    """First tokens of many lines against softmax at the empty context; 4 standard errors."""
    trained, n = load_trained(finished), 20_000
    start = torch.zeros((1, 3), dtype=torch.int64)
    wanted = trained.model.logits(start).softmax(1)[0].detach()
    first = torch.tensor([trained.vocabulary.encode(line[:1] or "")[:1] or [0] for line in
                          sample(trained, n, seed=5)]).flatten()  # fmt: skip
    seen = torch.bincount(first, minlength=len(wanted)) / n
    assert bool(((seen - wanted).abs() <= 4 * (wanted * (1 - wanted) / n).sqrt() + 1 / n).all())


# explain


def test_explain_adds_up_to_the_loss(finished: Path, few: Splits) -> None:
    trained: Trained = load_trained(finished)
    positions = explain(trained, "anna")
    split: Split = encode(["anna"], trained.vocabulary, 3)
    mean = sum(at.nats for at in positions) / len(positions)
    assert mean == pytest.approx(split_loss(trained.model, split), rel=1e-6)


def test_explain_shows_each_context_token_guess_and_nats(told: Told, finished: Path) -> None:
    rows = [line.split() for line in told("explain=anna").splitlines()[1:-1]]
    assert [row[:2] for row in rows] == [
        ["...", "a"], ["..a", "n"], [".an", "n"], ["ann", "a"], ["nna", "."],
    ]  # fmt: skip
    positions = explain(load_trained(finished), "anna")
    assert [row[2] for row in rows] == [at.guess for at in positions]
    assert [row[3] for row in rows] == [f"{at.guess_probability:.1%}" for at in positions]
    assert [row[4] for row in rows] == [f"{at.nats:.2f}" for at in positions]


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        cli.command(command.Arguments, command.main, list(words))
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_an_unknown_character_is_named(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refusal(capsys, f"run={finished}", "explain=añna")
    assert "'ñ' in 'añna' is not in the vocabulary" in error
    assert "Use these tokens only: . a b c" in error


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("n=0", "n=0 is out of range"),
        ("n=two", "n=two is not a whole number"),
        ("temperature=0", "above 0"),
        ("prompt=  ", "prompt= is empty"),
        ("explain=", "explain= is empty"),
        ("temperature=nan", "temperature=nan is not a number"),
        ("temp=1", "Did you mean"),
        ("twenty", "twenty is not key=value"),
        ("run=nowhere", "nowhere is not a run"),
    ],
)
def test_bad_arguments_are_refused(
    word: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refusal(capsys, word)


@pytest.mark.system
def test_the_command_itself(finished: Path) -> None:
    done = run_script("sample.py", f"run={finished}", "n=3", "seed=2")
    assert done.returncode == 0, done.stderr
    assert len(lines_of(done.stdout)) == 3
    assert lines_of(run_script("sample.py", "--help").stdout)[0].startswith("python sample.py")
