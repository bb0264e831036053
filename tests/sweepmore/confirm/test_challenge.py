"""Keep, discard or undecided: a foreign application without torch, in real processes."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import optuna
import pytest

from sweepmore.command.challenge import CODES
from sweepmore.confirm.challenge import ended, more
from sweepmore.confirm.challenge_checks import (
    Request,
    check_champion,
    check_seed,
    check_words,
    refuse_other_rules,
)
from sweepmore.confirm.challenge_printing import challenge_json, changes, times, version_of
from sweepmore.confirm.retrain import Plan
from sweepmore.confirm.seeded import Runs, asking
from sweepmore.confirm.seeded import _runs as runs_of
from sweepmore.errors import ConfigError, StudyError
from sweepmore.statistics.intervals import Interval
from sweepmore.statistics.sequential import Decision
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.campaigns import Campaign, Challenge, challenges_of, champions_of
from sweepmore.study.terms import Terms
from sweepmore.study.view import view
from tests.support.attempts import attempt
from tests.support.challenged import FILES, LUCKY, Challenged, Done, git, replaced
from tests.support.fault_shim.loop import EACH, Ended, forked
from tests.support.fault_shim.shim import Faults
from tests.support.helpers import ROOT
from tests.support.sweep_apps import until

SCHEMA = json.loads((ROOT / "src/sweepmore/command/schemas/challenge.json").read_text())
system = pytest.mark.system

BEGUN = Challenge(7, 0, ("python", "app.py"), ".", "0123abcd", (), "2026-11-29T12:00:00+00:00")
CAMPAIGN = Campaign(
    horizon=9,
    cap=8,
    alpha=0.05,
    seed_key="seed",
    used=(0, 1),
    terms=Terms("data", "minimize loss", {"steps": 4}),
    evaluators={"evaluate.py": "00"},
    begun="2026-11-29T12:00:00+00:00",
)


def checked(done: Done) -> Any:
    """The strict JSON of a challenge, valid by its schema."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    facts = json.loads(done.stdout, parse_constant=refuse)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(facts, SCHEMA, format_checker=jsonschema.FormatChecker())
    return facts


# parts that are numbers and words


class TestWords:
    @pytest.mark.parametrize(
        "typed",
        [
            "python app.py x=1,2",
            "python app.py x=range(1,3)",
            "python app.py x=choice(1,2)",
            "python app.py +x=interval(0,1)",
            "python app.py -m",
            "python app.py x=1 -m",
            "python app.py -m x=1",
            "python -m package.app -m",
            "python app.py x=1 --multirun",
            "python app.py hydra.sweeper.n_trials=3",
            "python app.py hydra/sweeper=basic",
            "python app.py +hydra.sweeper.params.x=1",
        ],
    )
    def test_a_sweep_is_refused(self, typed: str) -> None:
        with pytest.raises(ConfigError) as refused:
            check_words(Request("s", tuple(typed.split()), Path("/app")), Path("/app"))
        assert "one" in f"{refused.value}"

    @pytest.mark.parametrize(
        "typed",
        [
            "",
            "python app.py",
            "python -m package.app x=1",
            "python -u -m package.app x=1",
            "env THREADS=1 python -m package.app",
            "torchrun -m package.app x=[1,2]",
            "python app.py x=1 --config-name=other hydra/launcher=joblib",
        ],
    )
    def test_one_run_is_not(self, typed: str) -> None:
        check_words(Request("s", tuple(typed.split()), Path("/app/sub")), Path("/app"))

    def test_another_folder_is_named(self) -> None:
        with pytest.raises(ConfigError, match="/elsewhere") as refused:
            check_words(Request("s", ("python", "app.py"), Path("/elsewhere")), Path("/app"))
        assert refused.value.cure == "Go there first: cd /app"

    @pytest.mark.parametrize("word", ["data.path=../data", "--data=../data", "../data"])
    def test_a_relative_path_out_of_the_code_is_not_found_in_a_copy(
        self, tmp_path: Path, word: str
    ) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "app" / "sub").mkdir(parents=True)
        root = tmp_path / "app"
        with pytest.raises(ConfigError) as refused:
            check_words(Request("s", ("python", "app.py", word), root), root)
        assert refused.value.cure == f"Give the absolute path: {tmp_path / 'data'}"
        # from a folder below, the same words stay inside; and what leads nowhere is no path
        check_words(Request("s", ("python", "app.py", word), root / "sub"), root)
        check_words(Request("s", ("python", "app.py", "x=..."), root), root)

    @pytest.mark.parametrize("word", ["seed=1", "+seed=1", "++seed=1"])
    def test_the_seed_is_not_chosen(self, word: str) -> None:
        with pytest.raises(ConfigError, match="chooses the seed") as refused:
            check_seed(["python", "app.py", word], "seed")
        assert "the campaign draws" in refused.value.cure

    def test_another_seed_is(self) -> None:
        check_seed(["python", "app.py", "data.seed=1", "seeds=3"], "seed")
        with pytest.raises(ConfigError):
            check_seed(["python", "app.py", "data.seed=1"], "data.seed")

    def test_asked_numbers_replace_those_of_the_row(self) -> None:
        row = ["a=1", "hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1", "--multirun"]
        assert asking(row, 8, 2)[1:3] == ["hydra.sweeper.n_trials=8", "hydra.sweeper.n_jobs=2"]


