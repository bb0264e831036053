"""Where a study's trials lie: in its own folder, or where Hydra is configured to put its jobs.

In its own folder all attempts of a trial share ``NNNN``, so that a retry finds its checkpoint. In
``hydra.sweep.dir`` each has a folder that nobody had before it: ``SUBDIR``, ``SUBDIR.1`` …, where
``SUBDIR`` is resolved once a trial; ``NNNN`` in the study's folder is then a link to the last one.
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
    """``hydra.sweep.subdir`` of one job, resolved as Hydra does it, of its number, too."""
    with _current(config), composing():
        return str(OmegaConf.select(config, "hydra.sweep.subdir"))


@contextlib.contextmanager
def _current(config: DictConfig) -> Iterator[None]:
    """What ``${hydra:…}`` looks at."""
    holder = HydraConfig.instance()
    before, holder.cfg = holder.cfg, None
    try:
        holder.set_config(config)
        yield
    finally:
        holder.cfg = before
        OmegaConf.set_readonly(config.hydra, None)  # which Hydra sets


def check_subdir(config: DictConfig) -> None:
    """ConfigError where two trials could share their folder, as two do that have equal values."""
    told = set()
    for number in (0, 1):
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
        told.add(subdir_of(config))
    if len(told) < 2:
        written = OmegaConf.to_container(config.hydra.sweep, resolve=False)
        assert isinstance(written, dict)
        raise ConfigError(
            f"hydra.sweep.subdir={written['subdir']} gives two trials with equal values the "
            "same folder, and a search may try the same values twice.",
            value=written["subdir"],
            cure="Add the trial's number: ${hydra.job.num}",
        )


def new_folder(sweep_dir: Path, subdir: str) -> Path:
    """Make the folder, or the first of ``SUBDIR.1``, ``SUBDIR.2`` … that is not there: an earlier
    attempt's, or another study's in the same sweep dir, stays as it is."""
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
    """Have ``place`` lead to ``folder``. A disk that knows no links does without: the study itself
    knows where its trials lie."""
    fresh = place.with_name(f".{place.name}-{secrets.token_hex(3)}")
    try:
        fresh.symlink_to(folder)
        os.replace(fresh, place)
    except OSError:  # or a folder is in its place, of a trial whose config could not be composed
        fresh.unlink(missing_ok=True)


def earlier(study: optuna.Study, claimed: Attempt) -> tuple[Path, ...]:
    """Folders of the trial's earlier attempts, the last one first."""
    before = _before(study, claimed)
    return tuple(a.attrs.folder for a in reversed(before) if a.attrs.folder is not None)


def first_subdir(study: optuna.Study, claimed: Attempt) -> str | None:
    """What an earlier attempt of the trial resolved ``hydra.sweep.subdir`` to."""
    before = _before(study, claimed)
    return next((a.attrs.subdir for a in before if a.attrs.subdir is not None), None)


def _before(study: optuna.Study, claimed: Attempt) -> Sequence[Attempt]:
    if not claimed.attempt:
        return ()
    attempts = [a for a in attempts_of(study) if a.slot == claimed.slot]
    return sorted((a for a in attempts if a.attempt < claimed.attempt), key=lambda a: a.attempt)
