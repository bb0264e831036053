"""The curves of each trial in Optuna's dashboard, drawn when somebody looks at them.

A picture that each trial drew and stored took a quarter of what it costs beside its training
(benchmarks/overhead.py), and hardly any is ever looked at. Trials of older versions have one.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from sweepmore.report import drawing, figures
from sweepmore.runs.files import read_json
from sweepmore.runs.record import read_metrics
from sweepmore.study.application import Curves
from sweepmore.study.attempts import attempt_of, run_of
from sweepmore.study.attributes import StudyAttributes


@dataclass
class Pictures:
    """The curves of trials, by their application's own description."""

    database: BaseStorage
    _curves: dict[int, Curves] = field(default_factory=dict)  # of each study, by its id

    def name(self, study_id: int, trial: FrozenTrial) -> str | None:
        """The name of a trial's picture; None where it has logged no curve."""
        curves, run = self._curves_of(study_id), _run(trial)
        logged = run is not None and (run / "metrics.jsonl").exists()
        return f"{curves.title.lower()}.png" if curves.drawn and logged else None

    def png(self, study_id: int, trial_id: int) -> bytes:
        """A trial's picture. Raises ArtifactNotFound where its run is gone."""
        run = _run(self.database.get_trial(trial_id))
        if run is None or not run.exists():
            raise ArtifactNotFound("The trial's folder is gone.")
        ended = run / "result.json"
        data = read_json(ended).get("data", {}) if ended.exists() else {}
        chart = figures.logged(self._curves_of(study_id), [("", read_metrics(run))], data)
        return drawing.png(chart)

    def _curves_of(self, study_id: int) -> Curves:
        if study_id not in self._curves:
            name = self.database.get_study_name_from_id(study_id)
            study = optuna.load_study(study_name=name, storage=self.database)
            application = StudyAttributes.of(study).application
            self._curves[study_id] = Curves() if application is None else application.curves
        return self._curves[study_id]


def _run(trial: FrozenTrial) -> Path | None:
    attempt = attempt_of(trial)
    return None if attempt is None or attempt.attrs.folder is None else run_of(attempt)


class DrawingStore(FileSystemArtifactStore):
    """What tasks have stored in a folder, and the pictures of all other trials."""

    def __init__(self, folder: Path, pictures: Pictures) -> None:
        super().__init__(folder)
        self.pictures = pictures

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open a file, or draw a picture."""
        if (ids := _ids(artifact_id)) is None:
            return super().open_reader(artifact_id)
        return io.BytesIO(self.pictures.png(*ids))

    def remove(self, artifact_id: str) -> None:
        """Remove a file, as with its study; a picture is none."""
        if _ids(artifact_id) is None:
            super().remove(artifact_id)


def _ids(artifact_id: str) -> tuple[int, int] | None:
    """The ids of study and trial in a picture's id; None for a file's."""
    parts = artifact_id.split("-")
    return (int(parts[0], 16), int(parts[1], 16)) if len(parts) == 2 else None