@pytest.mark.parametrize(
    ("seconds", "jobs", "count"),
    [([0.1] * 3, 1, 4), ([0.5], 1, 4), ([1.0], 1, 2), ([2.0], 1, 1), ([60.0], 3, 3), ([], 1, 4)],
)
def test_short_runs_are_trained_several_at_once(
    seconds: list[float], jobs: int, count: int
) -> None:
    """By hand: as many as last 2 s together, 4 at most; no fewer than there are workers."""
    assert more(seconds, jobs) == count


class TestTheRecord:
    def test_it_is_read_as_it_was_written(self) -> None:
        study = optuna.create_study()
        decided = replace(
            BEGUN, verdict="keep", seeds=(1, 2), values=(0.5, 1.0), gain=0.25, half=0.5, runs=4
        )
        BEGUN.write(study)
        replace(decided, number=12).write(study)
        assert challenges_of(study) == [BEGUN, replace(decided, number=12)]
        assert champions_of(challenges_of(study)) == [0, 12]
        BEGUN.erase(study)
        assert [each.number for each in challenges_of(study)] == [12]
        CAMPAIGN.write(study)
        assert Campaign.of(study) == CAMPAIGN
        assert Campaign.of(optuna.create_study()) is None

    def test_keys_of_a_later_version_are_left_out(self) -> None:
        assert Challenge.read({**vars(BEGUN), "later": 1}) == BEGUN

    def test_an_interval_needs_two_pairs(self) -> None:
        assert BEGUN.interval is None
        assert replace(BEGUN, gain=1.0, half=0.5).interval == Interval(1.0, 0.5)

    def test_the_same_challenge(self) -> None:
        """The one that made the champion is no challenge to it."""
        assert BEGUN.is_same(replace(BEGUN, number=8, begun="later"), 0)
        assert BEGUN.is_same(replace(BEGUN, number=8), 7)
        assert not BEGUN.is_same(BEGUN, 3)
        for other in (
            replace(BEGUN, words=("python", "app.py", "x=1")),
            replace(BEGUN, code="3210abcd"),
            replace(BEGUN, folder="sub"),
        ):
            assert not BEGUN.is_same(other, 0)

    def test_terms_name_each_difference(self) -> None:
        other = Terms("data 2", "maximize loss", {"steps": 8, "width": None})
        assert CAMPAIGN.terms.against(other) == [
            "data: data → data 2",
            "metric: minimize loss → maximize loss",
            "steps: 4 → 8",
        ]
        assert CAMPAIGN.terms.against(CAMPAIGN.terms) == []

    def test_evaluators_have_a_version(self) -> None:
        other = replace(CAMPAIGN, evaluators={"evaluate.py": "01"})
        assert version_of(CAMPAIGN) != version_of(other)
        assert "names none" in version_of(replace(CAMPAIGN, evaluators={}))


