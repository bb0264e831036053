"""The numbers that a study's figures show, by hand; and what is drawn of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from optuna.trial import TrialState

from nplm.app.application import CURVES
from sweepmore.report import drawing, figures
from sweepmore.report.chart import Chart, Curve, Point
from sweepmore.report.parameter_figures import effect_title, importance, parallel, slices
from sweepmore.statistics.effects import Effect
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import TrialAttributes, Winner, WinnerRow
from sweepmore.study.view import StudyView

PNG = b"\x89PNG\r\n\x1a\n"
COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED


def attempt(
    number: int,
    *values: float,
    state: TrialState = COMPLETE,
    seconds: float = 1.0,
    params: dict[str, Any] | None = None,
    **attrs: Any,
) -> Attempt:
    kept = TrialAttributes.read(attrs)
    return Attempt(number, number, number, 0, 0, state, None, None, values or None,
                   params or {}, None, datetime(2026, 1, 1), seconds, kept)  # fmt: skip


def study(*attempts: Attempt, directions: tuple[str, ...] = ("minimize",)) -> StudyView:
    return StudyView("s", directions, attempts)


THREE = study(attempt(0, 3.0), attempt(1, 1.0), attempt(2, 2.0), attempt(3, 2.5, state=PRUNED))


def test_history_has_each_trial_and_the_running_best() -> None:
    chart = figures.history(THREE, "loss")
    assert [(p.x, p.y, p.style) for p in chart.points] == [
        (0, 3.0, "complete"), (1, 1.0, "winner"), (2, 2.0, "complete"), (3, 2.5, "pruned"),
    ]  # fmt: skip
    assert [p.trial for p in chart.points] == [0, 1, 2, 3]
    assert chart.title == "The search improved 1 time, last at trial 1"
    assert chart.subtitle == "n = 3 complete trials, 1 pruned"
    assert chart.curves == [Curve("best so far", [0, 1, 2], [3.0, 1.0, 1.0])]
    assert chart.y_label == "loss"


def test_what_is_far_worse_and_what_has_no_value_stand_at_the_rim() -> None:
    """Best 1, median 1.5: the rim is at most 1 + 3 · 0.5; the last value within it is 2."""
    lost = replace(attempt(5, state=TrialState.FAIL), reason="exception")
    seen = study(*(attempt(k, v) for k, v in enumerate([1.0, 1.2, 1.5, 2.0, 900.0])), lost)
    chart = figures.history(seen, "loss")
    assert [(p.y, p.style) for p in chart.points if p.style in ("far", "failed")] == [
        (2.0, "far"), (2.0, "failed"),
    ]  # fmt: skip
    assert "trial 4 · 900" in next(p.tooltip for p in chart.points if p.style == "far")
    assert chart.subtitle.endswith("1 failed or diverged, 1 beyond the rim")
    rising = study(*(attempt(k, v) for k, v in enumerate([9.0, 8.0, -900.0])),
                   directions=("maximize",))  # fmt: skip
    points = figures.history(rising, "score").points
    assert {(p.y, p.style) for p in points} == {(9.0, "winner"), (8.0, "complete"), (8.0, "far")}


def test_the_best_so_far_beyond_the_rim_does_not_press_the_trials_together() -> None:
    """The rim is 1 + 3 · 0.5 or what is next to it below: 2. The first best, 900, lies beyond."""
    seen = study(*(attempt(k, v) for k, v in enumerate([900.0, 1.0, 1.2, 1.5, 2.0])))
    chart = figures.history(seen, "loss")
    assert (chart.top, chart.bottom) == (2.0, None)
    low, high = drawing.draw([chart]).axes[0].get_ylim()
    assert 0.9 < low < 1.0
    assert 2.0 < high < 2.1
    assert figures.history(THREE, "loss").top is None


def test_the_history_of_one_trial_and_of_none() -> None:
    assert figures.history(study(attempt(0, 3.0)), "loss").title == (
        "No later trial was better than trial 0"
    )
    assert figures.history(study(), "loss").title == "No trial is complete"


def test_the_running_best_of_a_study_that_maximizes_rises() -> None:
    seen = study(attempt(0, 3.0), attempt(1, 1.0), attempt(2, 4.0), directions=("maximize",))
    assert figures.history(seen, "score").curves[0].y == [3.0, 3.0, 4.0]


def test_studies_are_compared_by_trials_and_by_seconds_of_work() -> None:
    """A pruned trial takes its time, and has no value."""
    seen = study(attempt(0, 3.0, seconds=2), attempt(1, 9.0, state=PRUNED, seconds=5),
                 attempt(2, 1.0, seconds=1))  # fmt: skip
    (by_trials,) = figures.anytime([seen], "loss", "trials").curves
    (by_time,) = figures.anytime([seen], "loss", "time").curves
    assert by_trials == Curve("s, n = 3", [1, 2, 3], [3.0, 3.0, 1.0])
    assert by_time == Curve("s, n = 3", [2, 7, 8], [3.0, 3.0, 1.0])


class TestLearningCurves:
    def test_the_best_come_first_and_only_two_are_named(self) -> None:
        reports = {k: {0: 5.0, 10: 3.0 - k} for k in range(3)}
        seen = study(*(attempt(k, 3.0 - k) for k in range(3)))
        chart = figures.learning_curves(seen, reports, "loss")
        assert chart is not None
        spread, *best = chart.curves
        assert [curve.label for curve in best] == ["the best", "the next 2", ""]
        assert [curve.y[-1] for curve in best] == [1.0, 2.0, 3.0]
        assert (spread.y[0], spread.y[-1]) == (5.0, 2.0)
        assert (spread.low[-1], spread.high[-1]) == pytest.approx((1.2, 2.8))  # deciles of 1 2 3

    def test_between_two_reports_a_value_lies_on_the_line(self) -> None:
        """Trials that report at different steps have a spread all the same."""
        reports = {0: {0: 4.0, 10: 2.0}, 1: {0: 4.0, 5: 3.0, 10: 2.0}, 2: {0: 4.0, 10: 2.0}}
        seen = study(*(attempt(k, 2.0) for k in range(3)))
        chart = figures.learning_curves(seen, reports, "loss")
        assert chart is not None
        spread = chart.curves[0]
        assert list(spread.y) == pytest.approx([4 - 0.2 * x for x in spread.x])
        assert list(spread.low) == pytest.approx(list(spread.high))

    def test_the_spread_says_of_whom_it_is(self) -> None:
        """Pruned trials are not among those that the late medians are of."""
        reports = {k: {0: 4.0, 5: 3.0, 10: 2.0} for k in range(3)}
        seen = study(*(attempt(k, 2.0) for k in range(3)), attempt(3, 3.0, state=PRUNED))
        for more, label in (({3: {0: 4.0, 5: 3.0}}, "of those still running"), ({}, "all")):
            chart = figures.learning_curves(seen, {**reports, **more}, "loss")
            assert chart is not None
            assert chart.curves[0].label == f"{label}: median, middle 80 %"

    def test_where_fewer_than_three_are_left_there_is_no_spread(self) -> None:
        reports = {0: {0: 4.0, 20: 2.0}, 1: {0: 4.0, 10: 2.0}, 2: {0: 4.0, 10: 2.0}}
        seen = study(*(attempt(k, 2.0) for k in range(3)))
        chart = figures.learning_curves(seen, reports, "loss")
        assert chart is not None
        assert max(chart.curves[0].x) <= 10

    def test_none_without_reports(self) -> None:
        assert figures.learning_curves(THREE, {}, "loss") is None

    def test_a_value_that_is_not_finite_is_left_out(self) -> None:
        reports = {0: {0: 4.0, 5: float("inf"), 10: 2.0}}
        chart = figures.learning_curves(study(attempt(0, 2.0)), reports, "loss")
        assert chart is not None
        assert chart.curves[-1].y == [4.0, 2.0]


def test_importance_is_sorted() -> None:
    found = {"a": effect(real=True), "b": effect(real=True), "c": effect(real=False)}
    chart = importance({"a": 0.2, "b": 0.8, "c": -0.1}, THREE, found)
    assert chart is not None
    assert chart.bars == [("b", 0.8), ("a", 0.2), ("c", 0.0)]
    assert chart.title == "b and a matter"
    assert importance({}, THREE, {}) is None
    none = importance({"a": 0.2}, THREE, {"a": effect(real=False)})
    assert none is not None
    assert none.title == "No parameter has a clear effect"


def effect(real: bool, where: Any = "inside", best: Any = 0.031) -> Effect:
    return Effect(0.0, real, best, where, [0.01, 0.1], [1.0, 2.0])


@pytest.mark.parametrize(
    ("found", "title"),
    [(None, "lr: too few trials to tell"), (effect(real=False), "no clear effect of lr"),
     (effect(real=True), "lr is best near 0.031"),
     (effect(real=True, where="low"), "lower lr is better"),
     (effect(real=True, where="high"), "higher lr is better"),
     (effect(real=True, where="choice", best="gelu"), "lr matters"),
     (replace(effect(real=True, where="choice", best="gelu"), worse=["relu"]), "lr=gelu is best"),
     (replace(effect(real=True, where="choice", best=3), x=[1, 2, 3, 4], worse=[1, 2]),
      "lr: 1, 2 are worse")],
)  # fmt: skip
def test_a_slice_claims_what_the_effect_says(found: Effect | None, title: str) -> None:
    assert effect_title("lr", found) == title


@pytest.mark.parametrize("real", [True, False])
def test_a_trend_is_drawn_where_it_is_real(real: bool) -> None:
    space = {"lr": {"name": "FloatDistribution", "attributes": {"log": True}}}
    seen = study(*(attempt(k, 2.0 - k, params={"lr": 0.1 + k}) for k in range(2)))
    (chart,) = slices(seen, space, "loss", {"lr": effect(real)})
    assert len(chart.curves) == int(real)
    assert [p.style for p in chart.points] == ["winner", "complete"]


class TestParallel:
    SPACE: Mapping[str, Mapping[str, Any]] = {
        "lr": {"attributes": {"low": 0.001, "high": 1.0, "log": True}},
        "act": {"attributes": {"choices": ["relu", "tanh", "gelu"]}},
    }

    def chart(
        self,
        *rows: tuple[float, float, str],
        answer: int | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> Chart:
        trials = [
            attempt(k, value, params={"lr": lr, "act": act})
            for k, (value, lr, act) in enumerate(rows)
        ]
        drawn = parallel(study(*trials), self.SPACE, "loss", shares or {}, answer)
        assert drawn is not None
        return drawn

    def test_heights_by_hand(self) -> None:
        """lr on a log scale between the tried 0.01 and 1; choices in order; the best on top."""
        chart = self.chart((1.0, 0.1, "tanh"), (3.0, 0.01, "relu"), (2.0, 1.0, "gelu"))
        assert [curve.trial for curve in chart.curves] == [0, 2, 1]
        heights = {curve.trial: list(curve.y) for curve in chart.curves}
        assert heights[0] == pytest.approx([0.5, 0.5, 1.0])
        assert heights[1] == pytest.approx([0.0, 0.0, 0.0])
        assert heights[2] == pytest.approx([1.0, 1.0, 0.5])
        assert [scale.name for scale in chart.scales] == ["lr", "act", "loss"]
        assert [text for _, text in chart.scales[2].ticks] == ["1", "3"]
        assert [curve.style for curve in chart.curves] == ["winner", "other", "other"]

    def test_the_most_important_is_beside_the_value(self) -> None:
        rows = [(1.0, 0.1, "tanh"), (3.0, 0.01, "relu")]
        chart = self.chart(*rows, shares={"lr": 0.7, "act": 0.2})
        assert [scale.name for scale in chart.scales] == ["act", "lr", "loss"]
        assert list(chart.curves[0].y) == pytest.approx([0.5, 1.0, 1.0])  # tanh, 0.1, the best
        assert chart.subtitle.endswith("; beside loss the most important parameter")

    @pytest.mark.parametrize("narrow", [False, True])
    def test_the_marked_line_is_on_top_of_faint_ones(self, narrow: bool) -> None:
        """On a phone the scales lie below each other, the better end at the right."""
        rows = [(float(k), 0.01 * (k + 1), "relu" if k else "gelu") for k in range(30)]
        lines = drawing.draw([self.chart(*rows)], narrow=narrow).axes[0].get_lines()[:30]
        alphas = [line.get_alpha() or 0.0 for line in lines]
        assert alphas == sorted(alphas)
        assert max(alphas[:27]) < 0.3
        assert alphas[-1] == 1.0
        ends = [np.asarray(line.get_xdata() if narrow else line.get_ydata())[-1] for line in lines]
        assert ends[-1] == max(ends) == 1.0

    def test_the_confirmed_winner_is_marked(self) -> None:
        chart = self.chart((1.0, 0.1, "tanh"), (3.0, 0.01, "relu"), answer=1)
        assert {curve.trial: curve.style for curve in chart.curves} == {0: "best", 1: "winner"}

    def test_what_the_best_tenth_shares(self) -> None:
        rows = [(float(k), 0.01 * (k + 1), "gelu" if k < 3 else "relu") for k in range(30)]
        assert self.chart(*rows).title == "The best 3 trials share act=gelu"

    def test_a_single_parameter_has_no_parallel_coordinates(self) -> None:
        seen = study(attempt(0, 1.0, params={"lr": 0.1}), attempt(1, 2.0, params={"lr": 0.2}))
        assert parallel(seen, {"lr": self.SPACE["lr"]}, "loss", {}) is None

    def test_lines_are_linked_with_their_trials(self) -> None:
        chart = self.chart((1.0, 0.1, "tanh"), (3.0, 0.01, "relu"))
        text = drawing.svg(drawing.draw([chart]), [chart])
        assert sorted(re.findall(r'<g id="parallel-line-[^"]*" data-trial="(\d+)"', text)) == [
            "0", "1",
        ]  # fmt: skip


def test_slices_place_choices_by_their_order_and_numbers_by_value() -> None:
    space = {
        "n": {"name": "CategoricalDistribution", "attributes": {"choices": [32, 8]}},
        "lr": {"name": "FloatDistribution", "attributes": {"log": True}},
    }
    seen = study(attempt(0, 2.0, params={"n": 8, "lr": 0.1}),
                 attempt(1, 1.0, params={"n": 32, "lr": 0.01}))  # fmt: skip
    by_choice, by_rate = slices(seen, space, "loss", {})
    assert {(p.x, p.y) for p in by_choice.points} == {(1, 2.0), (0, 1.0)}
    assert (by_choice.categories, by_choice.log_x) == (["32", "8"], False)
    assert {(p.x, p.y) for p in by_rate.points} == {(0.1, 2.0), (0.01, 1.0)}
    assert by_rate.log_x


def test_train_against_dev_takes_what_the_trials_kept() -> None:
    kept = {"train_loss": 1.0, "dev_loss": 1.5}
    none = {"train_loss": None, "dev_loss": None}
    seen = study(attempt(0, 1.5, result=kept), attempt(1, 1.5, result=kept),
                 attempt(2, 9.0, result=none))  # fmt: skip
    chart = figures.overfitting(seen, CURVES)
    assert chart is not None
    assert [(p.x, p.y) for p in chart.points] == [(1.0, 1.5), (1.0, 1.5)]
    assert figures.overfitting(study(attempt(0, 1.5, result=kept)), CURVES) is None


def test_the_front_of_two_objectives_by_hand() -> None:
    """(loss, seconds): the third is beaten by the second in both."""
    both = ("minimize", "minimize")
    seen = study(attempt(0, 1.0, 9.0), attempt(1, 2.0, 3.0), attempt(2, 2.5, 4.0), directions=both)
    chart = figures.front(seen, ["loss", "seconds"])
    assert chart.curves == [Curve("no trial beats these", [3.0, 9.0], [2.0, 1.0])]
    assert len(chart.points) == 3


def test_each_objective_has_its_own_best_trial() -> None:
    seen = study(attempt(0, 1.0, 3.0), attempt(1, 2.0, 9.0), attempt(2, 2.0, 9.0),
                 directions=("minimize", "maximize"))  # fmt: skip
    assert [seen.best_in(k).root for k in range(2)] == [0, 1]


def test_trials_with_the_parameters_of_an_earlier_one() -> None:
    """A choice among 1, 1.0 and True is none between equals; only what counts is counted."""
    params = [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"b": "x", "a": 1}, {"a": 1.0, "b": "x"},
              {"a": True, "b": "x"}, {"a": 2, "b": "x"}]  # fmt: skip
    trials = [attempt(k, 1.0, params=one) for k, one in enumerate(params)]
    running = attempt(6, params={"a": 1, "b": "x"}, state=TrialState.RUNNING)
    assert [a.root for a in study(*trials, running).repeated] == [2, 5]


def test_confirmed_marks_the_winner_and_the_tied() -> None:
    rows = tuple(WinnerRow(k, {}, 1.0, 1.0 + k, 0.5, k < 2) for k in range(3))
    chart = figures.confirmed(Winner(Path(), trial=1, rows=rows, seeds=4), "loss")
    assert (chart.title, chart.x_label) == ("Trial 1 is tied with 1 of 2 others", "loss")
    assert chart.subtitle == "mean of 4 fresh seeds each, 95 % intervals"
    assert [(row.style, row.mean, row.searched) for row in chart.rows] == [
        ("tied", 1.0, 1.0), ("winner", 2.0, 1.0), ("complete", 3.0, 1.0),
    ]  # fmt: skip
    figure = drawing.draw([chart])
    axes, (legend,) = figure.axes[0], figure.legends
    assert {text.get_text() for text in legend.get_texts()} == set(chart.legend.values())
    drawn = [np.asarray(line.get_xdata()).tolist() for line in axes.get_lines()]
    spans = [ends for ends in drawn if len(ends) == 2]
    assert sorted(spans) == [[0.5, 1.5], [1.5, 2.5], [2.5, 3.5]]
    assert [label.get_text().split(":")[0] for label in axes.get_yticklabels()] == [
        "trial 2", "trial 1", "trial 0",
    ]  # fmt: skip


def test_a_winner_alone_is_better_beyond_chance() -> None:
    rows = tuple(WinnerRow(k, {}, 1.0, 1.0 + k, 0.5, k < 1) for k in range(2))
    chart = figures.confirmed(Winner(Path(), trial=0, rows=rows, seeds=4), "loss")
    assert chart.title == "Trial 0 is better than the others beyond chance"


def test_a_dashed_curve_has_the_colour_of_the_one_before() -> None:
    curves = [Curve(f"{run}: {which}", [0, 1], [k, k + 1.0], dashed=which == "train")
              for k, run in enumerate("ab") for which in ("dev", "train")]  # fmt: skip
    lines = drawing.draw([Chart("c", "", "x", "y", curves=curves)]).axes[0].get_lines()
    drawn = {str(line.get_label()): (line.get_color(), line.get_linestyle()) for line in lines}
    assert drawn["a: dev"][0] == drawn["a: train"][0] != drawn["b: dev"][0]
    assert [drawn[name][1] for name in ("a: dev", "a: train")] == ["-", "--"]


CHART = Chart("c", "a title", "x", "y", [Point(1, 2, "told <1>"), Point(2, 3, "told 2", "pruned")],
              [Curve("line", [1, 2], [2, 3])])  # fmt: skip


class TestDrawn:
    def test_png(self, tmp_path: Path) -> None:
        drawing.save(drawing.draw([CHART]), tmp_path / "new" / "c.png")
        assert (tmp_path / "new" / "c.png").read_bytes().startswith(PNG)

    def test_the_title_of_a_chart_by_itself_is_above_its_legend(self) -> None:
        two = replace(CHART, curves=[*CHART.curves, Curve("another", [1, 2], [3, 2])])
        figure = drawing.titled(two)
        figure.draw_without_rendering()
        legend, (title,) = figure.axes[0].get_legend(), figure.texts
        assert legend is not None
        assert title.get_text() == "a title"
        assert title.get_window_extent().y0 >= legend.get_window_extent().y1

    def test_svg_is_xml_with_a_title_for_each_point(self) -> None:
        text = drawing.svg(drawing.draw([CHART]), [CHART])
        root = ElementTree.fromstring(text)
        titles = [one.text for one in root.iter() if one.tag.endswith("title")]
        assert titles == ["told 2", "told <1>"] or titles == ["told <1>", "told 2"]

    def test_ids_are_unique_among_the_figures_of_a_page(self) -> None:
        other = Chart("d", "another", "x", "y", [Point(1, 1, "")])
        pages = drawing.svg(drawing.draw([CHART]), [CHART]) + drawing.svg(
            drawing.draw([other]), [other]
        )
        ids = re.findall(r'\bid="([^"]+)"', pages)
        assert len(ids) == len(set(ids))
        for used in re.findall(r'href="#([^"]+)"', pages):
            assert used in ids

    def test_places_are_rounded_and_labels_are_not(self) -> None:
        points = [Point(x, y, "") for x, y in ((0.00167, 0.0012), (0.1, 0.0045))]
        chart = Chart("c", "at 0.12345", "x", "y", points, log_x=True, better=None)
        text = drawing.svg(drawing.draw([chart]), [chart])
        labels = re.findall(r">([^<]+)</text>", text)
        assert "0.002" in labels
        assert any(re.fullmatch(r"0\.00\d+", label) for label in labels)
        assert 'aria-label="at 0.12345"' in text
        assert not re.search(r' (?:d|x|y)="[^"]*\d\.\d{3}', text)

    def test_text_is_text_in_the_colour_of_the_page(self) -> None:
        text = drawing.svg(drawing.draw([CHART]), [CHART])
        assert ">line</text>" in text
        assert ">a title</text>" not in text  # the page writes it above the figure
        assert "#000000" not in text

    def test_a_few_bad_trials_do_not_press_the_others_together(self) -> None:
        points = [Point(k, 2 + k / 100, "") for k in range(20)] + [Point(20, 1000.0, "")]
        chart = Chart("c", "", "x", "y", points)
        axes = drawing.draw([chart]).axes[0]
        # quartiles 2.045 and 2.155; the fence is three times their distance beyond the upper one
        assert drawing.without_outliers(chart).subtitle == "1 above 2.485 left out"
        low, high = axes.get_ylim()
        assert low < 2
        assert 2.19 < high < 3

    @pytest.mark.parametrize(
        ("directions", "value", "best", "where"),
        [("maximize", 0.0, 0.9, "below 0.4693"), ("minimize", 1.0, 0.1, "above 0.5497")],
    )
    def test_what_is_left_out_is_bad_and_never_the_best(
        self, directions: str, value: float, best: float, where: str
    ) -> None:
        """Twenty near 0.5, one very bad and one very good; quartiles 0.50375 and 0.51525."""
        trials = [attempt(k, 0.5 + k / 1000) for k in range(20)]
        trials += [attempt(20, value), attempt(21, best)]
        seen = study(*trials, directions=(directions,))
        space: dict[str, dict[str, Any]] = {"n": {"attributes": {}}}
        params = [replace(trial, params={"n": trial.number}) for trial in trials]
        (chart,) = slices(replace(seen, attempts=tuple(params)), space, "score", {})
        shown = drawing.without_outliers(chart)
        assert {p.y for p in chart.points} - {p.y for p in shown.points} == {value}
        assert shown.subtitle == f"1 {where} left out"
        low, high = drawing.draw([chart]).axes[0].get_ylim()
        assert low < best < high
        assert not low < value < high

    @pytest.mark.parametrize(("worst", "is_cut"), [(9.0, True), (2.3, False)])
    def test_a_curve_goes_on_beyond_a_cut_that_is_marked(self, worst: float, is_cut: bool) -> None:
        curve = Curve("", list(range(21)), [worst, *(2 + k / 100 for k in range(20))])
        chart = Chart("c", "", "x", "y", curves=[curve], subtitle="n = 1")
        shown = drawing.without_outliers(chart)
        assert shown.subtitle == ("n = 1 · cut above 2.485" if is_cut else "n = 1")
        axes = drawing.draw([chart]).axes[0]
        top = axes.get_ylim()[1]
        assert (top < worst) == is_cut
        assert top > 2.485 or not is_cut  # room for a mark that lies on the end
        assert len(axes.get_lines()) == 1 + is_cut

    def test_both_losses_are_cut_at_the_fence_of_each(self) -> None:
        kept = [{"train_loss": 2 + k / 100, "dev_loss": 2.1 + k / 100} for k in range(20)]
        kept += [{"train_loss": 2.0, "dev_loss": 90.0}, {"train_loss": 80.0, "dev_loss": 2.1}]
        seen = study(*(attempt(k, 1.0, result=one) for k, one in enumerate(kept)))
        chart = figures.overfitting(seen, CURVES)
        assert chart is not None
        shown = drawing.without_outliers(chart)
        assert [(p.x, p.y) for p in shown.points] == [
            (one["train_loss"], one["dev_loss"]) for one in kept[:20]
        ]
        assert shown.subtitle == f"{chart.subtitle} · 2 beyond"
        assert "n = 22 trials" in shown.subtitle

    def test_where_neither_end_is_better_nothing_is_left_out(self) -> None:
        points = [Point(k, 2 + k / 100, "") for k in range(20)] + [Point(20, 1000.0, "")]
        chart = Chart("c", "", "x", "y", points, better=None)
        assert drawing.without_outliers(chart) == chart

    def test_the_diagonal_takes_no_width(self) -> None:
        """x ends with the points, however far y goes; the line is there all the same."""
        points = [Point(2.1, 2.3, "", half=0.9), Point(2.102, 2.2, "")]
        figure = drawing.draw([Chart("c", "", "x", "y", points, diagonal=True)])
        figure.canvas.draw()
        axes = figure.axes[0]
        assert axes.get_xticklabels()[0].get_text().startswith("2.")
        low, high = axes.get_xlim()
        assert 2.099 < low < 2.1
        assert 2.102 < high < 2.103
        assert axes.get_ylim()[0] < 2.1

    def test_a_page_tells_each_mark_that_is_drawn_and_no_other(self) -> None:
        points = [Point(k, 2 + k / 100, f"t{k}") for k in range(20)]
        points.insert(5, Point(30, 1000.0, "outlier"))
        chart = Chart("c", "", "x", "y", points)
        text = drawing.svg(drawing.draw([chart]), [chart])
        told = re.findall(r'<use [^>]*x="([0-9.]+)"[^>]*><title>t(\d+)</title>', text)
        assert len(told) == 20
        places = [float(x) for x, _ in sorted(told, key=lambda one: int(one[1]))]
        assert places == sorted(places)
        assert "outlier" not in text

    def test_the_narrow_form_has_the_same_marks_and_other_ids(self) -> None:
        forms = [
            drawing.svg(drawing.draw([CHART]), [CHART]),
            drawing.svg(drawing.draw([CHART], narrow=True), [CHART], "-narrow"),
        ]
        marks, ids = zip(
            *((form.count("</use>"), set(re.findall(r'\bid="([^"]+)"', form))) for form in forms)
        )
        assert marks == (2, 2)
        assert not ids[0] & ids[1]

    def test_a_pruned_trial_is_a_cross_that_can_be_seen(self) -> None:
        axes = drawing.draw([CHART]).axes[0]
        (crosses,) = [c for c in axes.collections if "pruned" in str(c.get_gid())]
        assert min(np.atleast_1d(crosses.get_linewidth())) > 0.5

    def test_ticks_of_a_logarithmic_axis_are_plain_numbers(self) -> None:
        points = [Point(x, 1.0, "") for x in (0.001, 0.1)]
        figure = drawing.draw([Chart("c", "", "x", "y", points, log_x=True)])
        figure.canvas.draw()
        labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert {"0.001", "0.01", "0.1"} <= set(labels)

    @pytest.mark.parametrize("columns", [1, 3])
    def test_each_axis_has_labels(self, columns: int) -> None:
        """Of a logarithm, where values are positive; else it is linear."""
        ends = [(1e-58, 1e-3), (1e13, 1e14), (2.0, 2.1), (1.0, 1e5), (-2.0, 3.0), (-1e13, -1e-58)]
        charts = [
            Chart("c", "", "x", "y", [Point(low, high, ""), Point(high, low, "")],
                  log_x=True, log_y=True, better=None)
            for low, high in ends
        ]  # fmt: skip
        figure = drawing.draw(charts, columns)
        figure.draw_without_rendering()
        for axes, (low, _) in zip(figure.axes, ends, strict=True):
            assert axes.get_yscale() == ("log" if low > 0 else "linear")
            for axis, (start, end) in (
                (axes.xaxis, axes.get_xlim()),
                (axes.yaxis, axes.get_ylim()),
            ):
                ticks = [tick for tick in axis.get_major_ticks() if start <= tick.get_loc() <= end]
                assert len([tick for tick in ticks if tick.label1.get_text()]) >= 2
