"""Where trials lie: as Hydra is configured, whatever runs them, and never two in one folder."""

from __future__ import annotations

import importlib.resources
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from sweepmore.compose.hydra_internals import SWEEP_DEFAULTS
from sweepmore.runs import record
from sweepmore.sweep import folders
from tests.support.sweep_apps import App, errors, refusal

CALLBACK = "+hydra.callbacks.events._target_=hooks.Events"
PLACED = ("hydra.sweep.dir=placed/${now:%f}", "hydra.sweep.subdir=${hydra.job.num}-x${x}")


def test_hydras_defaults_are_what_hydra_says() -> None:
    text = importlib.resources.files("hydra.conf").joinpath("hydra/output/default.yaml").read_text()
    assert yaml.safe_load(text)["sweep"] == SWEEP_DEFAULTS


def test_a_folder_is_nobody_elses(tmp_path: Path) -> None:
    made = [folders.new_folder(tmp_path / "sweep", "a/0") for _ in range(3)]
    assert [str(folder.relative_to(tmp_path)) for folder in made] == [
        "sweep/a/0", "sweep/a/0.1", "sweep/a/0.2",
    ]  # fmt: skip
    for folder in made:
        folders.link(tmp_path / "0000", folder)
    assert (tmp_path / "0000").resolve() == made[-1]
    assert len([*tmp_path.iterdir()]) == 2


class TestTakeOver:
    HOLDING = Path("states") / "last"

    def test_takes_the_first_that_holds_it(self, tmp_path: Path) -> None:
        empty, older, oldest, here = (tmp_path / name for name in ("c", "b", "a", "d"))
        for number, run in enumerate((older, oldest)):
            (run / "states").mkdir(parents=True)
            (run / "states" / "last").write_text(str(number))
            (run / "metrics").write_text(str(number))
            (run / ".hydra").mkdir()
        here.mkdir()
        assert record.take_over((empty, older, oldest), here, self.HOLDING)
        assert (here / "states" / "last").read_text() == (here / "metrics").read_text() == "0"
        assert {path.name for path in here.iterdir()} == {"states", "metrics"}
        (older / "states" / "last").write_text("later")
        assert record.take_over((older,), here, self.HOLDING)
        assert (here / "states" / "last").read_text() == "0"  # its own by now

    def test_there_may_be_none(self, tmp_path: Path) -> None:
        assert not record.take_over((), tmp_path, self.HOLDING)
        assert not record.take_over((tmp_path / "gone",), tmp_path, self.HOLDING)


@pytest.mark.system
class TestSweepDir:
    """Hydra's own settings are honoured, and its callbacks hear of a sweep and its trials once."""

    @pytest.mark.parametrize("workers", [(), (":n_jobs=2",), ("hydra/launcher=submitit_local",)])
    def test_is_honoured(self, tmp_path: Path, workers: tuple[str, ...]) -> None:
        app = App.copied(tmp_path)
        words = ("x=range(0,4)", ":study_name=s", CALLBACK, *PLACED, *workers)
        out = app.ok(*words)
        (sweep_dir,) = (app.folder / "placed").iterdir()
        places = [sweep_dir / f"{number}-x{number}" for number in range(4)]
        trials = app.trials()
        assert sorted(Path(t.user_attrs["folder"]) for t in trials) == places
        assert {app.folder / row["folder"] for row in app.seen()} == set(places)
        assert (sweep_dir / "optimization_results.yaml").exists()
        study = app.folder / "outputs" / "studies" / "s"
        for number, place in enumerate(places):
            assert (study / f"{number:04d}").resolve() == place
        events = [
            json.loads(line) for line in (app.folder / "events.jsonl").read_text().split("\n")[:-1]
        ]
        assert Counter(event for event, *_ in events) == {
            "multirun_start": 1, "job_start": 4, "job_end": 4, "multirun_end": 1,
        }  # fmt: skip
        assert {folder for event, folder, _ in events if event == "job_end"} == {*map(str, places)}
        assert all(exists for event, _, exists in events if event != "multirun_start")
        assert events[-1][1] == str(sweep_dir)
        assert "hydra.sweep.dir has changed" not in out

    def test_an_attempt_has_a_folder_of_its_own(self, tmp_path: Path) -> None:
        app = App.copied(tmp_path)
        app.ok("x=interval(0,1)", ":n_trials=2", ":n_jobs=2", ":study_name=s", "does=die", *PLACED)
        for number in range(2):
            first, second = (row for row in app.seen() if row["root"] == number)
            assert second["folder"] == f"{first['folder']}.1"
            assert second["earlier"] == [first["folder"]]
            assert (app.folder / second["folder"] / ".hydra").is_dir()

    def test_goes_on_where_it_began(self, tmp_path: Path) -> None:
        app = App.copied(tmp_path)
        words = ("x=interval(0,1)", ":study_name=s")
        began, more, moved = (
            (*words, *PLACED, ":n_trials=1"),
            (*words, *PLACED, ":n_trials=2"),
            (*words, ":n_trials=3"),
        )
        for line, done in app.each(began, more, moved).items():
            assert done.returncode == 0, errors(done)
            assert ("hydra.sweep.dir has changed" in done.stderr) is (line == moved)
        (sweep_dir,) = (app.folder / "placed").iterdir()
        assert len([*sweep_dir.glob("[0-9]*")]) == 3

    def test_two_trials_never_share_a_folder(self, tmp_path: Path) -> None:
        app = App.copied(tmp_path)
        shared = ("x=1,2", "hydra.sweep.subdir=x${x}")
        numbered = ("x=1,11", "hydra.sweep.dir=d", "hydra.sweep.subdir=${x}${hydra:job.num}")
        own = ("x=1,2", "hydra.sweep.dir=e", ":layout=study", ":study_name=own")
        refused, *others = app.each(shared, numbered, own).values()
        message = refusal(refused)
        assert (
            "hydra.sweep.subdir=x${x} gives two trials with equal values the same folder" in message
        )
        assert "${hydra.job.num}" in message
        for done in others:
            assert done.returncode == 0, errors(done)
        assert {path.name for path in (app.folder / "d").iterdir() if path.is_dir()} == {
            "10",
            "111",
        }
        assert {path.name for path in (app.folder / "e").iterdir()} == {"optimization_results.yaml"}
