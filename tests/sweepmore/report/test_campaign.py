"""The section of a campaign: what its figure holds for known truth, and its rows in a browser."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
import optuna
import pytest
from axe_playwright_python.sync_playwright import Axe
from matplotlib.collections import PolyCollection
from optuna.distributions import FloatDistribution
from playwright.sync_api import Browser, sync_playwright

from sweepmore.confirm.challenge_printing import version_of
from sweepmore.report.additions import Additions
from sweepmore.report.campaign_figure import campaign_chart, kept_by_a_loop
from sweepmore.report.challenge_changes import changes
from sweepmore.report.chart import Chart
from sweepmore.report.document import Page, Section, write
from sweepmore.report.drawing import draw
from sweepmore.report.study import read_study
from sweepmore.report.study_page import study_page
from sweepmore.runs.places import Place
from sweepmore.statistics.intervals import Interval, t_interval
from sweepmore.statistics.sequential import Rules, Skewness, Verdict, decide
from sweepmore.study.attributes import Winner
from sweepmore.study.campaigns import Campaign, Challenge
from sweepmore.study.championship import standing
from sweepmore.study.terms import Terms
from tests.support.browser import QUIET, SIZES
from tests.support.made_studies import made_study, name_winner

PLACE = Place(Path("/elsewhere/outputs"))
RULES = Rules(horizon=100, cap=24)
CAMPAIGN = Campaign(
    horizon=100, cap=24, alpha=0.05, seed_key="seed", used=(0, 1),
    terms=Terms(None, "minimize objective", {"optim.steps": 200}), evaluators={"evaluate.py": "0"},
    begun="2026-11-29T12:00:00+00:00",
)  # fmt: skip
WINNER = Interval(2.2, 0.02)


def begun(number: int, champion: int = 0, *words: str, files: Sequence[str] = ()) -> Challenge:
    typed = ("python", "app.py", *(words or (f"n={number}",)))
    return Challenge(number, champion, typed, ".", f"{number:08x}", tuple(files),
                     "2026-11-29T12:00:00+00:00")  # fmt: skip


def ended(
    challenge: Challenge, verdict: Verdict, theirs: Sequence[float], mine: Sequence[float],
    half: float, sign: float = 1.0,
) -> Challenge:  # fmt: skip
    """A decided challenge with these values; its gain is their mean difference."""
    return replace(
        challenge, verdict=verdict, reason="made up", seeds=tuple(range(len(mine))),
        champion_values=tuple(theirs), values=tuple(mine), half=half, runs=2 * len(mine),
        gain=fmean(sign * (their - my) for their, my in zip(theirs, mine)), spent=4.0,
    )  # fmt: skip


def failed(number: int, champion: int = 0) -> Challenge:
    return replace(begun(number, champion), verdict="discard", reason="seed 7 diverged", runs=1)


def chart(challenges: Sequence[Challenge], sign: float = 1.0, **names: str) -> Chart:
    named = {int(key[1:]): name for key, name in names.items()}
    return campaign_chart(challenges, named, "loss", sign, WINNER, 24)


def styles(drawn: Chart) -> list[str]:
    return [point.style for point in drawn.points]


NO_OP = ended(begun(1), "discard", [2.1, 2.3], [2.2, 2.4], 5.0)
FIRST = ended(begun(2), "keep", [2.1, 2.3, 2.2, 2.2], [2.0, 2.2, 2.1, 2.1], 0.03)
SECOND = ended(begun(4, 2), "keep", [2.0, 2.2], [1.8, 2.0], 0.05)
OPEN = ended(begun(3, 2), "undecided", [2.0, 2.2, 2.1], [1.9, 2.3, 2.0], 0.2)


def test_a_challenge_lies_its_gain_away_from_its_champion() -> None:
    """The champion's mean is over all of its four seeds, not over the two of the no-op."""
    drawn = chart([NO_OP, FIRST], _2="n=2")
    assert [point.y for point in drawn.points] == pytest.approx([2.3, 2.1])
    assert [point.half for point in drawn.points] == [None, 0.03]  # of two seeds: beyond the axis
    assert styles(drawn) == ["discard", "keep"]
    assert [point.name for point in drawn.points] == ["", "n=2"]
    line = drawn.curves[0]
    assert list(line.x) == [0.5, 2.5, 2.9]  # behind the interval of challenge 2
    assert list(line.y) == pytest.approx([2.2, 2.1, 2.1])
    assert line.high[0] - line.y[0] == pytest.approx(t_interval(FIRST.champion_values).half)
    assert math.isnan(line.high[1])  # it has not run against anybody
    assert drawn.title == "Challenge 2 is better than the confirmed winner by 0.1000 ± 0.0300"


