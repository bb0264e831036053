"""What reaches the application, what is tried first, and where the study is kept."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tests.support.secrets_of import pickles, texts_in_pickle, traces
from tests.support.sweep_apps import App, Done, Words, refusal, slots_of

NAMED = ":study_name=s"


# What is refused before any work, as command lines of one folder.
SECRET = "zR7pQ9wLx3"
NOT_SEEDS = ("-1", "4294967296", "1.5", "true")
OUT_OF_SPACE = [
    ("{x:9}", "x=9 is outside its range"),
    ("{xx:1}", "xx is not searched"),
    ("{y:7}", "y=7 is outside its range"),
]
WITH_PASSWORDS = [
    "postgresql://me:SECRET@127.0.0.1:1/d",
    "postgresql://me:SECRET@${oc.env:HOST}:1/d",
    "${oc.env:NOWHERE,postgresql://me:SECRET@127.0.0.1:1/d}",
    "postgresql://127.0.0.1:1/d?connect_timeout=3&password=SECRET",
    "postgresql://me:${oc.env:NOWHERE,SECRET}@127.0.0.1:1/d",
    "mysql://me@127.0.0.1:1/d?passwd=SECRET",
]
# Of these nothing can be shown: where SQLAlchemy sees a port, a host or no URL, a password stands.
UNREADABLE = [
    "postgresql://me:a@b:SECRET@127.0.0.1/d",
    "postgresql://me:SECRET/d",
    "postgresql://me:p@SECRET@127.0.0.1:1/d",
]
OUT_OF_REACH = [
    "sqlite:////proc/none/studies.db",
    "sqlite:///conf/config.yaml",
    "nonsense",
    "postgresql://127.0.0.1:1/d",
]


def enqueuing(point: str) -> Words:
    return "x=interval(0,4)", "y=1,2", f":enqueue=[{point}]", NAMED


def seeded(seed: str) -> Words:
    return "x=interval(0,4)", f":seed={seed}", NAMED


def stored(url: str) -> Words:
    return "x=1,2", f":storage='{url.replace('SECRET', SECRET)}'", NAMED


def not_composing(dry: str) -> tuple[Words, Words]:
    return ("model=small,nonesuch", "x=1,2", f":dry={dry}"), ("no_key=1,2", f":dry={dry}")


@dataclass(frozen=True)
class Refused:
    app: App
    done: dict[Words, Done]

    def message(self, words: Words) -> str:
        return refusal(self.done[words])


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Refused:
    app = App.copied(tmp_path_factory.mktemp("refused"))
    lines = [
        *(enqueuing(point) for point, _ in OUT_OF_SPACE),
        *map(seeded, NOT_SEEDS),
        *map(stored, WITH_PASSWORDS + UNREADABLE + OUT_OF_REACH),
        *not_composing("true"),
        *not_composing("false"),
    ]
    return Refused(app, app.each(*lines, env={"HOST": "127.0.0.1"}))


def written(app: App) -> bytes:
    """Every byte below the folder, names of files too; not the application's own."""
    files = [p for p in app.folder.rglob("*") if p.is_file()]
    return b"\n".join(str(p.relative_to(app.folder)).encode() + p.read_bytes() for p in files)


class TestValues:
    def test_type_and_every_digit_reach_the_application(self, app: App) -> None:
        app.ok(
            "does=give",
            "value=fine",
            "x=1,1.0,0.1,1e-05,0.30000000000000004",
            "y=1,'1',true,null",
            NAMED,
        )
        rows = app.seen()
        assert {row["x"] for row in rows} == {"1", "1.0", "0.1", "1e-05", "0.30000000000000004"}
        assert {row["y"] for row in rows} == {"1", "'1'", "True", "None"}
        assert len(rows) == 20

    def test_what_a_sampler_proposes_keeps_every_digit(self, app: App) -> None:
        app.ok("x=tag(log,interval(1e-6,1))", ":n_trials=5", NAMED)
        proposed = {t.number: repr(t.params["x"]) for t in app.trials()}
        assert {row["root"]: row["x"] for row in app.seen()} == proposed

    @pytest.mark.slow
    def test_a_range_is_hydras(self, app: App) -> None:
        app.ok("x=range(0,1,0.1)", NAMED, ":n_jobs=2", "hydra/sweeper/sampler=tpe", ":n_trials=4")
        hydras = {
            "0.0",
            "0.1",
            "0.2",
            "0.3",
            "0.4",
            "0.5",
            "0.6",
            "0.7000000000000001",
            "0.8",
            "0.9",
        }
        assert {row["x"] for row in app.seen()} <= hydras


