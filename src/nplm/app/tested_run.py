"""Which run ``evaluate_test.py`` is meant to evaluate, and what its confirmation says of it."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nplm.app.averaged import members_of
from nplm.config import Config
from nplm.lineage import of_another_split
from nplm.run_files import WEIGHTS
from sweepmore.errors import ConfigError, RunError
from sweepmore.runs import files, finding, names
from sweepmore.runs.places import Place

if TYPE_CHECKING:  # torch and Optuna are imported once the arguments are read
    import optuna

    from nplm.data import Splits
    from nplm.kneser_ney import KneserNey
    from nplm.model import LanguageModel
    from sweepmore.confirm.rounds import Confirmed


@dataclass(frozen=True)
class Wanted:
    """What a command names: a run, a study (meaning its confirmed winner), or a study's trial.

    ``place`` says where studies and runs are.
    """

    study: str | None
    run: str | None
    trial: int | None
    place: Place


@dataclass(frozen=True)
class Asked:
    """The run to evaluate, and the names under which its look is claimed.

    ``study`` is the confirmation whose winner it is, ``confirmed`` the SHA-256 of the winner's
    weights at that time, and ``winner_run`` the folder that it named, of which this may be a copy.
    All three are None for any other run; ``not_winner`` then says so, if its search has a confirmed
    winner. ``since`` says which better trials that search has had after the winner was named, and
    ``next_round`` is the command that confirms them; both are empty if there are none. ``start`` is
    a warning if the run's first weights learned from another split.
    """

    folder: Path
    fingerprint: str
    checkpoint: str
    study: optuna.Study | None = None
    confirmed: str | None = None
    winner_run: str | None = None
    since: str = ""
    next_round: str = ""
    not_winner: str = ""
    start: str = ""

    @property
    def study_name(self) -> str | None:
        """Return the name of the confirmation whose winner this is, or None."""
        return None if self.study is None else self.study.study_name


@dataclass(frozen=True)
class Also:
    """Which other runs a look is about: ``beside`` are evaluated in it, too, and on the dev lines
    of ``chosen_on`` the settings were chosen."""

    beside: tuple[Asked, ...] = ()
    chosen_on: Path | None = None

    @property
    def about(self) -> dict[str, Any]:
        """Return what the ledger keeps of them, by their ids; nothing where there are none."""
        runs = {run_id(each.folder): each.checkpoint for each in self.beside}
        chosen = None if self.chosen_on is None else run_id(self.chosen_on)
        return {
            **({"beside": runs} if runs else {}),
            **({} if chosen is None else {"chosen_on": chosen}),
        }


@dataclass(frozen=True)
class Checked:
    """A run's model with all that was checked about it; ``dev_loss`` is in nats per token."""

    asked: Asked
    config: Config
    dev_loss: float
    model: LanguageModel
    splits: Splits

    @property
    def run(self) -> str:
        """Return the id that the ledger knows the run by."""
        return run_id(self.asked.folder)


@dataclass(frozen=True)
class Subject(Checked):
    """What will be evaluated: a run's model, counting, and the models of the runs beside it.

    ``counting`` is Kneser-Ney of the ``order`` that is best on dev. ``chosen_lines`` are the dev
    lines on which the settings were chosen, where a run was named that had them.
    """

    counting: KneserNey
    order: int
    also: Also
    beside: tuple[Checked, ...]
    chosen_lines: frozenset[str] | None

    @property
    def about(self) -> dict[str, Any]:
        """Return what the ledger keeps with the look, as plain values."""
        starts = {each.run: each.asked.start for each in self.beside if each.asked.start}
        return {
            "run": self.run,
            "study": self.asked.study_name,
            "data": self.splits.name,
            "unit": self.splits.vocabulary.unit.name,
            "dev_loss": self.dev_loss,
            "parameters": self.model.size,
            **({"stale": self.asked.since} if self.asked.since else {}),
            **({"note": self.asked.not_winner} if self.asked.not_winner else {}),
            **({"start_from": self.asked.start} if self.asked.start else {}),
            **self.also.about,
            **({"beside_start_from": starts} if starts else {}),
        }


