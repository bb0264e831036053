"""The range test: what it reads off curves that are known, the lecture's rate, bad input."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import find_lr
from nplm.app import rates
from nplm.config import AdamW, Config, Data, Model, Sgd, from_hydra
from nplm.data import Splits, load_splits
from nplm.losses import token_losses
from nplm.lr_finder import mean, smooth, spaced, suggest, sweep_rates
from nplm.optim import learning_rate
from nplm.result import Progress
from nplm.state import begin, derived_seed
from nplm.training import fit
from sweepmore.compose import cli
from sweepmore.errors import ConfigError
from tests.support.helpers import ROOT, refused, result_of, run_script

RATES = spaced(-3, 0, 1000)
Here = Callable[..., Path]


@pytest.fixture
def found_here(few_names: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """``found_here(folder, *words)``: find_lr.py on few names, in this process."""
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)

    def run(folder: Path, *words: str) -> Path:
        always = ("data=text", f"data.path={few_names}", "experiment=smoke")
        sys.argv[:] = [str(ROOT / "find_lr.py"), f"hydra.run.dir={folder}", *always, *words]
        rates.register(ROOT)
        cli.hydra_app(find_lr.main, config_name="find_lr")
        return folder

    return run


def test_rates_grow_by_one_factor() -> None:
    assert spaced(-2, 1, 4) == pytest.approx([0.01, 0.1, 1, 10])


def test_smoothing_leaves_a_line_a_line_and_does_not_lag() -> None:
    smoothed = smooth([2 * k + 1 for k in range(300)], 10)
    assert smoothed[50:250] == pytest.approx([2 * k + 1 for k in range(50, 250)])
    assert smooth([5.0] * 30, 10) == pytest.approx([5.0] * 30)  # its ends, too
    assert smooth([], 10) == []


def test_smoothing_has_its_deviation() -> None:
    """A single one becomes the normal density."""
    spike = [float(k == 100) for k in range(201)]
    density = [math.exp(-((k - 100) ** 2) / 50) / (5 * math.sqrt(2 * math.pi)) for k in range(201)]
    assert smooth(spike, 5) == pytest.approx(density, abs=1e-4)


@pytest.mark.parametrize("bottom", [-2.0, -1.3, -0.8])
def test_parabola_has_its_bottom_and_a_tenth_above_it(bottom: float) -> None:
    """2 + a·(x - bottom)² is 2.2 where |x - bottom| is √(0.2/a). Smoothing adds a·s² at all x."""
    a, s = 1.8, 0.02 * 3  # s in decades
    found = suggest(RATES, [2 + a * (math.log10(rate) - bottom) ** 2 for rate in RATES])
    half = math.sqrt(0.1 * (2 + a * s**2) / a)
    one_step = 3 / 999
    assert math.log10(found.lr) == pytest.approx(bottom, abs=one_step)
    assert math.log10(found.low) == pytest.approx(bottom - half, abs=one_step)
    assert math.log10(found.high) == pytest.approx(bottom + half, abs=one_step)
    assert found.loss == pytest.approx(2 + a * s**2, rel=1e-4)


def test_sweep_that_diverged_ends_the_range() -> None:
    losses = [4 - 2 * k / 600 for k in range(600)]  # falls until it is no number any more
    found = suggest(RATES, losses)
    assert found.high == found.lr == RATES[599]
    assert found.low > RATES[400]


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ([2 + rate for rate in RATES], "does not fall above lr=0.001: 2 there, 3 nats"),
        ([17.0, 90.0], "it diverges after 2 steps"),
        ([], "it diverges after 0 steps"),
        ([3 - 1e-4 * k for k in range(1000)], "hardly changes: 3 there, 2.9 nats"),
    ],
)
def test_curve_without_a_bottom_is_refused(losses: list[float], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as refusal:
        suggest(RATES, losses)
    assert refusal.value.cure.startswith(
        ("Begin with a lower rate: find_lr.lo=-5", "Go up to a higher rate: find_lr.hi=2")
    )


def test_mean_ends_where_the_first_seed_diverged() -> None:
    assert mean([[4, 3, 2], [2, 2]]) == [3, 2.5]


OPTIMISERS = [Sgd(lr=0.3, momentum=0.9, weight_decay=1e-3), AdamW(lr=0.03, weight_decay=0.1)]


@pytest.mark.parametrize("optim", OPTIMISERS, ids=["sgd", "adamw"])
@pytest.mark.parametrize("draw", ["examples", "contexts", "full"])
def test_sweep_at_the_schedule_s_rates_is_the_training_loop(
    optim: Sgd | AdamW, draw: str, few: Splits
) -> None:
    """Every loss of fit: a sweep differs in its rates alone."""
    optim = replace(optim, steps=60, batch_size=16, draw=draw)  # type: ignore[arg-type]  # a Literal
    config = Config(Model(hidden=16), optim, seed=5, device="cpu")
    reported: list[Progress] = []
    fit(config, few, reported.append)  # of so few steps each one is reported
    rates = [learning_rate(optim, step) for step in range(60)]
    losses = sweep_rates(replace(config, seed=0), few, rates, seed=5)
    assert losses == [row.minibatch_loss for row in reported[1:]]


def test_divergence_ends_a_sweep(few: Splits) -> None:
    losses = sweep_rates(Config(device="cpu"), few, [0.1] * 5 + [1e30] * 20, seed=0)
    assert 6 <= len(losses) < 10
    assert all(math.isfinite(loss) for loss in losses)


@pytest.mark.system
@pytest.mark.parametrize("base", [Config().seed, 0, 1])
def test_range_holds_the_lecture_s_rate_on_given_names(base: int) -> None:
    assert_holds_the_lecture_s(load_splits(Data(), 3), base)


@pytest.mark.system
@pytest.mark.parametrize("base", [Config().seed, 0])
def test_range_holds_the_lecture_s_rate_on_its_names(base: int, names: Splits) -> None:
    assert_holds_the_lecture_s(names, base)


def assert_holds_the_lecture_s(splits: Splits, base: int) -> None:
    """As find_lr.py without arguments does it, from other seeds."""
    seeds = [derived_seed(base, f"find_lr/{k}") for k in range(rates.Range().seeds)]
    sweeps = [sweep_rates(Config(device="cpu"), splits, RATES, seed) for seed in seeds]
    found = suggest(RATES, mean(sweeps))
    assert found.low < 0.1 < found.high
    assert 0.08 < found.lr < 0.2


@pytest.mark.system
def test_script_prints_the_rule_the_override_and_draws_the_figure(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    done = run_script("find_lr.py", f"hydra.run.dir={folder}", "seed=3", "find_lr.seeds=2")
    assert (done.returncode, done.stderr) == (0, "")
    said = {line.split()[0]: line[9:] for line in done.stdout.splitlines()}
    kept = json.loads((folder / "lr.json").read_text())
    found = kept["suggestion"]
    assert said["suggest"] == f"optim.lr={found['lr']:.2g}"
    assert said["range"] == f"{found['low']:.2g} to {found['high']:.2g}"
    assert found["low"] < 0.1 < found["high"]
    assert "bottom of the smoothed curve" in said["rule"]
    assert said["go"] == f"python train.py seed=3 {said['suggest']}"
    assert (Path.cwd() / said["figure"]).resolve() == folder / "lr.png"
    assert (folder / "lr.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [len(losses) for losses in kept["losses"]] == [1000, 1000]
    assert {path.name for path in folder.iterdir()} == {"lr.png", "lr.json"}


def test_what_it_says_to_go_on_with_keeps_the_other_words(
    found_here: Here, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("optim=adamw", "optim.lr=5", "model.init=scaled", "find_lr.seeds=1")
    folder = found_here(tmp_path / "found", *words)
    printed = capsys.readouterr().out.splitlines()[-1]
    go_on = shlex.split(printed.removeprefix("go on    python train.py "))
    lr = json.loads((folder / "lr.json").read_text())["suggestion"]["lr"]
    assert go_on[2:] == ["experiment=smoke", *words[::2], f"optim.lr={lr:.2g}"]


def test_it_begins_with_the_weights_of_a_run(
    found_here: Here, finished: Path, tmp_path: Path
) -> None:
    words = ("find_lr.seeds=2", "find_lr.steps=200", f"start_from={finished}", "optim.draw=full")
    losses = json.loads((found_here(tmp_path / "found", *words) / "lr.json").read_text())["losses"]
    assert losses[0] == losses[1]  # the same weights, and every context
    assert losses[0][0] == pytest.approx(result_of(finished)["train_loss"], rel=1e-5)


def test_one_minibatch_alone_is_all_that_it_sees(
    found_here: Here, few: Splits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As train.py takes it: the first batch, whole, in each step."""
    words = ("find_lr.seeds=1", "find_lr.steps=200", "overfit_batch=true", "optim.batch_size=8")
    kept = json.loads((found_here(tmp_path / "found", *words) / "lr.json").read_text())
    assert "train, n=8 ·" in capsys.readouterr().out
    config = from_hydra({**kept["config"], "objective": "dev_loss"})
    alone = replace(few, train=replace(few.train, contexts=few.train.contexts[:8],
                                       targets=few.train.targets[:8]))  # fmt: skip
    mean_of_eight = replace(config, optim=replace(config.optim, draw="examples"))
    state = begin(replace(mean_of_eight, seed=kept["seeds"][0]), alone)
    by_hand = token_losses(state.model, alone.train.contexts, alone.train.targets).mean().item()
    assert kept["losses"][0][0] == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.system
