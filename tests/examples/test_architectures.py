"""The comparison of architectures: equal seconds to one trial, its page, and a tiny run of it."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

from benchmarks import architecture_results as results
from benchmarks import architectures
from benchmarks.architecture_answers import ARCHITECTURES, Answer, Missing, Trial, compared, verdict
from benchmarks.architecture_results import BEGIN, END, HIDDEN
from benchmarks.equal_seconds import Search, ended, seconds_of, share_out, why_missing
from sweepmore import StudyRecord, TrialRecord
from sweepmore.errors import RunError, StudyError
from sweepmore.statistics.intervals import t_interval
from sweepmore.storage.opening import open_storage
from sweepmore.study.attributes import Winner, store
from tests.support.helpers import ROOT

FAST = ("optim.steps=20", "optim.batch_size=32", "data=text")


SEEDS = (71, 72, 73)
INF = float("inf")
QUESTION = {"space": {}, "config": {"seed": 1}, "identity": None}


def trial(number: int, state: str = "COMPLETE", **more: Any) -> TrialRecord:
    return TrialRecord(
        number=number, state=state, values=more.get("values", ()),
        params=more.get("params", {"optim.lr": 0.01}), reason=more.get("reason"),
        repeats=more.get("repeats", ()), std=None, seconds=more.get("seconds"), attempts=1,
        folder=None, result=more.get("result", {}), placed=None,
    )  # fmt: skip


def answer(architecture: str, size: str, *values: float, trials: int = 3) -> Answer:
    complete = [
        Trial(k, "COMPLETE", 100.0, values[0] + 0.1 / k, "optim.lr=0.01") for k in range(1, trials)
    ]
    return Answer(
        architecture=architecture, size=size,
        trials=(Trial(0, "PRUNED", 50.0, None, "optim.lr=0.02"), *complete),
        settings="optim.lr=0.01", parameters=int(size.rstrip("k")) * 1000 - 7,
        training=61.0, seeds=SEEDS, values=values, measured=f"measured with {size}",
    )  # fmt: skip


ANSWERS = [
    answer("mlp", "300k", 1.92, 1.93, 1.94),
    answer("gru", "300k", 1.921, 1.929, 1.942),
    answer("wavenet", "300k", 2.02, 2.03, 2.04),
    answer("transformer", "300k", 2.03, 2.04, 2.05),
    answer("mlp", "12k", 2.12, 2.13, 2.14),
    answer("gru", "12k", 2.02, 2.03, 2.04),
    answer("wavenet", "12k", 2.22, 2.23, 2.24),
]
LACKS = [Missing("transformer", "12k", "its best trial diverged with a fresh seed")]


def study(*trials: TrialRecord, ranking: tuple[int, ...] = ()) -> StudyRecord:
    return StudyRecord("s", ("minimize",), ("loss",), None, trials, ranking, None, None, None)


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
    (first, _), (second, tied), (third, worse) = compared(ANSWERS[:3])
    assert [a.architecture for a in (first, second, third)] == ["mlp", "gru", "wavenet"]
    assert (tied.tied, worse.tied) == (True, False)
    assert worse.difference.mean == pytest.approx(0.1)
    assert worse.interval == t_interval((2.02, 2.03, 2.04))
    assert worse.difference.half < worse.interval.half  # the seeds' common effect is gone
    assert verdict(ANSWERS[:4]) == "At 300k parameters mlp has the lowest mean; tied with it: gru."
    four = [*ANSWERS[4:], answer("transformer", "12k", 2.32, 2.33, 2.34)]
    assert verdict(four).endswith("gru has the lowest mean, and is better than the others.")


def test_nobody_is_best_while_a_search_is_missing_or_had_other_seconds() -> None:
    assert verdict(ANSWERS[4:]) == "No verdict while any is missing: transformer."
    assert verdict([]).endswith("missing: gru, mlp, transformer, wavenet.")
    longer = [*ANSWERS[4:], answer("transformer", "12k", 2.32, 2.33, 2.34, trials=4)]
    assert verdict(longer) == "No verdict: their searches had from 250 to 350 s."
    within_a_trial = [*ANSWERS[4:], answer("transformer", "12k", 2.32, 2.33, 2.34)]
    assert verdict(within_a_trial).startswith("At 12k parameters gru")


def test_the_page_has_both_sizes_both_rivals_and_keeps_words_around_it(tmp_path: Path) -> None:
    (tmp_path / "RESULTS.md").write_text(f"# architectures\n\nBefore.\n{BEGIN}old\n{END}After.\n")
    results.write(ANSWERS, LACKS, tmp_path)
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.index("Before.") < page.index("## At most 12k") < page.index("## At most 300k")
    assert page.endswith("After.\n")
    assert "old" not in page
    assert "| gru | 2.0300 ± 0.0248 |  | best | 11,993 | 61 | 3 | 250 | optim.lr=0.01 |" in page
    assert "the lecture's net 2.17 (11,897 parameters), counting of order 6 1.9740" in page
    assert "\n\n- transformer: its best trial diverged with a fresh seed\n\n| arch" in page
    assert "7 of 8 searches, one thread each" in page
    assert page.count("\n\nmeasured with 12k\n") == page.count("\n\nmeasured with 300k\n") == 1
    assert f"\n{HIDDEN.format(fewest=3, most=3)}\n" in page
    for name in ("parameters.png", "search.png"):
        assert f"({name})" in page
        assert (tmp_path / name).stat().st_size > 10_000
    with (tmp_path / "seeds.csv").open() as file:
        seeds = [row for row in csv.DictReader(file) if row["search"] == "gru-12k"]
    assert [float(row["dev_loss"]) for row in seeds] == [2.02, 2.03, 2.04]
    assert [int(row["seed"]) for row in seeds] == [71, 72, 73]
    with (tmp_path / "trials.csv").open() as file:
        assert len([*csv.DictReader(file)]) == 21


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """So the page, the figures and their data can be written again without the studies."""
    assert results.read(tmp_path) == {}
    results.write([*reversed(ANSWERS)], LACKS, tmp_path)
    assert [*results.read(tmp_path).values()] == [*reversed(ANSWERS)]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    results.write([*results.read(tmp_path).values()], LACKS, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_committed_page_is_that_of_its_data(tmp_path: Path) -> None:
    folder = ROOT / "sweeps" / "architectures"
    kept = results.read(folder)
    assert [*kept] == [*architectures.NAMES]
    (tmp_path / "RESULTS.md").write_bytes((folder / "RESULTS.md").read_bytes())
    results.write([*kept.values()], [], tmp_path)
    for name in ("RESULTS.md", "trials.csv", "seeds.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_incomplete_rows_are_refused_before_any_compute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--outputs={tmp_path / 'outputs'}", f"--into={tmp_path}"]
    (tmp_path / "seeds.csv").write_text("search,parameters,seed,dev_loss\n")
    with pytest.raises(SystemExit) as refused:
        architectures.main(words)
    assert refused.value.code == 2
    assert "seeds.csv has no column training_seconds: restore it, or" in capsys.readouterr().err
    results.write(ANSWERS, LACKS, tmp_path)
    (tmp_path / "trials.csv").unlink()
    with pytest.raises(SystemExit) as refused:
        architectures.main(words)
    assert refused.value.code == 2
    assert "trials.csv has no trial of mlp-300k: restore it, or" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_a_page_without_any_answer_says_why(tmp_path: Path) -> None:
    results.write([], LACKS, tmp_path)
    page = (tmp_path / "RESULTS.md").read_text()
    assert "0 of 1 searches" in page
    assert "- transformer: its best trial" in page
    assert ".png" not in page
    assert len((tmp_path / "seeds.csv").read_text().splitlines()) == 1


def test_what_the_budget_hides_is_what_the_sweeps_say() -> None:
    sweeps = [sweep_of(f"{name}-300k") for name in ARCHITECTURES]
    sizes = [longest(sweep["hydra"]["sweeper"]["params"]["model.block_size"]) for sweep in sweeps]
    assert "block size reaches {}, {}, {} and {}.".format(*sizes) in HIDDEN
    drawn = [sweep["optim"]["steps"] * sweep["optim"]["batch_size"] / 1e6 for sweep in sweeps]
    each = "the MLP is trained on {:.2f} million contexts, WaveNet on {:.2f}, the GRU on {:.2f}, "
    assert f"{each}the transformer on {{:.2f}}.".format(*drawn) in HIDDEN
    assert "trials, the first five of them random" in HIDDEN
    common = yaml.safe_load((ROOT / "sweeps" / "architectures.yaml").read_text())
    assert common["hydra"]["sweeper"]["sampler"]["n_startup_trials"] == 5
    assert (ROOT / "sweeps" / "open.yaml").exists()


def sweep_of(name: str) -> dict[str, Any]:
    text = (ROOT / "sweeps" / "architectures" / f"{name}.yaml").read_text()
    sweep: dict[str, Any] = yaml.safe_load(text)
    return sweep


def longest(choice: str) -> int:
    return max(map(int, re.findall(r"\d+", choice)))


# searches: what their studies say of them


def begun(outputs: Path, name: str, *values: float, **kept: Any) -> optuna.Study:
    """A study as a sweep leaves it: a trial for each value, whose seconds are 100."""
    outputs.mkdir(exist_ok=True)
    storage = open_storage(URL.create("sqlite", database=str(outputs / "studies.db")))
    study = optuna.create_study(study_name=name, storage=storage)
    store(study, command={"words": []}, uid="a1b2c3", **kept)
    for number, value in enumerate(values):
        result = {"parameters": 11_993, "seconds": 61.0}
        repeats = [None if value == INF else value]
        attrs = {"slot": number, "root": number, "repeats": repeats, "result": result}
        start = datetime(2026, 1, 1)
        study.add_trial(FrozenTrial(
            number, TrialState.COMPLETE, value, start, start + timedelta(seconds=100), {}, {},
            attrs, {}, {}, number,
        ))  # fmt: skip
    return study


def plan(*roots: int, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    return {"top": len(roots), "roots": list(roots), "seeds": list(seeds), "seed_key": "seed"}


def confirmed(outputs: Path, name: str, *roots: int, **more: Any) -> None:
    """A confirmation that has named its winner."""
    named = Winner(outputs, f"{name}.confirm", seeds=3, roots=roots, trial=roots[0])
    begun(outputs, f"{name}.confirm", 2.0, winner=named.written())


def test_each_missing_search_has_its_reason() -> None:
    searched = study(trial(0, values=(2.1,)), trial(1, values=(2.0,)), ranking=(1, 0))
    ended = study(trial(0, values=(2.0,), repeats=(2.0, 2.0)), ranking=(0,))
    lost = study(trial(0, values=(INF,), repeats=(2.0, None)))
    assert why_missing(None, None) == "not searched yet"
    assert why_missing(lost, None) == "no trial has ended with a finite loss"
    assert why_missing(searched, None) == "not confirmed yet"
    assert why_missing(searched, study()) == "its fresh seeds are not all trained"
    assert why_missing(searched, lost) == "its best trial diverged with a fresh seed"
    gone_on = "its search has gone on, or more than its best trial was confirmed"
    for roots, reason in (((1,), ""), ((0,), gone_on), ((1, 0), gone_on)):
        named = Winner(Path(), roots=roots, trial=roots[0])
        assert why_missing(replace(searched, winner=named), ended) == reason


def test_what_cannot_be_read_is_not_taken_for_a_search_that_has_not_begun(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_bytes(b"no database" * 99)
    with pytest.raises(StudyError):
        _ = Search("s", (), tmp_path).spent
    other = tmp_path / "file"
    other.touch()
    with pytest.raises(RunError):
        _ = Search("s", (), other).spent


def test_a_size_has_one_set_of_seeds(tmp_path: Path) -> None:
    every = {name: Search(name, (), tmp_path) for name in ("mlp-12k", "gru-12k", "wavenet-12k")}
    for name, seeds in (("mlp-12k", SEEDS), ("gru-12k", (1, 2, 3))):
        begun(tmp_path, name, 2.0, **{"plan.confirm": plan(0, seeds=seeds)})
        confirmed(tmp_path, name, 0)
    answers, missing = architectures.outcomes(every, {})
    assert [(each.name, each.seeds) for each in answers] == [("mlp-12k", SEEDS)]
    assert [(each.architecture, each.reason) for each in missing] == [
        ("gru", "confirmed with other seeds than the rest"), ("wavenet", "not searched yet"),
    ]  # fmt: skip


def test_a_size_that_the_outputs_lack_stays(tmp_path: Path) -> None:
    """The outputs are not committed: what an earlier session measured cannot be measured again."""
    every = {name: Search(name, (), tmp_path) for name in architectures.NAMES}
    kept = {each.name: each for each in ANSWERS}
    answers, missing = architectures.outcomes(every, kept)
    assert {each.name: each for each in answers} == kept
    assert [(each.size, each.reason) for each in missing] == [("12k", "not searched yet")]
    begun(tmp_path, "mlp-12k", 2.0, **{"plan.confirm": plan(0)})
    confirmed(tmp_path, "mlp-12k", 0)
    answers, missing = architectures.outcomes(every, kept)
    assert [each.size for each in answers] == ["12k", "300k", "300k", "300k", "300k"]
    assert answers[1:] == [kept[f"{name}-300k"] for name in ARCHITECTURES]
    assert answers[0].values == (2.0,)  # searched anew, so all of its size are to be
    assert [each.reason for each in missing] == ["not searched yet"] * 3
    # written again later, it keeps the day and the commit that it was measured with
    same = {"mlp-12k": replace(answers[0], measured="before")}
    assert architectures.outcomes(every, same)[0][0].measured == "before"
    assert answers[0].measured != "before"


def test_what_would_drop_answers_from_the_page_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any compute: fresh seeds are drawn anew, so kept answers have other ones."""
    into = tmp_path / "into"
    results.write(ANSWERS, [], into)
    before = {path.name: path.read_bytes() for path in into.iterdir()}
    words = [f"--outputs={tmp_path / 'outputs'}", f"--into={into}"]
    with pytest.raises(SystemExit) as refused:
        architectures.main(["gru-12k", "transformer-12k", *words])
    assert refused.value.code == 2
    assert "the outputs lack mlp-12k, wavenet-12k, which the page has" in capsys.readouterr().err
    with pytest.raises(SystemExit) as refused:
        architectures.main(["gru-12k", "data=given_names"])
    assert refused.value.code == 2
    assert "data=given_names changes what is compared: give --into" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in into.iterdir()} == before
    assert not (tmp_path / "outputs").exists()