def test_the_line_steps_down_to_what_fresh_runs_of_a_champion_say() -> None:
    drawn = chart([NO_OP, FIRST, OPEN, SECOND])
    line = drawn.curves[0]
    assert list(line.x) == [0.5, 2.5, 4.5, 4.9]
    assert list(line.y) == pytest.approx([2.2, 2.1, 1.9, 1.9])
    assert drawn.title == (
        "2 of 4 challenges were kept; the last, challenge 4, is better by 0.2000 ± 0.0500 than "
        "challenge 2"
    )
    assert [height for _, height in drawn.strip] == [2, 4, 3, 2]
    assert drawn.subtitle.startswith("n = 4 decided challenges of 2 to 4 seeds each; loss, lower")


@pytest.mark.parametrize("narrow", [False, True])
def test_each_champion_has_its_band(narrow: bool) -> None:
    """One that has not run has none, and takes none from the champion before it."""
    drawn = draw([chart([NO_OP, FIRST])], narrow=narrow)
    (band,) = [each for each in drawn.axes[0].collections if isinstance(each, PolyCollection)]
    (path,) = band.get_paths()
    assert path.get_extents().intervalx.tolist() == [0.5, 2.5]


def test_none_kept() -> None:
    drawn = chart([NO_OP, replace(OPEN, champion=0)])
    assert (
        drawn.title
        == "None of 2 challenges is surely better than the confirmed winner; 1 undecided"
    )
    assert chart([NO_OP]).title == "No challenge is surely better than the confirmed winner"
    assert styles(drawn) == ["discard", "undecided"]


def test_a_higher_value_may_be_the_better_one() -> None:
    worse = ended(begun(1), "discard", [0.5, 0.7], [0.4, 0.6], 3.0, -1)
    better = ended(begun(2), "keep", [0.5, 0.7], [0.7, 0.9], 0.05, -1)
    drawn = campaign_chart([worse, better], {}, "accuracy", -1, Interval(0.6, 0.1), 24)
    assert [point.y for point in drawn.points] == pytest.approx([0.5, 0.8])
    assert "accuracy, higher is better" in drawn.subtitle
    assert kept_by_a_loop([worse, better], -1) == [(0, 0.5), (2, 0.7)]


def test_what_has_no_value_stands_at_the_worse_rim() -> None:
    far = ended(begun(6), "discard", [2.1, 2.3], [40.0, 50.0], 30.0)
    diverged = replace(far, number=7, gain=-math.inf)
    drawn = chart([NO_OP, FIRST, failed(5), far, diverged])
    assert styles(drawn) == ["discard", "keep", "failed", "far", "failed"]
    rim = [point.y for point in drawn.points[2:]]
    assert drawn.top is not None
    assert rim == [rim[0]] * 3
    assert max(point.y for point in drawn.points[:2]) < rim[0] < drawn.top < 3
    assert "1 far worse; 2 failed or diverged" in drawn.subtitle
    maximized = campaign_chart([failed(1)], {}, "accuracy", -1, Interval(0.6, 0.1), 24)
    assert maximized.points[0].y < 0.6


def test_a_champion_that_has_not_run_stands_at_its_confirmed_value() -> None:
    for alone in (begun(1), failed(1)):
        line = chart([alone]).curves[0]
        assert (line.y[0], line.low[0]) == pytest.approx((2.2, 2.18))
    assert chart([begun(1)]).title == "No challenge is decided yet"
    assert chart([begun(1)]).points[0].style == "begun"


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_axis_is_not_stretched_by_intervals_of_two_seeds(sign: float) -> None:
    """Every dot is on it, every champion, and every interval that is drawn: the others, of two
    seeds, are many times as high as the axis."""
    challenges = simulated(40, {7: 0.1, 20: 0.08}, sign)
    drawn = campaign_chart(challenges, {}, "loss", sign, WINNER, 24)
    assert drawn.bottom is not None
    assert drawn.top is not None
    assert max(each.half or 0 for each in challenges) > 10 * (drawn.top - drawn.bottom)
    assert {"keep", "undecided", "discard"} == set(styles(drawn))
    for point in drawn.points:
        reach = point.half or 0.0
        assert drawn.bottom < point.y - reach
        assert point.y + reach < drawn.top
    assert all(point.half for point in drawn.points if point.style != "discard")
    assert drawn.top - drawn.bottom < 0.6  # a gain of 0.18, and runs with an sd of 0.03


