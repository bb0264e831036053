"""The same command goes on, changes nothing that is finished, and asks what it asked."""

from __future__ import annotations

import shlex
import shutil
import signal

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from sweepmore.process.invocation import sweepmore
from sweepmore.study.attributes import stored
from sweepmore.sweep.command_lines import command_line
from tests.support.sweep_apps import PATIENCE, App, Done, Words, refusal, slots_of, until

GATED = ("does=gated", "x=range(0,6)", ":study_name=s")


@pytest.mark.always
def test_a_finished_study_is_not_changed(app: App) -> None:
    words = ("x=range(0,4)", ":study_name=s")
    app.ok(*words)
    before = app.trials()
    out = app.ok(*words)
    assert app.trials() == before
    assert len(app.seen()) == 4
    assert "4 of 4 trials done before" in out
    assert "trial    2  1.0000  x=2" in out  # the best
    assert "python" in out
    assert "app.py x=2" in out  # a command that runs it again


@pytest.mark.slow
def test_a_full_study_says_how_to_go_on_or_start_afresh(app: App) -> None:
    words = ("x=interval(0,4)", ":study_name=s", ":n_trials=2")
    app.ok(*words)
    out = app.ok(*words)
    more = next(line for line in out.splitlines() if line.startswith("more: "))
    assert more.startswith(f"more:    python {app.folder / 'app.py'} -m ")
    assert " hydra.sweeper.n_trials=4" in more
    assert "n_trials=2" not in more
    assert "another hydra.sweeper.study_name starts a new study" in out
    assert "2 of 2 trials done, no more in " in out
    assert "3 of 3 trials done, 1 more in " in app.ok(*words[:2], ":n_trials=3")
    assert stored(app.study("s"))["budget"] == {"n_trials": 3, "grid": False}
    command = stored(app.study("s"))["command"]
    assert "hydra.sweeper.n_trials=3" in shlex.split(command_line(command))
    assert len(app.seen()) == 3


def test_what_comes_next_keeps_outputs_and_storage(app: App) -> None:
    out = app.ok("x=1,2", ":study_name=s", ":outputs=my runs", ":storage=sqlite:///mine.db")
    place = "--outputs 'my runs' --storage sqlite:///mine.db"
    command = shlex.join(sweepmore())
    assert f"next:    {command} confirm s {place}\n" in out
    assert f"{command} confirm s --noise {place}" in out
    hidden = app.ok("x=1,2", ":study_name=t", ":storage=${oc.env:DB}", env={"DB": "sqlite:///db"})
    assert f"next:    {command} confirm t --storage '${{oc.env:DB}}'\n" in hidden