class TestEnqueue:
    def test_known_configurations_go_first_and_the_sampler_completes_them(self, app: App) -> None:
        known = ":enqueue=[{x:2.5,y:3},{x:1.25}]"
        out = app.ok("x=interval(0,4)", "y=1,2,3", known, NAMED, ":n_trials=4")
        trials = app.trials()
        assert trials[0].params == {"x": 2.5, "y": 3}
        assert trials[1].params["x"] == 1.25
        assert trials[1].params["y"] in (1, 2, 3)
        assert slots_of(trials) == [0, 1, 2, 3]
        assert "2 known first" in out

    @pytest.mark.slow
    def test_before_a_grid_too(self, app: App) -> None:
        app.ok("y=1,2,3", ":enqueue=[{y:2}]", NAMED)
        assert [t.params["y"] for t in app.trials()] == [2, 1, 3]

    @pytest.mark.parametrize(("point", "told"), OUT_OF_SPACE)
    def test_refused_before_anything_is_made(self, refused: Refused, point: str, told: str) -> None:
        assert f"hydra.sweeper.enqueue: {told}" in refused.message(enqueuing(point))
        assert not (refused.app.folder / "outputs").exists()


def test_a_conditional_space(app: App) -> None:
    app.ok(
        "model=small,large",
        "x=interval(0,1)",
        ":n_trials=8",
        NAMED,
        ":custom_search_space=hooks.deeper",
        ":sampler.seed=1",
    )
    rows = {row["root"]: row for row in app.seen()}
    for trial in app.trials():
        large = trial.params["model"] == "large"
        assert ("+extra" in trial.params) is large
        assert rows[trial.number]["width"] == (20 if large else 10)
        assert rows[trial.number]["extra"] == (repr(trial.params["+extra"]) if large else "None")
    assert {row["width"] for row in rows.values()} == {10, 20}


class TestTheRetiredSeed:
    """``hydra.sweeper.seed``, in old commands and config files, is ``sampler.seed`` now."""

    def test_samples_the_same_points_and_warns(self, app: App) -> None:
        space = ("x=interval(0,1)", ":n_trials=3")
        lines = [
            (*space, word, f":study_name=s{at}")
            for at, word in enumerate([":seed=1", ":sampler.seed=1", ":sampler.seed=2"])
        ]
        ended = app.each(*lines)
        assert [ended[line].stderr.count("deprecated") for line in lines] == [1, 0, 0]
        assert "give hydra.sweeper.sampler.seed=1" in ended[lines[0]].stderr
        old, new, other = ([t.params["x"] for t in app.trials(f"s{at}")] for at in range(3))
        assert old == new
        assert old != other

    def test_leaves_a_grid_a_grid(self, app: App) -> None:
        app.ok("x=1,2", ":seed=1", NAMED)
        assert len(app.trials()) == 2

    @pytest.mark.parametrize("seed", NOT_SEEDS)
    def test_refuses_what_is_no_seed(self, refused: Refused, seed: str) -> None:
        told = refused.message(seeded(seed))
        assert "Give hydra.sweeper.sampler.seed" in told