def test_what_is_confirmed_is_not_searched_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing begins, neither of this search nor of the others."""
    name = "architectures-gru-12k"
    begun(tmp_path, name, 2.0, 2.1, 2.2, **{"plan.confirm": plan(0)})
    confirmed(tmp_path, name, 0)
    words = [f"--outputs={tmp_path}", f"--into={tmp_path / 'into'}"]
    with pytest.raises(SystemExit) as refused:
        architectures.main([*words, "--seconds=400"])
    assert refused.value.code == 2
    assert ("already confirmed, so not searched for 400 s: gru-12k after 300 s. Give --seconds 300,"
            in capsys.readouterr().err)  # fmt: skip
    assert not (tmp_path / "into").exists()
    assert not [*tmp_path.glob("*.log")]
    assert not architectures.searched_on({"gru-12k": Search(name, (), tmp_path)}, 300)


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
    rows = (tmp_path / "into" / "seeds.csv").read_text().splitlines()[1:]
    assert len(rows) == 2 * 5
    assert seeds[0][0].endswith(f"seed={rows[0].split(',')[2]}")
    page = (tmp_path / "into" / "RESULTS.md").read_text()
    assert "No verdict while any is missing: gru, transformer." in page
    architectures.main(words)
    assert [search.study() for search in chosen] == studies
    assert not (ROOT / "outputs" / "studies" / "architectures-mlp-12k").exists()


@pytest.mark.system
def test_a_seed_that_diverges_is_an_outcome_and_other_failures_are_not(tmp_path: Path) -> None:
    begun(tmp_path, "d", 2.1, **{"question": QUESTION, "plan.confirm": plan(0)})
    with pytest.raises(SystemExit, match=r"d ended with exit code \d: see .*d\.log"):
        Search("d", (), tmp_path).confirm("--top", "1")  # there is no command to run again
    begun(tmp_path, "e", 2.1, **{"question": QUESTION, "plan.confirm": plan(0)})
    begun(tmp_path, "e.confirm", INF)
    Search("e", (), tmp_path).confirm("--top", "1")
    assert "e.confirm confirmed nothing" in (tmp_path / "e.log").read_text()


@pytest.mark.system
def test_a_search_ends_at_a_trial_that_fails(tmp_path: Path) -> None:
    missing = ("sweeps=architectures/mlp-12k", "wandb.mode=disabled", "data=text",
               f"data.path={tmp_path / 'missing.txt'}")  # fmt: skip
    search = Search("architectures-mlp-12k", missing, tmp_path / "outputs")
    with pytest.raises(SystemExit, match=r"ended with exit code 2: see .*mlp-12k\.log"):
        share_out([search], 1.0, at_a_time=2)