def find(wanted: Wanted) -> Asked:
    """Return the run to evaluate: the run that is named, or the confirmed winner's.

    Raises ConfigError unless either a study or a run is named, and RunError or StudyError if there
    is no such run, study or winner.
    """
    if (wanted.study is None) == (wanted.run is None):
        cure = "Give one of them: study=NAME (its confirmed winner) or run=FOLDER."
        raise ConfigError("study and run: one of the two is needed.", value=None, cure=cure)
    from sweepmore.compose.script_storage import opened

    with opened(wanted.place.storage, wanted.place.outputs) as database:
        if wanted.run is not None or wanted.trial is not None:
            return _named_run(wanted, database)
        return _winner(wanted, database)


def _named_run(wanted: Wanted, database: optuna.storages.BaseStorage) -> Asked:
    from sweepmore.confirm.rounds import confirmed, search_of

    names = (wanted.run, wanted.study, wanted.trial)
    asked = named(finding.find_named(*names, wanted.place.outputs, holding=WEIGHTS))
    # an ensemble is of the study that trained a member
    members = members_of(asked.folder)
    searches = [search_of(database, run_id(run)) for run in members or [asked.folder]]
    found = [(each, confirmed(each, wanted.place)) for each in searches if each is not None]
    for search, confirmation in found:
        if confirmation is not None:
            asked = beside(asked, confirmation)
            note = f"an ensemble with nets of {search.study_name}, not its winner"
            return dataclasses.replace(asked, not_winner=note) if members else asked
    return asked


def _winner(wanted: Wanted, database: optuna.storages.BaseStorage) -> Asked:
    from sweepmore.study.loading import load

    assert wanted.study is not None
    confirmation = confirmation_of(load(database, wanted.study), wanted.place)
    return beside(named(confirmation.winner.run), confirmation)


def confirmation_of(study: optuna.Study, place: Place) -> Confirmed:
    """Return the confirmation of a search in ``place``, which any part of it may name. Raises
    StudyError if it has none, RunError if it has not named a winner."""
    from sweepmore.confirm.rounds import confirmed
    from sweepmore.storage.optuna_internals import storage_of
    from sweepmore.study.loading import load

    database = storage_of(study)
    search = load(database, names.searched_name(study.study_name))
    cure = place.verb("confirm", search.study_name)
    load(database, search.study_name + names.CONFIRM, cure)
    confirmation = confirmed(search, place)
    if confirmation is None:
        name = search.study_name + names.CONFIRM
        raise RunError(f"{name} has not named a winner.", value=name, cure=cure)
    return confirmation


def beside(asked: Asked, confirmation: Confirmed) -> Asked:
    """Add what the confirmation of a run's search says about the run.

    That is whether the run is the winner, and what the search has had since. A copy of the winner's
    run counts as the winner, because it has the same weights.
    """
    since, next_round = confirmation.since, confirmation.next_round
    asked = dataclasses.replace(asked, since=since, next_round=next_round)
    winner, study = confirmation.winner, confirmation.study
    weights = winner.files.get(WEIGHTS)
    if asked.folder == winner.run or asked.checkpoint == weights:
        run = str(winner.run)
        return dataclasses.replace(asked, study=study, confirmed=weights, winner_run=run)
    note = f"not the winner that {study.study_name} has named"
    return dataclasses.replace(asked, not_winner=note)


def named(folder: Path) -> Asked:
    """Return the run in a folder. Reads none of its data, and only hashes its weights.

    Raises RunError if the folder has no weights.
    """
    if not (folder / WEIGHTS).exists():
        cure = "Its outputs were removed: train it again."
        raise RunError(f"{folder} holds no {WEIGHTS}.", value=str(folder), cure=cure)
    provenance = files.read_json(folder / "provenance.json")
    fingerprint = provenance["data"]["fingerprint"]
    checkpoint = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    start = of_another_split(provenance.get("start_from"), fingerprint)
    return Asked(folder, fingerprint, checkpoint, start=start)


def run_id(folder: Path) -> str:
    """Return the id that W&B and the ledger know a run by."""
    return str(files.read_json(folder / "provenance.json")["run_id"])