class TestRuns:
    """What the trials of a study say, seed by seed."""

    SEEDS = (10, 11, 12, 13)

    def runs(self, *values: tuple[int, float | None]) -> Runs:
        """Of trials with these seeds, in the order in which they ended; None failed."""
        return runs_of(
            [
                attempt(
                    number, number, "FAIL" if value is None else "COMPLETE",
                    params={"seed": seed}, values=None if value is None else (value,),
                    seconds=float(seed), attrs={"error": "at line 1\nValueError: no"},
                )
                for number, (seed, value) in enumerate(values)
            ],
            "seed",
            self.SEEDS,
        )  # fmt: skip

    def test_they_are_in_the_order_of_the_seeds(self) -> None:
        assert self.runs((11, 2.0), (10, 1.0)) == Runs((1.0, 2.0), (10.0, 11.0))
        assert self.runs() == Runs((), ())

    @pytest.mark.parametrize(
        ("value", "failure"),
        [
            (None, "with seed 11 it failed: ValueError: no"),
            (math.inf, "with seed 11 it diverged"),
            (-math.inf, "with seed 11 it diverged"),
        ],
    )
    def test_they_end_before_the_first_failure(self, value: float | None, failure: str) -> None:
        runs = self.runs((10, 1.0), (11, value), (12, 3.0))
        assert runs == Runs((1.0,), (10.0, 11.0, 12.0), failure)

    def test_a_seed_that_was_given_up_shifts_no_pair(self) -> None:
        """Its worker died each time, so that it has no trial that counts."""
        runs = self.runs((10, 1.0), (12, 3.0))
        assert runs.values == (1.0,)
        assert runs.failure == "with seed 11 its worker died again and again"


class TestTheEnd:
    DECISION = Decision("discard", "no better on average", 2, Interval(-1.0, 3.0))

    def test_values_are_those_that_decided(self) -> None:
        own, other = Runs((2.0, 3.0, 4.0), (1.0,) * 3), Runs((1.0, 2.0), (3.0, 5.0))
        done = ended(BEGUN, self.DECISION, own, other, had=1)
        assert (done.verdict, done.values, done.champion_values) == (
            "discard", (2.0, 3.0), (1.0, 2.0),
        )  # fmt: skip
        assert (done.gain, done.half) == (-1.0, 3.0)
        assert (done.seconds, done.champion_seconds) == (1.0, 4.0)
        # three runs of its own, and one of the champion's two is new
        assert (done.runs, done.champion_runs, done.spent) == (4, 1, 8.0)

    def test_the_time_of_a_run_is_its_training_where_that_is_known(self) -> None:
        """Of a process's runs the first is the slowest, so the median counts, not the mean."""
        own = Runs((2.0, 3.0, 4.0), (9.0, 2.0, 2.5), "", (6.0, 0.5, 1.0))
        other = Runs((1.0, 2.0, 2.0), (9.0, 2.0, 2.5))
        done = ended(BEGUN, self.DECISION, own, other, had=0)
        assert (done.seconds, done.champion_seconds, done.spent) == (1.0, 2.5, 27.0)

    def test_a_failure_decides_where_the_values_before_it_do_not(self) -> None:
        failed, fine = Runs((1.0,), (1.0, 1.0), "it diverged"), Runs((2.0, 2.0), (1.0, 1.0))
        alone = ended(BEGUN, None, failed, fine, 0)
        assert (alone.verdict, alone.reason) == ("discard", "it diverged")
        assert (alone.values, alone.champion_values, alone.gain) == ((1.0,), (2.0,), None)
        assert ended(BEGUN, self.DECISION, failed, fine, 0).reason == "no better on average"

    def test_a_champion_that_fails_decides_nothing(self) -> None:
        failed, fine = Runs((1.0,), (1.0, 1.0), "it diverged"), Runs((2.0, 2.0), (1.0, 1.0))
        done = ended(BEGUN, None, fine, failed, 0)
        assert (done.verdict, done.values) == ("undecided", (2.0,))
        assert "the champion cannot be compared: it diverged" in done.reason


def test_printed_words() -> None:
    assert changes(BEGUN) == "as the champion's"
    assert changes(replace(BEGUN, changed=("a.py",))) == "1 file changed: a.py"
    many = tuple(f"{n}.py" for n in range(7))
    assert changes(replace(BEGUN, changed=many)).endswith("4.py, …")
    assert times(replace(BEGUN, seconds=3.0, champion_seconds=2.0)) == "1.50 ×"
    assert times(BEGUN) is None
    json.dumps(challenge_json(BEGUN), allow_nan=False)


def test_only_the_present_champion_is_challenged_by_its_number() -> None:
    study = optuna.create_study(study_name="s")
    for named in ("s", "s.confirm"):
        check_champion(study, named)
    replace(BEGUN, verdict="keep").write(study)
    replace(BEGUN, number=8, verdict="discard").write(study)
    check_champion(study, "s.challenge-7")
    for named in ("s.challenge-8", "s.challenge-9"):
        with pytest.raises(StudyError, match=f"{named} is not the champion: challenge 7 is"):
            check_champion(study, named)