def test_the_interval_of_a_discarded_challenge_is_drawn_where_it_fits() -> None:
    narrow = ended(begun(3), "discard", [2.1, 2.3, 2.2], [2.11, 2.31, 2.21], 0.02)
    drawn = chart([NO_OP, FIRST, narrow])
    assert [point.half for point in drawn.points] == [None, 0.03, 0.02]
    assert "95 % intervals, open where cut (discarded: only where they fit)" in drawn.subtitle


def test_an_interval_is_whole_where_it_leaves_room_for_the_rest() -> None:
    whole = chart([NO_OP, replace(FIRST, half=0.15)])
    assert whole.bottom is not None
    assert whole.bottom < 2.1 - 0.15
    cut = chart([NO_OP, replace(OPEN, champion=0, half=9.0)])
    assert cut.bottom is not None
    assert cut.top is not None
    assert cut.top - cut.bottom < 3


def test_runs_without_noise_have_an_axis() -> None:
    same = ended(begun(1), "discard", [2.0, 2.0], [2.0, 2.0], 0.0)
    worse = ended(begun(2), "discard", [2.0, 2.0], [2.5, 2.5], 0.0)
    for challenges in ([same], [same, worse]):
        drawn = chart(challenges)
        assert drawn.top is not None
        assert drawn.bottom is not None
        assert all(drawn.bottom < point.y < drawn.top for point in drawn.points)


def test_a_loop_keeps_each_new_best_of_one_run() -> None:
    rows = [([2.2, 9.0], [2.3, 0.0]), ([2.2, 9.0], [2.1, 9.0]), ([2.2, 9.0], [2.15, 0.0])]
    challenges = [ended(begun(k), "discard", *row, 1.0) for k, row in enumerate(rows, 1)]
    assert kept_by_a_loop(challenges, 1) == [(0, 2.2), (2, 2.1)]
    dashed = chart(challenges).curves[1]
    assert (list(dashed.x), list(dashed.y)) == ([0.5, 2.5, 3.9], [2.2, 2.1, 2.1])
    assert len(chart(challenges[:1]).curves) == 1  # it keeps nothing: no line


def test_a_change_is_what_differs_from_the_champion() -> None:
    command = {"script": ["/there/app.py"], "fixed": ["optim=adamw", "model.n=1"], "words": []}
    winner = Winner(Path("gone"), params={"optim.lr": 0.1})
    typed = ["optim=adamw", "model.n=1.0", "optim.lr=0.2", "+model.skip=true"]
    challenges = [
        begun(1, 0, *typed, files=["src/net.py", "src/b.py"]),
        begun(2, 0, *typed[:2], "optim.lr=1e-1"),
        begun(3, 1, *typed[1:3]),
        replace(begun(4, 0, *typed[:2], "optim.lr=0.1"), words=("python3", "other.py", *typed[:2])),
    ]
    made = changes(challenges, command, winner)
    assert made[1].told(99) == "optim.lr=0.2 model.skip=true · src/net.py, src/b.py"
    assert made[1].brief(99) == "lr=0.2 skip=true"
    assert made[1].brief(8) == "lr=0.2 …"
    assert made[2].told(99) == "nothing: the champion's command and code"
    assert made[3].told(99) == "without optim without model.skip"
    assert made[4].told(99) == "other.py without optim.lr"


# a page