def test_a_custom_space_beside_what_the_command_fixes(app: App) -> None:
    lines = [
        (
            "x=1,2",
            f":custom_search_space=hooks.{function}",
            *fixed,
            ":n_trials=1",
            f":study_name=s{at}",
        )
        for at, (function, fixed) in enumerate(
            [("unless_fixed", ()), ("unless_fixed", ("y=3",)), ("whether_or_not", ("y=3",))]
        )
    ]
    free, fixed, both = app.each(*lines).values()
    assert free.returncode == fixed.returncode == 0, free.stderr + fixed.stderr
    assert [set(app.trials(name)[0].params) for name in ("s0", "s1")] == [{"x", "y"}, {"x"}]
    assert "y" not in app.trials("s1")[0].user_attrs  # shown, not stored
    assert [row["y"] in ("5", "6") for row in app.seen()] == [True, False]
    assert both.returncode == 1
    assert "custom_search_space suggests y, which the command fixes" in both.stderr


def test_several_objectives(app: App) -> None:
    out = app.ok("does=report", "two=true", "x=1,2,3", NAMED, ":direction=[minimize,maximize]")
    assert [t.values for t in app.trials()] == [[1, -1], [2, -2], [3, -3]]
    assert [d.name for d in app.study().directions] == ["MINIMIZE", "MAXIMIZE"]
    assert "trial    0  1.0000, -1.0000" in out


@pytest.mark.parametrize(
    "sampler", ["tpe", "random", "gp", "cmaes", "qmc", "nsgaii", "grid", "bruteforce"]
)
@pytest.mark.slow
def test_every_sampler_with_two_workers(app: App, sampler: str) -> None:
    space = "y=range(0,20)" if sampler in ("grid", "bruteforce") else "x=interval(0,4)"
    app.ok(space, f"hydra/sweeper/sampler={sampler}", ":n_trials=12", ":n_jobs=2", NAMED)
    points = [str(t.params) for t in app.trials()]
    assert slots_of(app.trials()) == list(range(12))
    assert len(set(points)) == 12  # no two workers propose the same


class TestStorage:
    def test_the_default_is_beside_the_studies(self, app: App) -> None:
        out = app.ok("x=1", NAMED)
        assert app.database.exists()
        assert "sqlite:///outputs/studies.db" in out

    @pytest.mark.parametrize("url", WITH_PASSWORDS)
    def test_a_written_password_is_refused(self, refused: Refused, url: str) -> None:
        message = refused.message(stored(url))
        assert "holds a password" in message
        assert ".pgpass" in message
        assert SECRET not in message
        assert SECRET.encode() not in written(refused.app)
        assert not (refused.app.folder / "outputs").exists()

    @pytest.mark.parametrize("url", UNREADABLE)
    def test_what_is_no_url_is_not_repeated(self, refused: Refused, url: str) -> None:
        message = refused.message(stored(url))
        assert "The storage is not a URL." in message
        assert "%40 for @" in message
        assert SECRET not in message
        assert SECRET.encode() not in written(refused.app)

    @pytest.mark.parametrize("launcher", ["basic", "submitit_local"])
    def test_an_url_from_the_environment_is_written_nowhere(
        self, app: App, tmp_path: Path, launcher: str
    ) -> None:
        """Nor any other secret of the environment, in ``.hydra/`` and ``.submitit/`` neither. The
        pickles there are submitit's, which loads them; there are no others."""
        database, key = tmp_path / f"{SECRET}.db", "W" * 40
        out = app.ok(
            "x=range(0,4)",
            ":n_jobs=2",
            ":storage='${oc.env:STUDIES}'",
            NAMED,
            f"hydra/launcher={launcher}",
            env={"STUDIES": f"sqlite:///{database}", "WANDB_API_KEY": key},
        )
        assert slots_of(app.study(database=database).get_trials()) == list(range(4))
        assert SECRET.encode() not in written(app)
        assert not app.database.exists()
        assert traces(app.folder, key) == []
        assert key not in out
        assert list(app.folder.rglob(".hydra/overrides.yaml"))
        found = pickles(app.folder)
        assert {path.parents[1].name for path in found} == (
            set() if launcher == "basic" else {".submitit"}
        )
        texts = {text for path in found for text in texts_in_pickle(path.read_bytes())}
        assert ("LauncherWorker" in texts) is (launcher != "basic")

    def test_a_password_from_the_environment_is_shown_nowhere(self, app: App) -> None:
        """Whatever fails then: no server, no driver."""
        for url in (
            f"postgresql://me:{SECRET}@127.0.0.1:1/d",
            f"mysql://me:{SECRET}@127.0.0.1:1/d",
        ):
            message = app.refused(
                "x=1,2", ":storage='${oc.env:STUDIES}'", NAMED, env={"STUDIES": url}
            )
            assert "cannot be opened" in message
            assert SECRET not in message
        assert SECRET.encode() not in written(app)

    def test_a_password_part_from_the_environment_is_allowed(self, app: App) -> None:
        url = ":storage='postgresql://${oc.env:ME}:${oc.env:PW}@127.0.0.1:1/d'"
        message = app.refused("x=1,2", url, NAMED, env={"ME": "me", "PW": SECRET})
        assert "cannot be opened" in message
        assert SECRET not in message

    @pytest.mark.parametrize("url", OUT_OF_REACH)
    def test_what_cannot_be_reached_is_one_message(self, refused: Refused, url: str) -> None:
        message = refused.message(stored(url))
        assert message.count("error:") == 1
        assert "Traceback" not in message
        assert len(message.strip().splitlines()) <= 3
        assert refused.app.seen() == []


