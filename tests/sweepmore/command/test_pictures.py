"""The dashboard's pictures of trials, which are drawn when somebody looks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna_dashboard.artifact._backend import delete_all_artifacts, list_trial_artifacts
from sqlalchemy.engine import make_url

from sweepmore.command.pictures import DrawingStore, Pictures
from sweepmore.storage.opening import open_storage
from sweepmore.storage.optuna_internals import IllustratedStorage, study_id
from sweepmore.storage.patience import optunas
from sweepmore.study.application import Application, Curve, Curves
from sweepmore.study.attributes import StudyAttributes

CURVES = Curves("Loss", "loss", drawn=(Curve("dev", "dev_loss"),))
PNG = b"\x89PNG"


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """Of trials 0, with a curve; 1, without; 2, which runs; 3, with a picture of its own; and 4,
    whose folder is gone."""
    storage = open_storage(make_url(f"sqlite:///{tmp_path / 'studies.db'}"))
    study = optuna.create_study(storage=storage, study_name="s")
    StudyAttributes(application=Application(curves=CURVES)).write(study)
    for slot in range(5):
        folder = tmp_path / f"{slot:04d}"
        if slot != 4:
            folder.mkdir()
        if slot in (0, 2, 3):
            rows = [{"step": step, "dev_loss": 1 / step} for step in (1, 2, 3)]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        running = slot == 2
        study.add_trial(
            create_trial(
                state=TrialState.RUNNING if running else TrialState.COMPLETE,
                value=None if running else 1.0,
                user_attrs={"slot": slot, "folder": str(folder)},
                system_attrs={"artifacts:a-b-c-d-e": "null"} if slot == 3 else {},
            )
        )
    (tmp_path / "0000" / "result.json").write_text('{"data": {"name": "x"}}')
    return study


@pytest.fixture
def shown(study: optuna.Study) -> IllustratedStorage:
    return IllustratedStorage(optunas(study._storage), Pictures(study._storage).name)


@pytest.fixture
def store(study: optuna.Study, tmp_path: Path) -> DrawingStore:
    (tmp_path / "artifacts").mkdir()
    return DrawingStore(tmp_path / "artifacts", Pictures(study._storage))


def pictures(trials: list[FrozenTrial]) -> Iterator[tuple[int, str, str]]:
    """As the dashboard lists them: the trial's number, the file's name and its id."""
    for trial in trials:
        for meta in list_trial_artifacts({}, trial.system_attrs, trial):
            yield trial.number, meta["filename"], meta["artifact_id"]


def test_a_trial_that_logged_a_curve_shows_it(
    study: optuna.Study, shown: IllustratedStorage, store: DrawingStore
) -> None:
    """Also while it runs, and read by itself; nothing is stored."""
    listed = [*pictures(shown.get_all_trials(study_id(study)))]
    assert [(number, name) for number, name, _ in listed] == [(0, "loss.png"), (2, "loss.png")]
    for number, _, artifact in listed:
        trial_id = shown.get_trial_id_from_study_id_trial_number(study_id(study), number)
        assert [*pictures([shown.get_trial(trial_id)])] == [(number, "loss.png", artifact)]
        with store.open_reader(artifact) as file:
            assert file.read(4) == PNG
    assert [*pictures(study.get_trials())] == []
    assert not any(store.pictures.database.get_study_user_attrs(study_id(study)))


def test_what_tasks_stored_is_read_as_it_is(store: DrawingStore, tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "a-b-c-d-e").write_bytes(b"theirs")
    with store.open_reader("a-b-c-d-e") as file:
        assert file.read() == b"theirs"
    store.remove("a-b-c-d-e")
    with pytest.raises(ArtifactNotFound):
        store.open_reader("a-b-c-d-e")


def test_a_picture_whose_run_is_gone_is_not_found(study: optuna.Study, store: DrawingStore) -> None:
    with pytest.raises(ArtifactNotFound, match="gone"):
        store.open_reader(f"{study_id(study):x}-{study.get_trials()[4]._trial_id:x}")


def test_a_study_is_deleted_with_its_pictures(
    study: optuna.Study, shown: IllustratedStorage, store: DrawingStore
) -> None:
    """As the dashboard deletes one."""
    delete_all_artifacts(store, shown, study_id(study))
