"""Files that are either complete or absent: written beside, synced, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweepmore.errors import RunError


def create_private(path: Path) -> None:
    """Create an empty file that only its owner can read and write, unless the file exists.

    It is for a database whose rows nobody else shall change; SQLite gives its journal that mode.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def write_atomic(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Replace the file ``path``: a kill at any instant leaves the old content or the new.

    Raises RunError where its folder is gone: to create that again would leave half a run.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except FileNotFoundError as error:
        cure = "It was removed while it was in use. Start again."
        problem = f"The folder {path.parent} is gone."
        raise RunError(problem, value=str(path.parent), cure=cure) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)  # mkstemp's 0600 would hide results from one's own group
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make a rename or a new name in ``folder`` survive a power cut; only on POSIX."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Create a folder with what ``fill`` writes into it, all at once.

    Nobody ever finds it half full. Raises OSError where it exists already: of two processes that
    start together, one gets that.
    """
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh.chmod(0o755)  # mkdtemp's 0700 would hide it from one's own group
        fill(fresh)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def write_json(path: Path, content: object, mode: int = 0o644) -> None:
    """Write strict JSON atomically: NaN and infinities raise ValueError."""
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    write_atomic(path, f"{text}\n", mode)


def read_json(path: Path) -> Any:
    """Read a JSON file of a run. Raises RunError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        cure = "The folder is not a run's, or the run ended before it was written."
        raise RunError(f"{path} is missing.", value=str(path), cure=cure) from None
    except (ValueError, UnicodeDecodeError) as error:
        cure = "The file is damaged. Repeat the run."
        raise RunError(f"{path} is not JSON: {error}.", value=str(path), cure=cure) from error