def simulated(count: int, gains: Mapping[int, float], sign: float = 1.0) -> list[Challenge]:
    """Challenges decided as the command decides, with these true gains, else none; sd 0.03."""
    random, level, champion = np.random.default_rng(1), 2.2, 0
    theirs = level + random.normal(0, 0.03, RULES.cap)
    challenges = []
    for number in range(1, count + 1):
        truth = level - sign * gains.get(number, 0.0)
        mine = truth + random.normal(0, 0.03, RULES.cap)
        decision = decide(list(theirs), list(mine), sign, RULES, Skewness())
        assert decision is not None
        rows = [list(map(float, values[: decision.seeds])) for values in (theirs, mine)]
        words = (f"optim.lr={number / 100}", "n=1")
        challenges.append(
            ended(begun(number, champion, *words), decision.verdict, rows[0], rows[1],
                  decision.gain.half, sign)
        )  # fmt: skip
        if decision.verdict == "keep":
            champion, level = number, truth
            theirs = truth + random.normal(0, 0.03, RULES.cap)
    return challenges


def study_with(challenges: Sequence[Challenge], begins: bool = True) -> optuna.Study:
    space = {"optim.lr": FloatDistribution(1e-3, 1.0)}
    rows = [([2.2 + 0.1 * k], {"optim.lr": 0.1 + 0.1 * k}) for k in range(3)]
    study = made_study(rows, space, config={"seed": 0, "optim.lr": 0.1})
    name_winner(study, 0, 2.2, 0.02)
    if begins:
        CAMPAIGN.write(study)
    for challenge in challenges:
        challenge.write(study)
    return study


def page_of(study: optuna.Study) -> tuple[Page, Section]:
    page = study_page(read_study(study, Additions(), PLACE), Additions())
    return page, next(section for section in page.sections if section.title == "Campaign")


def test_a_study_without_a_campaign_has_no_section() -> None:
    with pytest.raises(StopIteration):
        page_of(study_with([], begins=False))


def test_a_campaign_that_has_begun_says_what_it_declares() -> None:
    page, section = page_of(study_with([]))
    version = version_of(CAMPAIGN)
    assert section.text == (
        "0 of at most 100 challenges. If nothing you try is better, the chance that the campaign "
        "keeps anything is at most 5 %. Terms: minimize objective; budget optim.steps=200; "
        f"evaluators unchanged (version {version})."
    )
    assert (section.pictures, section.tables) == ((), ())
    assert "challenge" not in page.verdict


def test_a_page_tells_who_is_champion_and_what_was_tried() -> None:
    challenges = [NO_OP, FIRST, OPEN, failed(5, 2), begun(6, 2, "n=1", files=["net.py"])]
    page, section = page_of(study_with(challenges))
    assert page.verdict == (
        "Challenge 2 is the champion: better by 0.1000 ± 0.0300 than trial 0, the confirmed winner "
        "(2.2000 ± 0.0200)."
    )
    # its mean over the three seeds with which it met challenge 3
    level = t_interval(OPEN.champion_values)
    assert page.number == (
        f"2.1000 ± {level.half:.4f}",
        "objective, lower is better, challenge 2 over 3 fresh seeds, 95 %",
    )
    assert page.settings == "python app.py n=2"
    assert page.chips == ["5 challenges", "3 trials"]
    assert section.text.startswith(
        "5 of at most 100 challenges; 19 runs in 12 s, each measured on the same dev split. If"
    )
    (table,) = section.tables
    assert [row[:5] for row in table.rows] == [
        (2, "kept", pytest.approx(0.1), 0.03, 4),
        (3, "undecided", pytest.approx(1 / 30), 0.2, 3),
        (1, "discarded", pytest.approx(-0.1), 5.0, 2),
        (5, "discarded", None, None, 0),
        (6, "not decided yet", None, None, 0),
    ]
    assert table.kept == [0]
    assert table.rows[-1][5] == "n=1 · net.py"
    assert standing(CAMPAIGN, challenges) == (
        "5 of at most 100 challenges: 1 kept, 1 undecided, 2 discarded, 1 not decided yet; the "
        "champion is challenge 2"
    )


def test_a_champion_that_has_met_no_challenge_is_known_by_its_gain() -> None:
    page, _ = page_of(study_with([NO_OP, replace(FIRST, changed=("net.py",))]))
    assert page.number == (
        "+0.1000 ± 0.0300",
        "gain of challenge 2 over the confirmed winner, objective, lower is better, 4 seeds, 95 %",
    )
    assert page.settings == "python app.py n=2; changed code: net.py"


