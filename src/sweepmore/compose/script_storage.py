"""The database that a script's ``storage=`` names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from omegaconf import OmegaConf
from sqlalchemy.engine import URL

from sweepmore.compose.composing import composing
from sweepmore.runs.finding import require_outputs
from sweepmore.storage.opening import existing_storage, storage_errors
from sweepmore.storage.urls import not_opened, storage_url


def typed_url(written: str | None, outputs: Path) -> URL:
    """The URL of a script's ``storage=``, of which Hydra has not resolved the references."""
    with composing():
        resolved = OmegaConf.create({"storage": written}).storage
    return storage_url(written, resolved, outputs)


@contextmanager
def opened(written: str | None, outputs: Path) -> Iterator[optuna.storages.BaseStorage]:
    """The database of a script's ``storage=``; to be used within ``with``, see the next. Who only
    reads creates nothing: where studies are not there yet, a database of none is yielded. A file
    or a folder that was named and is not there is refused."""
    url = typed_url(written, outputs)
    file = url.database if written and url.get_backend_name() == "sqlite" else None
    if file and not Path(file).exists():
        raise not_opened(url, "there is no such file", "Name the one that the study is in.")
    if not written:
        require_outputs(outputs)
    with storage_errors(url):
        yield existing_storage(url) or optuna.storages.InMemoryStorage()
