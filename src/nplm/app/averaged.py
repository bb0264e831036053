"""What ``ensemble=`` asks for: the nets that a study's confirmation has left, or runs, averaged."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig

from nplm.config import AnyModel, Config, Ensemble, from_hydra, name_of, to_plain
from nplm.lineage import of_another_split
from nplm.run_files import WEIGHTS
from sweepmore.compose.composing import as_typed
from sweepmore.errors import ConfigError, RunError
from sweepmore.runs import finding
from sweepmore.runs.files import read_json
from sweepmore.runs.names import searched_name
from sweepmore.runs.places import Place
from sweepmore.runs.record import read_config
from sweepmore.wording import shown_path

if TYPE_CHECKING:
    from sweepmore.study.attributes import Winner

# What may be given beside it; all other settings are the members'.
OWN = ("ensemble", "mix", "seed", "device", "threads", "wandb")


def refuse_ensemble(config: Config, does: str) -> None:
    """Raise ConfigError for ``ensemble=`` where it means nothing: a script ``does`` another
    thing."""
    if config.ensemble is not None:
        word = _typed(config.ensemble)
        problem = f"{word} averages nets that were trained, but {does}."
        cure = f"Give it alone: python train.py {shlex.quote(word)}."
        raise ConfigError(problem, value=config.ensemble, cure=cure)


def _typed(named: str | Sequence[str]) -> str:
    """Return the setting as one types it."""
    return f"ensemble={named}" if isinstance(named, str) else f"ensemble=[{','.join(named)}]"


def of_trained(asked: Config, folder: Path, outputs: Path) -> Config:
    """Return the config of the run in ``folder`` that averages what ``asked.ensemble`` names, the
    nets of a study or runs: its data are theirs, and its model refers to them.

    ``outputs`` has the study or runs that are not named by their folder. Raises ConfigError for
    other settings and for fewer than two runs, StudyError and RunError where nothing was confirmed,
    for a run that did not end well, and for nets that are missing, have changed, are the same or
    differ in their data.
    """
    named = asked.ensemble
    assert named is not None
    _refuse_others(named)
    if isinstance(named, str):
        return _of_study(named, asked, folder, outputs)
    runs = _runs(named, outputs)
    return dataclasses.replace(_of_members(asked, runs, folder), ensemble=tuple(map(str, runs)))


def _of_study(name: str, asked: Config, folder: Path, outputs: Path) -> Config:
    winner = _winner(name, outputs)
    if len(winner.runs) < 2:
        problem = f"{winner.study} trained its winner with 1 seed, which leaves nothing to average."
        raise RunError(problem, value=1, cure="Confirm with two seeds or more.")
    config = _of_members(asked, winner.runs, folder)
    _refuse_changed(winner, config.model)
    return dataclasses.replace(config, ensemble=searched_name(winner.study))


def _runs(names: Sequence[str], outputs: Path) -> list[Path]:
    """Return the folders of the runs that are named. Raises ConfigError for fewer than two,
    RunError for one that does not exist or did not end well."""
    if len(names) < 2:
        cure = "Name two runs or more: ensemble=[RUN,RUN]; a study, without brackets."
        problem = f"{_typed(names)} leaves nothing to average."
        raise ConfigError(problem, value=names, cure=cure)
    runs = [finding.find_run(name, outputs, WEIGHTS) for name in names]
    for run in runs:
        result = run / "result.json"
        status = read_json(result).get("status") if result.exists() else None
        if status != "ok":
            why = "it has not ended" if status is None else f"its status is {status}"
            problem = f"{shown_path(run)} cannot be averaged: {why}."
            raise RunError(problem, value=status, cure="Name runs whose status is ok.")
    return runs


def _refuse_others(named: str | Sequence[str]) -> None:
    words = as_typed(HydraConfig.get().overrides.task)
    others = [word for word in words if word.lstrip("+~").split("=")[0].split(".")[0] not in OWN]
    if others:
        raise ConfigError(
            f"{_typed(named)} takes model and data from its members, but {' '.join(others)} was "
            "given.",
            value=others,
            cure=f"Leave them out; it takes {', '.join(OWN[1:])}.",
        )


def _winner(wanted: str, outputs: Path) -> Winner:
    """Return the confirmed winner of the study that is named, or whose folder is given."""
    from nplm.app.tested_run import confirmation_of
    from sweepmore.compose.studies import opened_study

    folder = Path(wanted)
    if folder.parent != Path():  # as start_from takes a run's
        outputs, wanted = folder.resolve().parent.parent, folder.name
    with opened_study(wanted, Place(outputs)) as (study, found):
        return confirmation_of(study, found).winner


def _of_members(asked: Config, runs: Sequence[Path], folder: Path) -> Config:
    from nplm.building import ensemble_of

    model = ensemble_of(runs, folder)
    _refuse_same(runs, model)
    theirs = to_plain(from_hydra(read_config(runs[0])))
    config = from_hydra({
        **theirs, "model": dataclasses.asdict(model), "objective": "dev_loss",
        "overfit_batch": False, "resume": None, "start_from": None, "mix": asked.mix,
    })  # fmt: skip
    return dataclasses.replace(
        config,
        wandb=asked.wandb,
        seed=asked.seed,
        device=asked.device,
        threads=asked.threads,
    )


def _refuse_same(runs: Sequence[Path], model: Ensemble) -> None:
    """Raise RunError where two runs have the same weights: one was named twice, or copied."""
    seen = dict[str, Path]()
    for run, member in zip(runs, model.members, strict=True):
        if (other := seen.setdefault(member.sha256, run)) is not run:
            problem = f"{shown_path(run)} has the weights of {shown_path(other)}: it counts once."
            raise RunError(problem, value=str(run), cure="Name each run once.")


def _refuse_changed(winner: Winner, model: AnyModel) -> None:
    """Raise RunError where the weights of the run that was reported are not those confirmed.

    The confirmation records the SHA-256 of that run's files alone, and older ones of none, so
    weights of its other runs that were replaced before now are not noticed.
    """
    assert isinstance(model, Ensemble)
    confirmed = winner.files.get(WEIGHTS)
    digest = dict(zip(winner.runs, model.members))[winner.run].sha256
    if confirmed not in (None, digest):
        path = shown_path(winner.run / WEIGHTS)
        problem = f"{path}, a member of the ensemble, has changed since {winner.study} named it."
        cure = "Restore it, or confirm the study anew."
        raise RunError(problem, value=str(winner.run), cure=cure)


def started_from(config: Config, folder: Path) -> Any:
    """Return what a member's record holds of the run whose weights it began with, first of all one
    of another split; None for fresh parameters, and for a config of no ensemble."""
    if not isinstance(config.model, Ensemble):
        return None
    split = config.model.fingerprint
    runs = _with_theirs(folder / member.run for member in config.model.members)
    records = [read_json(run / "provenance.json") for run in runs]
    starts = [record["start_from"] for record in records if record.get("start_from")]
    of_another = [start for start in starts if of_another_split(start, split)]
    return next(iter([*of_another, *starts]), None)


def members_of(folder: Path) -> list[Path]:
    """Return the members of the ensemble in ``folder`` and of those among them, by their records
    alone; none for other runs, and none that is gone."""
    model = read_config(folder).get("model")
    if not isinstance(model, Mapping) or name_of(model) != "ensemble":
        return []
    return _with_theirs(folder / member["run"] for member in model["members"])


def _with_theirs(runs: Iterable[Path]) -> list[Path]:
    there = [run.resolve() for run in runs if (run / "provenance.json").exists()]
    return [*there, *(member for run in there for member in members_of(run))]