def test_a_winner_that_is_still_champion_leads_its_page() -> None:
    page, _ = page_of(study_with([NO_OP]))
    assert page.verdict.startswith("Trial 0 wins at 2.2000 ± 0.0200 over 4 final seeds")
    assert page.number is not None
    assert page.number[0] == "2.2000 ± 0.0200"
    assert page.settings == "optim.lr=0.1"


def test_the_page_of_a_challenge_names_the_page_of_its_campaign() -> None:
    study = made_study([([2.0], {"n": 1})], name="s.challenge-2")
    facts = dict(study_page(read_study(study, Additions(), PLACE), Additions()).facts)
    assert facts["part of"].startswith("a campaign: sweepmore report s")


def test_a_later_champion_is_named_with_the_one_that_it_beat() -> None:
    page, _ = page_of(study_with([NO_OP, FIRST, OPEN, SECOND]))
    assert page.verdict == (
        "Challenge 4 is the champion: better by 0.2000 ± 0.0500 than challenge 2; 2 challenges "
        "have been kept since trial 0, the confirmed winner (2.2000 ± 0.0200)."
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    challenges = simulated(98, {7: 0.1, 20: 0.08})
    champion = max(each.number for each in challenges if each.verdict == "keep")
    study = study_with([*challenges, failed(99, champion), begun(100, champion)])
    return write(page_of(study)[0], tmp_path_factory.mktemp("campaign"))


@pytest.mark.system
def test_a_hundred_challenges_make_a_page_that_can_be_sent(written: Path) -> None:
    assert written.stat().st_size < 2_000_000


@pytest.mark.system
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_anybody_can_read_a_campaign_in_a_browser(
    browser: Browser, written: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    """Its rows, its dots with their words, its place in the contents; axe-core finds no fault."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(written.as_uri())
    section = page.locator("section#campaign")
    rows = section.locator("tbody tr")
    assert rows.count() == 100
    assert rows.locator("visible=true").count() == 12
    assert [rows.nth(k).locator("td").all_inner_texts()[:2] for k in (0, 1)] == [
        ["7", "kept"],
        ["20", "kept"],
    ]
    verdicts = rows.evaluate_all("all => all.map(each => each.cells[1].textContent)")
    assert "undecided" in verdicts[2:12]
    assert not {"kept", "undecided"} & set(verdicts[12:])
    if width == 1280:  # no column is cut off
        assert section.locator(".scroll").evaluate("each => each.scrollWidth <= each.clientWidth")
    section.get_by_role("button", name="Show all 100 rows").click()
    assert rows.locator("visible=true").count() == 100
    assert rows.nth(98).locator("td").all_inner_texts()[1:5] == ["discarded", "–", "–", "0"]
    # a hundred dots, each with its words, in the form for this width
    form = section.locator(".narrow" if width == 390 else ".wide")
    dots = form.locator("g[id*='-points-campaign-'] use")
    assert form.is_visible()
    told = dots.locator("title").evaluate_all("all => all.map(each => each.textContent)")
    assert sorted(int(words.split()[1]) for words in told) == [*range(1, 101)]
    assert "challenge 99 · discarded · seed 7 diverged" in told
    frame = form.locator("svg").bounding_box()
    boxes = dots.evaluate_all("all => all.map(each => each.getBoundingClientRect().toJSON())")
    assert frame is not None
    assert all(frame["x"] < b["left"] and b["right"] < frame["x"] + frame["width"] for b in boxes)
    assert all(frame["y"] < b["top"] and b["bottom"] < frame["y"] + frame["height"] for b in boxes)
    # it can be found and read
    assert page.locator("nav a[href='#campaign']").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert min(page.evaluate(SIZES)) >= 10
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    assert found.violations_count == 0, found.generate_report()
    page.close()


def test_the_next_step_is_to_confirm_the_champion_and_then_its_page() -> None:
    study = study_with([FIRST])
    named = f"{study.study_name}.challenge-2"
    kept = optuna.create_study(study_name=named, storage=study._storage)
    kept.add_trial(study.trials[0])
    for verb, how in (("confirm", "over fresh seeds"), ("report", "its own page has it")):
        page, _ = page_of(study)
        label, command = page.commands[0]
        assert label == f"The number to report of challenge 2, {how}:"
        assert command.split()[:3] == ["sweepmore", verb, named]
        if verb == "confirm":
            name_winner(kept, 0, 2.1, 0.02)
