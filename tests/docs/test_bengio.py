"""tools/bengio.py: what it says of made-up perplexities, and of a study's folder."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nplm.config import Data, Sgd, from_hydra
from nplm.optim import learning_rate
from sweepmore.sweep.checks import without_hydra
from tests.support.composed import TRAIN, composed
from tests.support.helpers import ROOT, script_of

bengio = script_of(ROOT / "tools" / "bengio.py")

AUSTEN = Data(name="austen", unit="word", min_count=4, order="contiguous")
TOKENS = 271_661  # of its train lines
H50, H100 = (5, 50, 30, True), (5, 100, 30, False)


def seeds(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


@pytest.mark.parametrize(
    ("before", "after", "paper", "told"),
    [
        ((100, 102), (90, 92), "-5 %", "the same"),
        ((90, 92), (100, 102), "-5 %", "differs"),
        (
            (100, 102),
            (99, 103),
            "-5 %",
            "none: a net's seeds differ by ± 2.0 %",
        ),  # one falls, one rises
        # both fall by 1 %, and the seeds of either net lie 10 % apart
        ((95, 105), (94, 104), "-5 %", "none: a net's seeds differ by ± 5.1 %"),
        ((100, 102), (90, 92), "", "not in the paper"),
        ((100, 102), (90, 92), bengio.DIRECT, "undecided there"),
        ((100, 102), (), "-5 %", "not run"),
        ((100,), (90,), "-5 %", "one seed only"),
    ],
)
def test_a_trend_s_verdict(
    before: Sequence[float], after: Sequence[float], paper: str, told: str
) -> None:
    trend = bengio.Trend("what", seeds(*before), seeds(*after), paper)
    assert bengio.verdict(trend) == told


def test_runs_are_paired_by_their_seed() -> None:
    trend = bengio.Trend("what", {0: 100, 1: 200}, {1: 100, 2: 7, 0: 80})
    assert trend.changes == pytest.approx([-20, -50])
    assert bengio.average([{0: 1, 1: 2}, {1: 4, 0: 3, 2: 9}]) == {0: 2, 1: 3}


def test_every_trend_has_a_row_and_says_what_was_not_run() -> None:
    found = {
        H50: bengio.Ours(seeds(50, 52), seeds(100, 102), seeds(90, 91), seeds(89, 90), 0.5, Path()),
        H100: bengio.Ours(seeds(40, 42), seeds(95, 96), seeds(88, 89), seeds(87, 88), 0.5, Path()),
    }
    rows = list(bengio.trends_table(bengio.trends(found, 110)))[2:]
    told = {row.split(" | ")[0].removeprefix("| "): row for row in rows}
    assert len(told) == 12
    ours, paper = "-5.4 % (-5.9 to -5.0)", "-5 %"
    assert f"| {ours} | {paper} | the same |" in told["50 hidden units, direct → 100, not direct"]
    assert "| train 51 → 41 |" in told["50 hidden units, direct → 100, not direct"]
    assert "| not run |" in told["context 2 → 4 (h 50, direct)"]
    counting = told["counting → the best net alone"]
    assert "| -13.2 % (-13.6 to -12.7) | -16 % | the same |" in counting
    assert "| -8 % | the same |" in told["alone → mixed ½, mean of all nets"]


def test_a_run_that_did_not_end_well_is_named_apart(tmp_path: Path) -> None:
    for seed, status in enumerate(("ok", "diverged")):
        folder = tmp_path / "0003" / str(seed)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"status": status}))
    results, apart = bengio.finished(tmp_path)
    assert list(results) == [tmp_path / "0003" / "0"]
    assert apart == ["`0003/1` (diverged)"]
    (tmp_path / "0003" / "0" / "result.json").unlink()
    with pytest.raises(SystemExit, match="no finished run"):
        list(bengio.page(tmp_path, tmp_path))


def test_tokens_are_shown_whatever_markdown_makes_of_them() -> None:
    assert bengio.code("<unk>") == "`<unk>`"


def test_the_experiment_is_the_paper_s_best_net() -> None:
    """As docs/words.md has it: MLP9 and 10, five passes, a rate that falls to a fifth."""
    config = from_hydra(without_hydra(composed(TRAIN, ["experiment=bengio"])))
    optim = config.optim
    assert bengio.PAPER[bengio.shape_of(config)].names == "MLP9, 10"
    assert config.data == AUSTEN
    assert config.mix
    assert isinstance(optim, Sgd)
    assert optim.weight_decay == 1e-4
    assert optim.steps * optim.batch_size / TOKENS == pytest.approx(5, abs=0.01)
    assert learning_rate(optim, optim.steps) / optim.lr == pytest.approx(1 / 5, abs=0.01)


def test_the_experiment_takes_another_text() -> None:
    """By the command in docs/words.md, whole; of the data alone it is another run."""
    page = (ROOT / "docs" / "words.md").read_text()
    command = r"^python train.py (experiment=bengio data=text .*) \\\n(.*)$"
    (words,) = map(" ".join, re.findall(command, page, re.MULTILINE))
    asked, own = (
        from_hydra(without_hydra(composed(TRAIN, given.split())))
        for given in (words, "experiment=bengio")
    )
    assert asked.data == dataclasses.replace(AUSTEN, name="text", path=str(Path("FILE").resolve()))
    assert dataclasses.replace(asked, data=own.data) == own


def test_the_study_has_every_net_of_the_paper() -> None:
    """Enqueued, so that its trials are these; each is mixed and of two seeds."""
    sweep = composed(TRAIN, ["sweeps=bengio"])
    asked = sweep.hydra.sweeper
    configs = []
    for trial in asked.enqueue:
        node = without_hydra(sweep)
        for key, value in trial.items():
            OmegaConf.update(node, str(key), value)
        configs.append(from_hydra(node))
    assert (asked.n_trials, list(asked.repeats.seed)) == (len(configs), [0, 1])
    shapes = [bengio.shape_of(config) for config in configs]
    assert set(shapes) > set(bengio.PAPER)
    assert len(set(shapes)) == 8
    for config in configs:
        assert (config.mix, config.data) == (True, AUSTEN)
        assert config.optim.steps * config.optim.batch_size / TOKENS == pytest.approx(4, abs=0.01)