def test_rules_are_declared_once() -> None:
    refuse_other_rules(CAMPAIGN, Request("s", (), Path(), horizon=9, cap=8))
    refuse_other_rules(CAMPAIGN, Request("s", (), Path()))
    with pytest.raises(StudyError, match="declared horizon 9, not 10"):
        refuse_other_rules(CAMPAIGN, Request("s", (), Path(), horizon=10))
    with pytest.raises(StudyError, match="declared cap 8, not 24"):
        refuse_other_rules(CAMPAIGN, Request("s", (), Path(), cap=24))


# a foreign application


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("challenged") / "my app"


@pytest.fixture(scope="module")
def confirmed(place: Path) -> Path:
    """A template: study `s` has a confirmed winner, x=1."""
    made = Challenged.written(place)
    made.commit()
    made.search("x=0,1", "hydra.sweeper.study_name=s")
    assert made.called("confirm", "s", "--top", "1", "--seeds", "2").returncode == 0
    return kept(made, "confirmed")


@pytest.fixture(scope="module")
def campaigned(place: Path, confirmed: Path) -> Path:
    """A template: one challenge was undecided, at the cap, so the champion has all its runs."""
    made = replaced(confirmed, place)
    options = ("--cap", "8", "--horizon", "4")
    done = made.called("challenge", "s", *options, "--json", "--", *LUCKY)
    assert done.returncode == CODES["undecided"], done
    checked(done)
    return kept(made, "campaigned")


def kept(made: Challenged, name: str) -> Path:
    return Path(shutil.copytree(made.folder, made.folder.parent / name, symlinks=True))


@pytest.fixture
def app(place: Path, campaigned: Path) -> Challenged:
    return replaced(campaigned, place)


@pytest.fixture
def fresh(place: Path, confirmed: Path) -> Challenged:
    """The same before any challenge."""
    return replaced(confirmed, place)


