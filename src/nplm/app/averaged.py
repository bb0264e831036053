"""What ``ensemble=STUDY`` asks for: the nets that a study's confirmation has left, averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig

from nplm.config import Config, Ensemble, from_hydra, name_of, to_plain
from nplm.run_files import WEIGHTS
from sweepmore.compose.composing import as_typed
from sweepmore.errors import ConfigError, RunError
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
        problem = f"ensemble={config.ensemble} averages nets that were trained, but {does}."
        cure = f"Give it alone: python train.py ensemble={config.ensemble}."
        raise ConfigError(problem, value=config.ensemble, cure=cure)


def of_study(asked: Config, folder: Path, outputs: Path) -> Config:
    """Return the config of the run in ``folder`` that averages the nets of the study
    ``asked.ensemble``: its data are theirs, and its model refers to them.

    ``outputs`` has the study, unless ``ensemble`` is its folder. Raises ConfigError for other
    settings, StudyError and RunError where nothing was confirmed, where there are fewer than two
    nets, for nets that are missing or differ in their data, and as ``_refuse_changed``.
    """
    assert asked.ensemble is not None
    _refuse_others(asked.ensemble)
    winner = _winner(asked.ensemble, outputs)
    if len(winner.runs) < 2:
        problem = f"{winner.study} trained its winner with 1 seed, which leaves nothing to average."
        raise RunError(problem, value=1, cure="Confirm with two seeds or more.")
    config = _of_members(asked, winner, folder)
    return dataclasses.replace(config, ensemble=searched_name(winner.study))


def _refuse_others(name: str) -> None:
    words = as_typed(HydraConfig.get().overrides.task)
    others = [word for word in words if word.lstrip("+~").split("=")[0].split(".")[0] not in OWN]
    if others:
        raise ConfigError(
            f"ensemble={name} takes model and data from its members, but {' '.join(others)} was "
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


def _of_members(asked: Config, winner: Winner, folder: Path) -> Config:
    from nplm.building import ensemble_of

    model = ensemble_of(winner.runs, folder)
    _refuse_changed(winner, model)
    theirs = to_plain(from_hydra(read_config(winner.runs[0])))
    config = from_hydra({
        **theirs, "objective": "dev_loss", "overfit_batch": False, "resume": None,
        "start_from": None, "mix": asked.mix,
    })  # fmt: skip
    return dataclasses.replace(
        config,
        model=model,
        wandb=asked.wandb,
        seed=asked.seed,
        device=asked.device,
        threads=asked.threads,
    )


def _refuse_changed(winner: Winner, model: Ensemble) -> None:
    """Raise RunError where the weights of the run that was reported are not those confirmed.

    The confirmation records the SHA-256 of that run's files alone, and older ones of none, so
    weights of its other runs that were replaced before now are not noticed.
    """
    confirmed = winner.files.get(WEIGHTS)
    digest = dict(zip(winner.runs, model.members))[winner.run].sha256
    if confirmed not in (None, digest):
        path = shown_path(winner.run / WEIGHTS)
        problem = f"{path}, a member of the ensemble, has changed since {winner.study} named it."
        cure = "Restore it, or confirm the study anew."
        raise RunError(problem, value=str(winner.run), cure=cure)


def started_from(config: Config, folder: Path) -> Any:
    """Return what the members' records hold of the run whose weights they began with; None for
    fresh parameters, and for a config of no ensemble."""
    if not isinstance(config.model, Ensemble):
        return None
    member = folder / config.model.members[0].run
    return read_json(member / "provenance.json").get("start_from")


def first_member(folder: Path) -> Path | None:
    """Return the first member of the ensemble in ``folder``, by its record alone; None for other
    runs, and where the member is gone."""
    model = read_config(folder).get("model")
    if not isinstance(model, Mapping) or name_of(model) != "ensemble":
        return None
    member = (folder / model["members"][0]["run"]).resolve()
    return member if (member / "provenance.json").exists() else None
