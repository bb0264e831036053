"""Where a study's trials lie: in its own folder, or where Hydra is configured to put its jobs.

In the study's folder all attempts of a trial share ``NNNN``, so that a retry finds the checkpoint.
In ``hydra.sweep.dir`` each attempt has a folder of its own: ``SUBDIR``, ``SUBDIR.1`` …, where
``SUBDIR`` is resolved once for each trial. ``NNNN`` in the study's folder then links to the last.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from sweepmore.compose.composing import composing
from sweepmore.errors import ConfigError
from sweepmore.study.attempts import Attempt
from sweepmore.study.view import attempts_of


def subdir_of(config: DictConfig) -> str:
    """Return ``hydra.sweep.subdir`` of a job, resolved as Hydra resolves it.

    The job's number has to be in ``config`` already, because the subdir usually contains it.
    """
    with _current(config), composing():
        return str(OmegaConf.select(config, "hydra.sweep.subdir"))


@contextlib.contextmanager
def _current(config: DictConfig) -> Iterator[None]:
    """Make ``config`` the one that ``${hydra:…}`` reads, inside the block."""
    holder = HydraConfig.instance()
    before, holder.cfg = holder.cfg, None
    try:
        holder.set_config(config)
        yield
    finally:
        holder.cfg = before
        OmegaConf.set_readonly(config.hydra, None)  # undo what Hydra's set_config does


def check_subdir(config: DictConfig) -> None:
    """Raise ConfigError when two trials with equal values would share a folder.

    Sets the job's number and id in ``config`` to try it.
    """
    subdirs = set()
    for number in (0, 1):
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
        subdirs.add(subdir_of(config))
    if len(subdirs) < 2:
        written = OmegaConf.to_container(config.hydra.sweep, resolve=False)
        assert isinstance(written, dict)
        raise ConfigError(
            f"hydra.sweep.subdir={written['subdir']} gives two trials with equal values the "
            "same folder, and a search may try the same values twice.",
            value=written["subdir"],
            cure="Add the trial's number: ${hydra.job.num}",
        )


def new_folder(sweep_dir: Path, subdir: str) -> Path:
    """Create ``SUBDIR``, or the first of ``SUBDIR.1``, ``SUBDIR.2`` … that does not exist.

    So the folder of an earlier attempt, or of another study in the same sweep dir, stays as it is.
    """
    folder, number = sweep_dir / subdir, 0
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            folder = sweep_dir / f"{subdir}.{number}"
        else:
            return folder


def link(place: Path, folder: Path) -> None:
    """Make ``place`` a symbolic link to ``folder``, replacing an earlier link.

    Where the file system has no links, nothing happens: the link is for people, and the study
    itself records where its trials lie.
    """
    fresh = place.with_name(f".{place.name}-{secrets.token_hex(3)}")
    try:
        fresh.symlink_to(folder)
        os.replace(fresh, place)
    except OSError:  # no links here, or a trial whose config did not compose left a folder there
        fresh.unlink(missing_ok=True)


def earlier(study: optuna.Study, claimed: Attempt) -> tuple[Path, ...]:
    """Return the folders of the trial's earlier attempts, the latest first."""
    before = _before(study, claimed)
    return tuple(a.attrs.folder for a in reversed(before) if a.attrs.folder is not None)


def first_subdir(study: optuna.Study, claimed: Attempt) -> str | None:
    """Return what the trial's first attempt resolved ``hydra.sweep.subdir`` to, if one did.

    A retry reuses it, because the subdir may contain the time.
    """
    before = _before(study, claimed)
    return next((a.attrs.subdir for a in before if a.attrs.subdir is not None), None)


def _before(study: optuna.Study, claimed: Attempt) -> Sequence[Attempt]:
    if not claimed.attempt:
        return ()
    attempts = [a for a in attempts_of(study) if a.slot == claimed.slot]
    return sorted((a for a in attempts if a.attempt < claimed.attempt), key=lambda a: a.attempt)
