"""Pages of studies whose truth is known: what their titles claim, and that they can be drawn."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from sweepmore.errors import StudyError
from sweepmore.report.additions import Additions, tell
from sweepmore.report.document import Page, write
from sweepmore.report.study import read_study
from sweepmore.report.study_page import study_page
from sweepmore.runs.places import Place
from sweepmore.study.application import Application, Command, Commands
from tests.support.made_studies import made_study, name_winner

PLACE = Place(Path("/elsewhere/outputs"))
SPACE: Mapping[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-3, 1.0, log=True),
    "act": CategoricalDistribution(["relu", "tanh"]),
}
Value = Callable[[Mapping[str, Any]], float]


def searched(value: Value, trials: int = 60, noise: float = 0.1) -> optuna.Study:
    """A random search; ``value`` is the truth without its noise."""
    random = np.random.default_rng(0)
    params = [
        {"lr": float(10 ** random.uniform(-3, 0)), "act": str(random.choice(["relu", "tanh"]))}
        for _ in range(trials)
    ]
    rows = [([value(each) + float(random.normal(0, noise))], each) for each in params]
    return made_study(rows, SPACE)


def page_of(study: optuna.Study, folder: Path) -> tuple[Page, str]:
    page = study_page(read_study(study, Additions(), PLACE), Additions())
    return page, html.unescape(write(page, folder).read_text(encoding="utf-8"))


def titles(page: Page, name: str) -> list[str]:
    """What the charts of a figure claim."""
    pictures = [picture for section in page.sections for picture in section.pictures]
    return [c.title for p in pictures if p.name == name for c in p.charts]


def test_without_an_effect_nothing_is_claimed(tmp_path: Path) -> None:
    page, text = page_of(searched(lambda p: 2.0), tmp_path)
    assert titles(page, "slices") == ["no clear effect of lr", "no clear effect of act"]
    assert titles(page, "importance") == ["No parameter has a clear effect"]
    assert "partly by luck" in page.verdict
    assert "<h3>No parameter has a clear effect</h3>" in text


def test_one_effect_is_claimed_alone(tmp_path: Path) -> None:
    page, _ = page_of(searched(lambda p: 3 + float(np.log10(p["lr"]))), tmp_path)
    assert titles(page, "slices") == ["lower lr is better", "no clear effect of act"]
    assert titles(page, "importance") == ["lr matters"]


def test_an_interaction_is_no_effect_of_either(tmp_path: Path) -> None:
    def crossed(p: Mapping[str, Any]) -> float:
        return float(np.log10(p["lr"]) + 1.5) * (1 if p["act"] == "relu" else -1)

    page, _ = page_of(searched(crossed, 200), tmp_path)
    assert titles(page, "slices") == ["no clear effect of lr", "no clear effect of act"]


def test_ties_are_told_as_ties(tmp_path: Path) -> None:
    study = searched(lambda p: 2.0, 12)
    best, second = (t.number for t in sorted(study.trials, key=lambda t: t.values[0])[:2])
    name_winner(study, best, 2.0, 0.1, rows=[(best, 2.0, True), (second, 2.01, True)])
    page, _ = page_of(study, tmp_path)
    assert "tied with 1 other" in page.verdict
    assert titles(page, "confirmed") == [f"Trial {best} is tied with 1 other"]


def test_where_all_are_tied_it_says_so(tmp_path: Path) -> None:
    study = made_study([([2.0 + k], {"n": 3 + k}) for k in range(3)])
    name_winner(study, 0, 2.0, 0.1, rows=[(k, 2.0, True) for k in range(3)])
    page, _ = page_of(study, tmp_path)
    assert titles(page, "confirmed") == ["Trial 0 is tied with all 2 others"]


@pytest.mark.parametrize(
    ("n", "label"), [(9, "When you have finished searching: open it, once:"), (5, "Open it, once:")]
)
def test_what_can_be_done_once_waits_where_the_search_should_go_on(
    n: int, label: str, tmp_path: Path
) -> None:
    study = made_study([([1.0], {"n": n}), ([2.0], {"n": 3})])
    name_winner(study, 0, 1.1, 0.1)
    number = Commands(number=Command("Open it, once:", "open {study}"))
    additions = Additions(describe=lambda config: Application(commands=number))
    page = study_page(read_study(study, additions, PLACE), additions)
    assert page.commands[0] == (label, "open s")
    assert page.settings == f"n={n}"
    text = write(page, tmp_path).read_text(encoding="utf-8")
    assert f'<p class="settings">n={n}</p>' in text


def test_one_trial(tmp_path: Path) -> None:
    page, text = page_of(searched(lambda p: 2.0, 1), tmp_path)
    assert page.verdict.startswith("Trial 0 is the only complete one")
    assert titles(page, "history") == ["No later trial was better than trial 0"]
    assert "1 complete trial cannot tell what 2 parameters explain" in text


def test_two_objectives(tmp_path: Path) -> None:
    rows = [([float(k), float((k - 3) ** 2)], {"lr": 0.01 * (k + 1)}) for k in range(6)]
    study = made_study(rows, {"lr": SPACE["lr"]}, directions=["minimize", "minimize"])
    page, _ = page_of(study, tmp_path)
    assert page.verdict == "4 of 6 trials are beaten by none in every objective."
    assert page.number is None
    assert titles(page, "front") == ["4 of 6 trials are beaten by none"]


def test_pruned_trials_beside_a_single_complete_one(tmp_path: Path) -> None:
    rows = [([2.0 + k], {"lr": 0.01, "act": "relu"}) for k in range(8)]
    states = dict.fromkeys(range(1, 8), TrialState.PRUNED)
    page, _ = page_of(made_study(rows, SPACE, states=states), tmp_path)
    assert page.verdict.startswith("Trial 0 is the only complete one")


def test_where_all_are_pruned_there_is_no_answer_to_show(tmp_path: Path) -> None:
    rows = [([2.0 + k], {"lr": 0.01, "act": "relu"}) for k in range(3)]
    states = dict.fromkeys(range(3), TrialState.PRUNED)
    with pytest.raises(StudyError, match="No trial of s is complete") as refused:
        page_of(made_study(rows, SPACE, states=states), tmp_path)
    assert "Run more trials" in str(refused.value.cure)


@pytest.mark.parametrize("scale", [1e-61, 1e-7, 1.0, 1e13])
def test_axes_have_labels_at_any_scale(scale: float, tmp_path: Path) -> None:
    page, text = page_of(searched(lambda p: scale * (2 + p["lr"]), 20, 0.01 * scale), tmp_path)
    figure = re.search(r'<figure id="history".*?</figure>', text, re.DOTALL)
    assert figure is not None
    labels = re.findall(r">([^<>]+)</text>", figure[0])
    numbers = [label for label in labels if re.search(r"\d", label)]
    assert len(numbers) >= 6
    assert page.number is not None
    assert float(page.number[0].replace("−", "-")) == pytest.approx(2 * scale, rel=0.1)


@pytest.mark.system
def test_a_thousand_trials_make_a_page_that_can_be_sent(tmp_path: Path) -> None:
    _, text = page_of(searched(lambda p: 3 + float(np.log10(p["lr"])), 1_000), tmp_path)
    assert len(text.encode()) < 2_000_000


def test_an_application_whose_code_has_changed_leaves_a_page(tmp_path: Path) -> None:
    """What it adds opens the run with the code of today, and may raise anything."""

    def facts(run: Path) -> list[tuple[str, str]]:
        raise ValueError(f"no weights T\nin {run}")

    for name in ("config.yaml", "result.json"):
        (tmp_path / name).write_text("{}")
    told = tell(Additions(facts=facts), tmp_path)
    assert told.warnings == [
        f"{tmp_path.name} cannot be described further: ValueError: no weights T"
    ]
    assert told.facts == ()
