"""Where the number of a look is written once the ledger has it: study, W&B, ``result.json``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from nplm.app.tested_run import Asked, run_id
from nplm.config import from_hydra
from nplm.result import TestFacts, TestResult
from sweepmore.runs import files
from sweepmore.runs import record as records
from sweepmore.runs.names import name_of
from sweepmore.seal.receipts import Look

if TYPE_CHECKING:
    import optuna
    from sqlalchemy.engine import URL

    from sweepmore.study.attributes import StudyAttributes

# The cure if the number is in the ledger, but cannot be written into the study.
KEPT = (
    "The number is in the ledger. Make room, or start or repair the database. Then rerun the same "
    "command, without another_look and complete, to write it into the study, too."
)


def keep(asked: Asked, look: Look, url: URL) -> None:
    """Write the number into the study, into W&B and, last, into the run's ``result.json``.

    The ledger must have it already. ``result.json`` comes last because it marks that all is
    written: a second call then skips W&B, which would make another run.
    """
    from sweepmore.study.attributes import StudyAttributes

    test = facts_of(look)
    if asked.study is not None:
        attributes = StudyAttributes(tested_run=asked.winner_run, test=test.as_json())
        keep_in_study(asked.study, attributes, url)
    path = asked.folder / "result.json"
    recorded = files.read_json(path)
    if recorded.get("test", {}).get("look", 0) >= look.number:
        return
    send(asked, look, test)
    files.write_json(path, {**recorded, "test": test.as_json()})


def facts_of(look: Look) -> TestFacts:
    """Return the section ``test`` of ``result.json`` for a look that has a result."""
    assert look.result is not None
    result = TestResult.of(look.result)
    return TestFacts(look.number, look.claimed, look.reason, result)


def send(asked: Asked, look: Look, test: TestFacts) -> None:
    """Send the look to W&B as a separate run, in the group of its study."""
    from sweepmore.runs.tracking import About, track

    settings = from_hydra(records.read_config(asked.folder)).wandb
    settings = dataclasses.replace(settings, group=asked.study_name or settings.group)
    record = records.Record(asked.folder, f"{run_id(asked.folder)[:50]}-test{look.number}")
    config = {**look.about, "study": {"name": asked.study_name}}  # nested as a trial's is
    name = f"{name_of(asked.folder)} · test {look.number}"
    about = About(config, job_type="test", name=name)
    with track(settings, record, about) as tracker:
        tracker.summarise({"test": test.as_json()})


def keep_in_study(study: optuna.Study, attributes: StudyAttributes, url: URL) -> None:
    """Write which run was tested, and its number, into the confirmation.

    The run must be named, because a later round may choose another winner. Raises UserError if the
    database cannot be written.
    """
    from sweepmore.storage.opening import storage_errors  # Optuna's, as the study is
    from sweepmore.study.attributes import StudyAttributes

    with storage_errors(url, KEPT):
        stored = StudyAttributes.of(study)
        if (stored.tested_run, stored.test) != (attributes.tested_run, attributes.test):
            attributes.write(study)
