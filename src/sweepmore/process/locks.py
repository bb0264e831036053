"""Locks of files, which the kernel frees when their process ends, however it ends."""

from __future__ import annotations

import contextlib
from typing import IO, Any


def try_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Lock an open file, and return whether nobody else had locked it; never blocks.

    Shared locks exclude only those that are not. A second call replaces the first one's lock. Where
    files cannot be locked (Windows, some network disks) it is as if everybody were alone.
    """
    with contextlib.suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def unlock(file: IO[Any]) -> None:
    """Free the lock of an open file, if it has one."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