@system
class TestVerdicts:
    def test_undecided_at_the_cap(self, app: Challenged) -> None:
        (lucky,) = app.challenges()
        assert (lucky.verdict, len(lucky.seeds), lucky.runs) == ("undecided", 8, 16)
        assert lucky.words == LUCKY
        # Values are paired by seed, in the order of the seeds.
        assert [*app.by_seed("s.challenge-1")] == [*app.by_seed("s.champion-0")] == [*lucky.seeds]
        assert tuple(app.by_seed("s.challenge-1").values()) == lucky.values
        assert tuple(app.by_seed("s.champion-0").values()) == lucky.champion_values
        # Neither the search nor the confirmation has used the champion's seeds.
        plan = Plan.kept(app.study(), ".confirm")
        assert plan is not None
        assert not {0, *plan.seeds} & {*lucky.seeds}
        campaign = Campaign.of(app.study())
        assert campaign is not None
        assert campaign.used == tuple(sorted({0, *plan.seeds}))
        # The gain is by hand that of the values.
        gains = [their - my for their, my in zip(lucky.champion_values, lucky.values)]
        assert lucky.gain == pytest.approx(sum(gains) / 8)
        assert "001/code" not in app.campaign_files()  # its diff says what it was

    def test_no_better_goes_after_two_seeds(self, app: Challenged) -> None:
        done = app.challenge("x=0", code=10)
        assert "DISCARD  no better on average" in done.stdout
        assert "gain     −5.0000" in done.stdout  # (1 − 3)² − (0 − 3)²
        decided = app.challenges()[-1]
        assert (decided.runs, len(decided.seeds)) == (2, 2)
        # The same command is answered from the record.
        before = app.left()
        again = app.challenge("x=0", code=10)
        assert f"(decided {decided.ended}, nothing was trained)" in again.stdout
        assert app.left() == before

    def test_what_was_kept_is_confirmed_by_seeds_of_its_own(self, app: Challenged) -> None:
        """Its trials differ in their seed alone, so they are one configuration, by their mean."""
        app.challenge("x=2", code=0)
        done = app.called("confirm", "s.challenge-2", "--seeds", "3")
        assert done.returncode == 0, done
        study = optuna.load_study(study_name="s.challenge-2.confirm", storage=app.storage)
        winner = StudyAttributes.of(study).winner
        assert winner is not None
        assert (winner.params, winner.seeds, winner.tied) == ({}, 3, 1)
        kept = app.challenges()[-1]
        values = [value for value in app.by_seed("s.challenge-2").values() if value is not None]
        assert winner.searched == pytest.approx(statistics.fmean(values))
        (trial,) = view(study).counted
        plan = Plan.kept(app.study("s.challenge-2"), ".confirm")
        assert plan is not None
        assert not {*plan.seeds} & {*kept.seeds}
        assert len(trial.attrs.repeats or ()) == 3
        # Commands that are offered for it are those of the application, not of the copy.
        application = StudyAttributes.of(app.study("s.challenge-2")).application
        assert application is not None
        assert application.root == str(app.folder)
        assert "campaign" not in done.stdout.partition("next ")[2]

    @pytest.mark.parametrize(
        ("old", "new"),
        [("import math", "# a comment\nimport math"), ("step", "number")],
        ids=["comment", "renamed"],
    )
    def test_the_same_bits_are_identical(self, old: str, new: str, app: Challenged) -> None:
        app.edit("model.py", old, new)
        done = app.challenge("x=1", code=10)
        assert "code     1 file changed: model.py" in done.stdout
        assert "DISCARD  identical" in done.stdout
        decided = app.challenges()[-1]
        assert decided.values == decided.champion_values
        diff = (app.folder / "outputs/studies/s/campaign/002/diff.patch").read_text()
        assert new.splitlines()[0] in diff

    @pytest.mark.parametrize(
        ("does", "reason"),
        [("raise", "it failed: ValueError: it cannot"), ("diverge", "it diverged")],
    )
    def test_a_failure_is_a_verdict(self, does: str, reason: str, app: Challenged) -> None:
        facts = checked(app.challenge(f"does={does}", options=("--json",), code=10))
        (decided,) = facts["challenges"]
        assert decided["verdict"] == "discard"
        assert reason in decided["reason"]
        assert decided["gain"] is None
        assert "with seed" in decided["reason"]

    def test_better_is_kept_and_is_the_next_champion(self, app: Challenged) -> None:
        kept = app.challenge("x=2", code=0)
        assert "KEEP     better beyond the noise of 4 seeds" in kept.stdout
        assert "champion is now challenge 2" in kept.stdout
        before = app.left()
        assert "nothing was trained" in app.challenge("x=2", code=0).stdout
        assert app.left() == before
        # Its runs as champion have seeds that neither chose it nor were the first champion's.
        lost = app.called("challenge", "s.challenge-2", "--", "python", "app.py", "x=1.5")
        assert lost.returncode == 10, lost
        of_winner, of_kept = app.challenges()[1:3]
        assert (of_kept.number, of_kept.champion) == (3, 2)
        assert not {*of_kept.seeds} & {*app.by_seed("s.champion-0"), *app.by_seed("s.challenge-2")}
        assert {*of_kept.seeds} <= {*app.by_seed("s.champion-2")}
        assert of_winner.seeds == app.challenges()[0].seeds[:4]
        # The one before it is no champion any more; last is of the same campaign.
        refused = app.called("challenge", "s.challenge-1", "--", "python", "app.py", "x=3")
        assert refused.returncode == 2
        assert "s.challenge-1 is not the champion: challenge 2 is." in refused.stderr
        shown = app.called("challenge", "last")
        assert shown.stdout.startswith("campaign s: 3 of at most 4 challenges"), shown
        facts = checked(app.called("challenge", "s", "--json"))
        assert facts["campaign"]["champion"] == 2
        assert facts["campaign"]["runs"] == sum(each["runs"] for each in facts["challenges"])
        assert [each["verdict"] for each in facts["challenges"]] == ["undecided", "keep", "discard"]

    def test_two_workers_decide_as_one_does(self, app: Challenged) -> None:
        (with_one,) = app.challenges()
        with_one.erase(app.study())
        optuna.delete_study(study_name="s.challenge-1", storage=app.storage)
        done = app.called("challenge", "s", "--jobs", "2", "--", *LUCKY)
        assert done.returncode == CODES["undecided"], done
        (with_two,) = app.challenges()
        names = ("verdict", "reason", "seeds", "values", "champion_values", "gain", "half")
        for name in names:
            assert getattr(with_two, name) == getattr(with_one, name), name


