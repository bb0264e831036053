"""What a study leaves on disk by ``hydra.sweeper.keep``; the files and bytes of a trial are in
``scripts/test_train_sweeps.py``."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import URL

import evaluate_test
import sample
from sweepmore.runs.files import read_json
from sweepmore.storage.opening import open_storage
from sweepmore.study.view import StudyView, view
from sweepmore.sweep.checkpoints import BestOnly
from tests.support.attempts import attempt
from tests.support.fault_shim.loop import Ended, forked
from tests.support.helpers import TrainHere, call_command, call_script, sweep_here

WEIGHTS, STATES = "model.safetensors", "checkpoints"


class Study:
    """``train.py -m`` over three settings, in forks."""

    def __init__(self, place: Path, few_names: Path) -> None:
        self.outputs = place / "outputs"
        self.words = [
            "data=text", f"data.path={few_names}", "experiment=smoke", "optim.steps=20",
            "wandb.mode=disabled", "model.hidden=2,8,32", "hydra.sweeper.study_name=s",
            f"hydra.sweeper.outputs={self.outputs}",
        ]  # fmt: skip

    def run(self, *words: str) -> Ended:
        ended = forked(lambda: sweep_here(*self.words, *words))
        assert ended.code == 0, ended
        return ended

    @property
    def folders(self) -> list[Path]:
        return sorted((self.outputs / "studies" / "s").glob("[0-9]*"))

    @property
    def heavy(self) -> list[int]:
        """Trials that have weights; a training state goes with them."""
        found = [folder for folder in self.folders if (folder / WEIGHTS).exists()]
        assert found == [folder for folder in self.folders if (folder / STATES).exists()]
        return [int(folder.name) for folder in found]

    @property
    def best(self) -> int:
        import optuna

        url = URL.create("sqlite", database=str(self.outputs / "studies.db"))
        return view(optuna.load_study(study_name="s", storage=open_storage(url))).ranked[0].root


@pytest.fixture
def study(tmp_path: Path, few_names: Path, finished: Path) -> Study:
    return Study(tmp_path, few_names)


@pytest.mark.system
def test_of_a_study_that_keeps_the_best_alone_the_others_are_light(
    study: Study, here: TrainHere, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study.run()
    assert study.heavy == [0, 1, 2]
    results = [read_json(folder / "result.json") for folder in study.folders]
    study.run("hydra.sweeper.keep=best")  # of a study that is full: it is thinned out
    assert study.heavy == [study.best]
    assert [read_json(folder / "result.json") for folder in study.folders] == results

    light = next(number for number in range(3) if number != study.best)
    outputs = f"outputs={study.outputs}"
    assert call_script(sample, "study=s", outputs).returncode == 0
    for script in (sample, evaluate_test):
        refused = call_script(script, "study=s", f"trial={light}", outputs)
        assert refused.returncode == 2
        assert "keep=best only the best trial's remains" in refused.stderr
    with pytest.raises(SystemExit):
        here(tmp_path / "run", f"start_from={study.folders[light]}")
    assert "model.safetensors is missing" in capsys.readouterr().err


def test_of_several_objectives_all_stay_that_no_other_beats(tmp_path: Path) -> None:
    """Trial 2 is beaten by 1, and 3 and 4 are equal; 5 still runs."""
    values = [(1.0, 5.0), (2.0, 2.0), (3.0, 2.0), (5.0, 1.0), (5.0, 1.0)]
    places = [{"folder": str(tmp_path / f"{k:04d}")} for k in range(6)]
    done = [attempt(k, k, values=pair, attrs=places[k]) for k, pair in enumerate(values)]
    running = attempt(5, 5, "RUNNING", attrs=places[5])
    seen = StudyView("s", ("minimize", "minimize"), (*done, running))
    for k in range(6):
        (tmp_path / f"{k:04d}" / STATES).mkdir(parents=True)
    BestOnly()(seen)
    assert [k for k in range(6) if (tmp_path / f"{k:04d}" / STATES).exists()] == [0, 1, 3, 4, 5]


@pytest.mark.faults
def test_a_study_that_keeps_the_best_alone_is_confirmed_and_evaluated(study: Study) -> None:
    study.run("hydra.sweeper.keep=best")
    assert study.heavy == [study.best]
    outputs = f"outputs={study.outputs}"
    confirmed = call_command("confirm", "s", "--top=2", "--seeds=2", f"--{outputs}")
    assert confirmed.returncode == 0, confirmed
    runs = list((study.outputs / "studies").glob("s.confirm*/[0-9]*/[0-9]*"))
    assert len(runs) == 4 + 2
    assert all((run / WEIGHTS).exists() for run in runs)  # the winner's is one of any seed
    looks = f"looks={study.outputs.parent / 'looks'}"
    looked = call_script(evaluate_test, "study=s", outputs, looks)
    assert looked.returncode == 0, looked
