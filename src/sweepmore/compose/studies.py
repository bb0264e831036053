"""Opening the databases of a place, and the study that a name means there."""

from __future__ import annotations

import warnings
from collections import ChainMap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar

import optuna
from optuna.storages import BaseStorage

from sweepmore.compose import script_storage
from sweepmore.errors import StudyError, UserError
from sweepmore.runs.finding import last_begun
from sweepmore.runs.places import STORAGE, Place, find_place
from sweepmore.study.loading import began_by_name, load
from sweepmore.study.records import StudyRecord, record_of
from sweepmore.wording import shown_path

T = TypeVar("T")


def load_study(
    name: str, *, outputs: str | Path | None = None, storage: str | None = None
) -> StudyRecord:
    """Read a study by its name; ``last`` is the one whose last trial began last.

    ``outputs`` is the folder of runs and studies, by default the nearest ``outputs`` in the working
    directory or above it. ``storage`` is the database's URL, by default the one that the sweep
    used. Raises StudyError where there is no such study, RunError where ``outputs`` is no folder.

    >>> import sweepmore
    >>> study = sweepmore.load_study("last")
    >>> study.best.value, study.best.params
    (0.25, {'x': 1.5})
    """
    with opened_study(name, find_place(outputs, storage)) as (study, _):
        return record_of(study)


@contextmanager
def opened(place: Place) -> Iterator[BaseStorage]:
    """Open the database of ``place`` for the block; an empty one where there are no outputs yet.

    Raises StudyError and ConfigError as ``script_storage.opened`` does.
    """
    if place.storage is None and not place.outputs.exists():
        yield optuna.storages.InMemoryStorage()
        return
    with script_storage.opened(place.storage, place.outputs) as database:
        yield database


@contextmanager
def opened_study(name: str, place: Place) -> Iterator[tuple[optuna.Study, Place]]:
    """Open a study by its name, or ``last``, for the block, with the place where it is.

    Raises StudyError where there is no such study.
    """
    if name == "last":
        name = last_study(place)
    found = place.of_study(name)
    with opened(found) as database:
        yield load(database, name), found


def last_study(place: Place) -> str:
    """Return the name of the study whose last trial began last, in any database of ``place``.

    Raises StudyError where there is none.
    """
    name = last_begun(began_in(place))
    if name is None:
        cure = "Start one: your application with -m and hydra/sweeper=sweepmore."
        raise StudyError(f"There is no study in {place.outputs}.", value="last", cure=cure)
    return name


def began_in(place: Place) -> dict[str, float]:
    """Return when each study of ``place`` began its newest trial, in Unix time, by its name."""

    def began(database: BaseStorage, of: Place) -> dict[str, float]:
        return began_by_name(database, optuna.get_all_study_names(database))

    return dict(ChainMap(*reversed(read_each(place, began))))


def names_in(place: Place) -> set[str]:
    """Return the names of all studies of ``place``, without reading their trials."""
    names = read_each(place, lambda database, of: optuna.get_all_study_names(database))
    return set(chain.from_iterable(names))


def read_each(place: Place, read: Callable[[BaseStorage, Place], T]) -> list[T]:
    """Return what ``read`` returns for each database of ``place``.

    A database that a study's folder names may be away or gone: a warning says so, and the others
    are read. Raises UserError where the only or the default one cannot be read.
    """
    done = []
    for each in place.each():
        try:
            with opened(each) as database:
                done.append(read(database, each))
        except UserError as error:
            if each == place:
                raise
            where = f"a file {STORAGE} in {shown_path(place.outputs)}/studies names it"
            warnings.warn(f"{error.problem} Its studies are left out; {where}.", stacklevel=2)
    return done