@system
class TestRefusals:
    """Before anything is trained, and with nothing left behind."""

    def refused(self, app: Challenged, *words: str, options: tuple[str, ...] = ()) -> str:
        before = app.left()
        done = app.challenge(*words, options=options)
        assert done.returncode == 2, done
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("error: ") == 1
        assert len(done.stderr.splitlines()) >= 2, "problem and cure"
        assert "Traceback" not in done.stderr
        assert app.left() == before
        return done.stderr

    def test_of_words(self, app: Challenged) -> None:
        assert "names several values" in self.refused(app, "x=2,3")
        assert "not a sweep" in self.refused(app, "x=2", "-m")
        assert "chooses the seed" in self.refused(app, "seed=3")
        assert "declared cap 8, not 9" in self.refused(app, "x=2", options=("--cap", "9"))
        assert "declared horizon 4, not 5" in self.refused(app, "x=2", options=("--horizon", "5"))

    def test_of_the_command_itself(self, app: Challenged) -> None:
        assert "Could not override 'nope'" in self.refused(app, "nope=1")
        before = app.left()
        for command, said in {
            "pithon app.py": "pithon cannot be started: No such file",
            "python gone.py": "gone.py': [Errno 2] No such file or directory",
            "python app.py --strange": "unrecognized arguments: --strange",
            "true": "it is no search: true",
        }.items():
            done = app.called("challenge", "s", "--", *command.split())
            assert done.returncode == 2, done
            assert done.stderr.startswith("error: ")
            assert said in done.stderr
            assert app.left() == before

    def test_of_other_terms(self, app: Challenged) -> None:
        budget = self.refused(app, "x=2", "steps=8")
        assert "    steps: 4 → 8\n" in budget
        (app.folder / "data.txt").write_text("other data\n")
        assert "    data: " in self.refused(app, "x=2")
        (app.folder / "data.txt").write_text(FILES["data.txt"])
        app.edit("app.py", '("loss",)', '("loss, halved",)')
        assert "metric: minimize loss → minimize loss, halved" in self.refused(app, "x=2")

    def test_of_another_evaluator(self, app: Challenged) -> None:
        app.edit("evaluate.py", "** 2", "** 4")
        refused = self.refused(app, "x=2")
        assert "changes what a value means: evaluate.py." in refused
        (app.folder / "evaluate.py").unlink()
        assert "changes what a value means: evaluate.py." in self.refused(app, "x=2")

    def test_of_more_than_the_horizon(self, app: Challenged) -> None:
        for number in (2, 3, 4):
            replace(BEGUN, number=number, verdict="discard").write(app.study())
        assert "The campaign of s has had its 4 challenges." in self.refused(app, "x=2")

    def test_of_a_study_without_a_winner(self, fresh: Challenged) -> None:
        optuna.delete_study(study_name="s.confirm", storage=fresh.storage)
        before = fresh.left()
        done = fresh.challenge("x=2", code=2)
        assert "s has no champion yet." in done.stderr
        assert "sweepmore confirm s" in done.stderr
        assert not (fresh.folder / "outputs/studies/s/campaign").exists()
        assert fresh.left() == before

    def test_of_another_folder(self, app: Challenged, tmp_path: Path) -> None:
        """Outside the application, and in a checkout within it, whose code is not the copy's."""
        git(app.folder, "worktree", "add", "-q", ".trees/one")
        before = app.left()
        words = ("challenge", "s", "--outputs", str(app.folder / "outputs"))
        for folder in (tmp_path, app.folder / ".trees" / "one"):
            done = Challenged(folder).called(*words, "--", "python", "app.py", "x=2")
            assert done.returncode == 2, done
            assert str(app.folder) in done.stderr
            assert app.left() == before


@system
class TestTheBeginning:
    def test_code_that_changed_since_the_confirmation(self, fresh: Challenged) -> None:
        """With the cure that the message names, which then challenges with the change."""
        fresh.edit("model.py", "else cfg.x", "else cfg.x - 1")
        before = fresh.left()
        done = fresh.challenge(code=2)
        assert "The code has changed since s was confirmed" in done.stderr
        assert fresh.left() == before
        git(fresh.folder, "stash", "-q")
        begun = fresh.called("challenge", "s", "--cap", "8")
        assert begun.returncode == 0, begun
        assert begun.stdout.startswith("campaign s: 0 of at most 100 challenges, 8 seeds each")
        git(fresh.folder, "stash", "pop", "-q")
        done = fresh.challenge("x=1", code=10)
        assert "code     1 file changed: model.py" in done.stdout
        assert "gain     −5.0000" in done.stdout  # (1 − 3)² − (0 − 3)²

    def test_a_later_confirmation_leaves_the_champion(self, app: Challenged) -> None:
        """Its winner may be another; the campaign is against the one of its beginning."""
        wins = StudyAttributes.of(app.study("s.confirm")).winner
        assert wins is not None
        StudyAttributes(winner=replace(wins, trial=0, params={"x": 0.0})).write(
            app.study("s.confirm")
        )
        optuna.delete_study(study_name="s.champion-0", storage=app.storage)
        shutil.rmtree(app.folder / "outputs/studies/s.champion-0")
        app.challenge("x=0.5", code=10)
        assert app.challenges()[-1].champion_values == (4.0, 4.0)  # of x=1, not of x=0