def test_help_lists_its_own_keys_and_those_of_train() -> None:
    out = run_script("find_lr.py", "--help", "find_lr.lo=-4", "optim=adamw").stdout
    assert "  find_lr.lo=-4  " in out
    for key in ("find_lr.hi=0.0", "find_lr.steps=1000", "find_lr.seeds=3", "optim.warmup=0.3"):
        assert f"  {key} " in out
    assert "All groups and keys of train.py work" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("find_lr.lo=0", ("find_lr.lo=0 is not below find_lr.hi=0", "exponents of 10")),
        ("find_lr.steps=99", ("find_lr.steps=99 is out of range", "at least 100")),
        ("find_lr.seeds=0", ("find_lr.seeds=0 is out of range", "at least 1")),
        ("find_lr.lo=low", ("find_lr.lo=low is not a number",)),
        ("find_lr.low=-3", ("Unknown key find_lr.low", "mean find_lr.lo?")),
        ("lo=-3", ("Unknown key lo", "mean find_lr.lo?")),
        ("model.hiden=3", ("Unknown key model.hiden", "mean model.hidden?")),
        ("optim.lr=0", ("optim.lr=0", "above 0")),
        ("find_lr.lo=5 find_lr.hi=6", ("does not fall above lr=100000", "find_lr.lo=3")),
        ("find_lr.lo=-9 find_lr.hi=-8 model.init=scaled", ("hardly changes", "find_lr.hi=-6")),
        ("resume=last", ("resume=last continues at", "start_from=FOLDER")),
        ("start_from=nowhere", ("nowhere is not a run",)),
        ("mix=true", ("mix=true mixes a trained net", "Leave it out")),
    ],
)
def test_bad_input_is_refused(
    words: str,
    says: tuple[str, ...],
    found_here: Here,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = refused(tmp_path / "found", words.split(), capsys, found_here)
    for part in says:
        assert part in message