class TestDry:
    def test_it_shows_and_checks_and_leaves_nothing(self, app: App) -> None:
        before = sorted(app.folder.rglob("*"))
        out = app.ok("x=interval(0,4)", ":n_trials=7", ":dry=true", ":n_jobs=2", NAMED)
        for word in (
            "study    s",
            "search   x 0…4",
            "budget   7 trials",
            "time",
            "storage",
            "workers  2 local processes",
            "Ctrl-C is safe",
            "nothing was started",
        ):
            assert word in out
        after = [p for p in sorted(app.folder.rglob("*")) if "__pycache__" not in p.parts]
        assert after == before

    @pytest.mark.parametrize("dry", ["true", "false"])
    def test_a_point_that_does_not_compose_is_refused_before_work(
        self, refused: Refused, dry: str
    ) -> None:
        option, key = not_composing(dry)
        assert "nonesuch" in refused.message(option)
        assert "no_key" in refused.message(key)
        assert not (refused.app.folder / "outputs").exists()

    @pytest.mark.slow
    def test_on_an_existing_study_it_changes_nothing(self, app: App) -> None:
        app.ok("x=1,2", NAMED)
        before = app.trials()
        app.ok("x=1,2", NAMED, ":dry=true")
        assert app.trials() == before


def test_a_foreign_programs_trials_are_left_alone(app: App) -> None:
    app.ok("x=interval(0,4)", ":n_trials=2", NAMED)
    study = app.study()
    study.enqueue_trial({"x": 1.0})
    study.tell(study.ask({"x": optuna.distributions.FloatDistribution(0, 4)}), 0.0)
    foreign = study.get_trials()[2:]
    app.ok("x=interval(0,4)", ":n_trials=3", NAMED)
    trials = app.trials()
    assert trials[2 : 2 + len(foreign)] == foreign
    assert len(slots_of([t for t in trials if "slot" in t.user_attrs])) == 3


def test_the_record_of_a_trial(app: App) -> None:
    app.ok("x=1,2", NAMED)
    host = socket.gethostname()
    for trial in app.trials():
        assert trial.state is TrialState.COMPLETE
        assert trial.user_attrs["owner"]["host"] == host
        assert Path(trial.user_attrs["folder"]).name == f"{trial.number:04d}"
        assert (Path(trial.user_attrs["folder"]) / ".hydra" / "overrides.yaml").exists()
        json.dumps(trial.user_attrs, allow_nan=False)