@system
class TestWhileItRuns:
    def test_later_edits_change_nothing(self, app: Challenged, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        words = ("challenge", "s", "--", "python", "app.py", "x=2", f"gate={gate}")
        process = app.started(*words)
        until(Path(f"{gate}.reached").exists)
        app.edit("model.py", "else cfg.x", "else -100")
        app.edit("conf/config.yaml", "x: 0.0", "x: -100")
        app.edit("evaluate.py", "** 2", "** 4")
        gate.touch()
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
        assert "gain     +3.0000" in out

    def test_signals_stop_it_and_the_same_command_continues(
        self, app: Challenged, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        words = ("challenge", "s", "--", "python", "app.py", "x=2", f"gate={gate}")
        reached = Path(f"{gate}.reached")
        for signum in (signal.SIGINT, signal.SIGTERM):
            process = app.started(*words)
            until(reached.exists)
            process.send_signal(signum)
            out, err = process.communicate(timeout=240)
            assert process.returncode == 128 + signum, out + err
            assert "Traceback" not in err
            assert app.processes() == []
            assert app.challenges()[-1].verdict is None
            reached.unlink()
        gate.touch()
        done = app.called(*words)
        assert done.returncode == 0, done
        assert_kept(app)

    def test_killed_while_it_trains_the_same_command_continues(
        self, app: Challenged, tmp_path: Path
    ) -> None:
        """What it had started trains on; both share the study, and no run is doubled."""
        gate = tmp_path / "gate"
        words = ("challenge", "s", "--", "python", "app.py", "x=2", f"gate={gate}")
        process = app.started(*words)
        until(Path(f"{gate}.reached").exists)
        process.kill()
        process.communicate()
        again = app.started(*words)
        until(lambda: len(app.processes()) >= 3)
        gate.touch()
        out, err = again.communicate(timeout=240)
        assert again.returncode == 0, out + err
        until(lambda: app.processes() == [])
        assert_kept(app)

    def test_two_at_once_take_turns(self, app: Challenged, tmp_path: Path) -> None:
        """Two that differ are two challenges, and the same one twice is one."""
        gate = tmp_path / "gate"
        words = ("challenge", "s", "--json", "--", "python", "app.py", "x=2", f"gate={gate}")
        first = app.started(*words)
        until(Path(f"{gate}.reached").exists)
        same, other = app.started(*words), app.started("challenge", "s", "--", "python", "app.py")
        told = [process.stderr.readline() for process in (same, other) if process.stderr]
        assert told == ["waiting  for another challenge of s to end\n"] * 2
        gate.touch()
        ends = [process.communicate(timeout=240) for process in (first, same, other)]
        assert [p.returncode for p in (first, same, other)] == [0, 0, 10], ends
        facts = [json.loads(out)["challenges"][0] for out, _ in ends[:2]]
        assert facts[0] == facts[1]
        in_turn = [(each.number, each.verdict) for each in app.challenges()[1:]]
        assert in_turn == [(2, "keep"), (3, "discard")]


def assert_kept(app: Challenged) -> None:
    """One challenge beside the first, kept after four seeds, each run once, each run counted."""
    _, decided = app.challenges()
    assert (decided.number, decided.verdict, len(decided.seeds)) == (2, "keep", 4)
    values = app.by_seed("s.challenge-2")
    assert len(values) == decided.runs  # those of the champion were there before
    assert tuple(values[seed] for seed in decided.seeds) == decided.values
    gains = [theirs - own for theirs, own in zip(decided.champion_values, decided.values)]
    assert gains == pytest.approx([3.0] * 4)


# kill -9 at each write


def killed_at(app: Challenged, template: Path, n: int, words: tuple[str, ...]) -> Ended:
    replaced(template, app.folder)
    log = app.folder.parent / f"{n}.log"
    return forked(lambda: shown(app, words), Faults(n, "kill9", (app.folder,), log))


def shown(app: Challenged, words: tuple[str, ...]) -> None:
    done = app.called("challenge", "s", *words)
    print(done.stdout)
    raise SystemExit(f"{done.stderr}" if done.returncode not in CODES.values() else done.returncode)


def answered(app: Challenged, words: tuple[str, ...]) -> dict[str, Any]:
    """What a challenge says at last, without what depends on the clock.

    Runs that are short are trained several at once, so their number depends on it, too.
    """
    facts = checked(app.called("challenge", "s", "--json", *words))
    (decided,) = facts["challenges"]
    trained = [len(app.by_seed(f"s.{name}")) for name in ("challenge-1", "champion-0")]
    assert decided["runs"] == sum(trained)
    clock = {"runs", "seconds", "seconds_a_run", "champion_seconds_a_run", "begun", "ended"}
    return {key: decided[key] for key in decided.keys() - clock}


@system
@pytest.mark.parametrize(
    "points",
    [
        range(70, 150, 70),  # in the copy of its code, and between its runs and the champion's
        pytest.param(EACH, marks=[pytest.mark.faults, pytest.mark.timeout(1800)]),
    ],
    ids=["some", "all"],
)
def test_killed_at_a_write_the_same_command_finishes(
    points: range, fresh: Challenged, record_property: Callable[[str, object], None]
) -> None:
    """The first challenge of a campaign: its beginning, the copies, the records, the verdict."""
    template = fresh.folder.parent / "confirmed"
    words = ("--cap", "8", "--horizon", "4", "--", "python", "app.py", "x=0")
    whole, passed = answered(fresh, words), 0
    for n in points:
        end = killed_at(fresh, template, n, words)
        if end.struck is None:
            assert end.code == 0, end
            break
        assert end.code == -9, end
        assert answered(fresh, words) == whole, end
        assert [each.number for each in fresh.challenges()] == [1], end
        folder = fresh.folder / "outputs/studies/s/campaign"
        assert not [*folder.glob("*/.code-*")], end
        passed += 1
    assert passed > (100 if len(points) > 2 else 0)
    record_property("points passed", f"{passed}/{passed}")


# another style of application


MODULE = {
    "src/pkg/__init__.py": "",
    "src/pkg/app.py": """
import random

import hydra
from sweepmore import register
from sweepmore.study.application import Application


@hydra.main(version_base=None, config_path="conf", config_name="config")
@register(Application(name="module", objectives=("accuracy",), budget=("net.width",)))
def main(cfg):
    return -((cfg.x - 3) ** 2) + random.Random(cfg.random_seed).gauss(0, 1) + cfg.net.bonus


if __name__ == "__main__":
    main()
""",
    "src/pkg/conf/config.yaml": """
defaults:
  - _self_
  - override hydra/sweeper: sweepmore
x: 0.0
random_seed: 0
net: {width: 2, bonus: 0.0}
hydra:
  sweeper:
    direction: maximize
    n_trials: 2
    sampler: grid
    study_name: s
    params:
      x: choice(0, 1)
      net.width: choice(2)
""",
    "src/pkg/conf/other.yaml": """
defaults:
  - config
  - _self_
x: 2
""",
}


@system
def test_a_module_without_git_that_maximizes_and_searches_its_budget(tmp_path: Path) -> None:
    """Its config searches by itself, which a challenge does not; its seed has another name."""
    app = Challenged.written(tmp_path / "module", MODULE)
    start = ("-m", "pkg.app")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
        patch.setenv("PYTHONPATH", os.pathsep.join(["src", os.environ.get("PYTHONPATH", "")]))
        app.search(start=start)
        assert app.called("confirm", "s", "--top", "1", "--seeds", "2").returncode == 0
        words = ("challenge", "s", "--cap", "8", "--json", "--", "python", *start)
        facts = checked(app.called(*words, "--config-name", "other"))
    (decided,) = facts["challenges"]
    assert (decided["verdict"], decided["gain"]) == ("keep", pytest.approx(3.0))
    assert facts["campaign"]["metric"] == "maximize accuracy"
    assert facts["campaign"]["budget"] == {"net.width": 2}
    study = app.study("s.challenge-1")
    assert {key for trial in study.get_trials() for key in trial.params} == {"random_seed"}
    assert tuple(app.by_seed("s.challenge-1", "random_seed"))[:4] == tuple(decided["seeds"])
