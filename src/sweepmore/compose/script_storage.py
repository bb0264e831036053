"""The database that a script's ``storage=`` names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf
from sqlalchemy.engine import URL

from sweepmore.compose.composing import composing
from sweepmore.runs.finding import require_outputs
from sweepmore.storage.urls import not_opened, storage_url

if TYPE_CHECKING:
    import optuna


def typed_url(written: str | None, outputs: Path) -> URL:
    """The URL of a script's ``storage=``, whose references are resolved here.

    Raises ConfigError where it is not a URL or holds a password.
    """
    with composing():
        resolved = OmegaConf.create({"storage": written}).storage
    return storage_url(written, resolved, outputs)


@contextmanager
def opened(written: str | None, outputs: Path) -> Iterator[optuna.storages.BaseStorage]:
    """Open the database of a script's ``storage=`` for the block, without creating anything.

    Where there are no studies yet, an empty database in memory is yielded. Raises StudyError where
    the named file does not exist or the database fails, RunError where the folder does not exist.
    """
    import optuna  # no --help of a script waits for it

    from sweepmore.storage.opening import existing_storage, storage_errors

    url = typed_url(written, outputs)
    file = url.database if written and url.get_backend_name() == "sqlite" else None
    if file and not Path(file).exists():
        raise not_opened(url, "there is no such file", "Give the database that holds the study.")
    if not written:
        require_outputs(outputs)
    with storage_errors(url):
        yield existing_storage(url) or optuna.storages.InMemoryStorage()