def test_an_interrupted_study_goes_on(app: App) -> None:
    app.open_gate(0, 1)
    with app.started(*GATED) as process:
        until(lambda: len(app.seen()) > 2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    before = [t for t in app.trials() if t.state is TrialState.COMPLETE]
    assert len(before) == 2
    app.open_gate()
    app.ok(*GATED)
    after = app.trials()
    assert slots_of(after) == list(range(6))
    assert sorted(t.params["x"] for t in after if t.state is TrialState.COMPLETE) == list(range(6))
    assert {t.number: t for t in after}.items() >= {t.number: t for t in before}.items()


@pytest.mark.slow
def test_folders_of_two_studies_of_one_name_never_collide(app: App) -> None:
    """The same name in another storage, and again after the first was deleted."""
    words = ("x=1,2", ":study_name=s")
    app.ok(*words)
    app.ok(*words, ":storage=sqlite:///other.db")
    app.database.unlink()
    app.ok(*words)
    folders = [row["folder"] for row in app.seen()]
    assert len(set(folders)) == len(folders) == 6
    assert len({row["run_id"] for row in app.seen()}) == 6


FIRST = ("x=interval(0,4)", ":n_trials=2", ":study_name=s", ":identity=hooks.data")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> App:
    app = App.copied(tmp_path_factory.mktemp("asked"))
    (app.folder / "data.txt").write_text("old")
    app.ok(*FIRST)
    return app


CHANGES: list[tuple[Words, str]] = [
    (("x=interval(0,5)",), "space of x: Float(high=4.0) → Float(high=5.0)"),
    (("x=interval(0,4)", "y=1,2"), "space of y: (none) → Categorical(choices="),
    ((":direction=maximize",), 'direction: ["minimize"] → ["maximize"]'),
    (("hydra/sweeper/sampler=random",), "sampler"),
    (("hydra/sweeper/pruner=median",), "pruner._target_"),
    (("seconds=0.01",), "seconds: 0.0 → 0.01"),
    (("model=large",), "model.width: 10 → 20"),
]


def changed(words: Words) -> Words:
    keys = {word.partition("=")[0] for word in words}
    return (*(word for word in FIRST if word.partition("=")[0] not in keys), *words)


@pytest.fixture(scope="module")
def first(asked: App) -> list[FrozenTrial]:
    return asked.trials()


@pytest.fixture(scope="module")
def ended(asked: App, first: list[FrozenTrial]) -> dict[Words, Done]:
    """How each changed question ended."""
    done = asked.each(*(changed(words) for words, _ in CHANGES))
    (asked.folder / "data.txt").write_text("new")
    return {**done, FIRST: asked.run(*FIRST)}


class TestChangedQuestion:
    """A named study is refused with the list of what changed."""

    @pytest.mark.parametrize(("words", "told"), [*CHANGES, ((), 'identity.data: "old" → "new"')])
    def test_refused(
        self,
        asked: App,
        first: list[FrozenTrial],
        ended: dict[Words, Done],
        words: Words,
        told: str,
    ) -> None:
        message = refusal(ended[changed(words)])
        assert "The study s asks another question" in message
        assert told in message
        assert "hydra.sweeper.on_change=new" in message
        assert asked.trials() == first


@pytest.mark.slow
def test_a_changed_question_in_other_ways(app: App) -> None:
    """Unnamed: another study. Named: on_change=new, =continue, and what does not matter."""
    app.ok("x=1,2")
    app.ok("x=1,2", "seconds=0.01")
    assert len(app.names()) == 2

    app.ok("x=1,2", ":study_name=s")
    new = ("x=1,2", "y=5", ":study_name=s", ":on_change=new")
    app.ok(*new)
    app.ok(*new)  # its own earlier answer, not a third one
    assert {name for name in app.names() if name.startswith("s")} == {"s", "s-2"}
    assert len(app.seen()) == 8
    out = app.ok("x=1,2", "seconds=0.02", ":study_name=s", ":on_change=continue")
    assert "the question has changed: seconds" in out


def test_what_is_ignored_does_not_matter(app: App) -> None:
    words = ("x=1,2", ":study_name=s", ":question_ignore=[seconds,model]")
    app.ok(*words)
    app.ok(*words, "seconds=0.01", "model=large")
    assert app.names() == {"s"}
    assert len(app.seen()) == 2


def test_wandb_device_and_paths_do_not_matter_by_default(app: App) -> None:
    words = ("x=1,2", ":study_name=s")
    app.ok(*words, "+wandb.mode=offline", "+device=cpu", "+paths.data=here")
    app.ok(*words, "+wandb.mode=online", "+device=cuda", "+paths.data=there")
    assert len(app.seen()) == 2


def test_changed_code_is_recorded_and_warned_about_once(app: App) -> None:
    words = ("x=interval(0,1)", ":study_name=s")
    app.ok(*words, ":n_trials=1")
    with (app.folder / "app.py").open("a") as file:
        file.write("# changed\n")
    out = app.ok(*words, ":n_trials=3")
    assert out.count("the code has changed") == 1
    codes = [t.user_attrs["code"] for t in app.trials()]
    assert codes[0] != codes[1] == codes[2]


def test_sources_are_frozen(app: App) -> None:
    """Edited, then deleted in mid-sweep; a worker that starts afterwards sees the old ones, too."""
    words = (*GATED, "model=large", ":n_jobs=2")
    with app.started(*words) as process:
        until(lambda: len(app.running()) == 2)
        (app.folder / "conf" / "model" / "large.yaml").write_text("width: 99\n")
        app.open_gate(0)
        until(lambda: len(app.seen()) > 2)
        (app.folder / "conf" / "model" / "large.yaml").unlink()
        psutil.Process(app.running()[0].user_attrs["owner"]["pid"]).kill()
        until(lambda: len(app.pids()) == 3)  # two, and the one that replaced the killed
        app.open_gate()
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
    assert slots_of(app.trials()) == list(range(6))
    assert {row["width"] for row in app.seen()} == {20}


@pytest.mark.slow
def test_a_copied_study_knows_its_sources_after_all_are_gone(app: App) -> None:
    """A second start composes from the study's copy where its own files have changed."""
    app.ok("x=interval(0,1)", ":study_name=s", ":n_trials=1")
    shutil.copy(
        app.folder / "conf" / "model" / "large.yaml", app.folder / "conf" / "model" / "small.yaml"
    )
    message = app.refused("x=interval(0,1)", ":study_name=s", ":n_trials=2")
    assert "model.width: 10 → 20" in message
    app.ok("x=interval(0,1)", ":study_name=s", ":n_trials=2", ":on_change=continue")
    assert [row["width"] for row in app.seen()] == [10, 10]
