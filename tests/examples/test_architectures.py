"""The comparison of architectures: equal seconds to one trial, its page, and a tiny run of it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from benchmarks import architecture_results as results
from benchmarks import architectures
from benchmarks.architecture_results import BEGIN, END, Answer
from benchmarks.equal_seconds import Search, ended, seconds_of, share_out
from sweepmore import StudyRecord, TrialRecord
from sweepmore.statistics.intervals import t_interval
from tests.support.helpers import ROOT

FAST = ("optim.steps=20", "optim.batch_size=32", "data=text")


def trial(number: int, state: str = "COMPLETE", **more: Any) -> TrialRecord:
    return TrialRecord(
        number=number, state=state, values=more.get("values", ()),
        params=more.get("params", {"optim.lr": 0.01}), reason=more.get("reason"),
        repeats=more.get("repeats", ()), std=None, seconds=more.get("seconds"), attempts=1,
        folder=None, result=more.get("result", {}), placed=None,
    )  # fmt: skip


def answer(architecture: str, size: str, *values: float, trials: int = 3) -> Answer:
    own = [
        trial(0, "PRUNED", seconds=50.0),
        *(trial(k, values=(values[0] + 0.1 / k,), seconds=100.0) for k in range(1, trials)),
    ]
    result = {"parameters": int(size.rstrip("k")) * 1000 - 7, "seconds": 61.0}
    return Answer(architecture, size, own, trial(0, repeats=values, result=result))


ANSWERS = [
    answer("mlp", "300k", 1.92, 1.93, 1.94),
    answer("gru", "300k", 1.921, 1.929, 1.942),
    answer("wavenet", "300k", 2.02, 2.03, 2.04),
    answer("mlp", "12k", 2.12, 2.13, 2.14),
    answer("gru", "12k", 2.02, 2.03, 2.04),
]


def study(*trials: TrialRecord) -> StudyRecord:
    return StudyRecord("s", ("minimize",), ("loss",), None, trials, (), None, None, None)


def test_seconds_are_those_of_all_trials_and_places_those_of_ended_ones() -> None:
    """An interrupted trial has spent seconds and waits; a killed worker's says nothing."""
    s = study(
        trial(0, seconds=2.0), trial(1, "PRUNED", seconds=1.0), trial(2, "WAITING", seconds=0.5),
        trial(3, "FAIL", reason="died"), trial(4, "FAIL", reason="exception", seconds=0.25),
    )  # fmt: skip
    assert seconds_of(s) == 3.75
    assert [t.number for t in ended(s)] == [0, 1, 4]
    assert seconds_of(None) == 0
    assert ended(None) == []


def test_the_best_so_far_begins_with_the_first_complete_trial() -> None:
    assert [*ANSWERS[0].best_so_far()] == [
        (50.0, float("inf")), (150.0, pytest.approx(2.02)), (250.0, pytest.approx(1.97)),
    ]  # fmt: skip


def test_differences_are_paired_within_a_size() -> None:
    (first, _), (second, tied), (third, worse) = results.compared(ANSWERS[:3])
    assert [a.architecture for a in (first, second, third)] == ["mlp", "gru", "wavenet"]
    assert (tied.tied, worse.tied) == (True, False)
    assert worse.difference.mean == pytest.approx(0.1)
    assert worse.interval == t_interval((2.02, 2.03, 2.04))
    assert worse.difference.half < worse.interval.half  # the seeds' common effect is gone
    told = results.verdict(ANSWERS[:3])
    assert told == "At 300k parameters mlp has the lowest mean; tied with it: gru."
    assert results.verdict(ANSWERS[3:]).endswith("gru has the lowest mean, and is better than "
                                                 "the others.")  # fmt: skip


def test_the_page_has_both_sizes_both_rivals_and_keeps_words_around_it(tmp_path: Path) -> None:
    (tmp_path / "RESULTS.md").write_text(f"# architectures\n\nBefore.\n{BEGIN}old\n{END}After.\n")
    results.write(ANSWERS, tmp_path, 900)
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.index("Before.") < page.index("## At most 12k") < page.index("## At most 300k")
    assert page.endswith("After.\n")
    assert "old" not in page
    assert "| gru | 2.0300 ± 0.0248 |  | best | 11,993 | 61 | 3 | 250 | optim.lr=0.01 |" in page
    assert "the lecture's net 2.17 (11,897 parameters), counting of order 6 1.9740" in page
    for name in ("parameters.png", "search.png"):
        assert f"({name})" in page
        assert (tmp_path / name).stat().st_size > 10_000
    with (tmp_path / "seeds.csv").open() as file:
        seeds = [row for row in csv.DictReader(file) if row["search"] == "gru-12k"]
    assert [float(row["dev_loss"]) for row in seeds] == [2.02, 2.03, 2.04]
    with (tmp_path / "trials.csv").open() as file:
        assert len([*csv.DictReader(file)]) == 15


def test_an_unknown_search_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        architectures.main(["lstm-12k"])
    assert refused.value.code == 2
    assert "lstm-12k is not a search: mlp-12k" in capsys.readouterr().err


@pytest.mark.system
def test_a_tiny_comparison(few_names: Path, tmp_path: Path) -> None:
    """Real trials of two searches, confirmed by the same seeds; the same command does nothing."""
    words = ["mlp-12k", "wavenet-12k", *FAST, f"data.path={few_names}", "--seconds=3",
             f"--outputs={tmp_path / 'outputs'}", f"--into={tmp_path / 'into'}"]  # fmt: skip
    architectures.main(words)
    chosen = [Search(f"architectures-{name}", (), tmp_path / "outputs") for name in words[:2]]
    studies = [search.study() for search in chosen]
    for each in studies:
        spent, last = seconds_of(each), ended(each)[-1].seconds
        assert last is not None
        assert spent - last < 3 <= spent  # the budget, to one trial
    confirmed = [search.confirmed() for search in chosen]
    folders = [each.folder for each in confirmed if each is not None and each.folder is not None]
    seeds = [
        [line for line in sorted(folder.rglob("overrides.yaml"))[0].read_text().splitlines()
         if "seed=" in line] for folder in folders
    ]  # fmt: skip
    assert seeds[0] == seeds[1] != []
    assert len((tmp_path / "into" / "seeds.csv").read_text().splitlines()) == 1 + 2 * 5
    architectures.main(words)
    assert [search.study() for search in chosen] == studies
    assert not (ROOT / "outputs" / "studies" / "architectures-mlp-12k").exists()


@pytest.mark.system
def test_a_search_ends_at_a_trial_that_fails(tmp_path: Path) -> None:
    missing = ("sweeps=architectures/mlp-12k", "wandb.mode=disabled", "data=text",
               f"data.path={tmp_path / 'missing.txt'}")  # fmt: skip
    search = Search("architectures-mlp-12k", missing, tmp_path / "outputs")
    with pytest.raises(SystemExit, match=r"ended with exit code 2: see .*mlp-12k\.log"):
        share_out([search], 1.0, at_a_time=2)
