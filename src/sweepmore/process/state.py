"""What a task may change in the process that runs it, and how it is restored for the next trial."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sweepmore.process.signals import in_main_thread

# Level, propagate, disabled, handlers, filters.
LoggerState = tuple[int, bool, bool, tuple[Any, ...], tuple[Any, ...]]
# All signals that may have a handler.
_SIGNALS = tuple(
    signum
    for signum in signal.valid_signals()
    if signum not in {getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP")}
)


@dataclass(frozen=True)
class Snapshot:
    """The state of this process that a trial must not change for the next."""

    folder: Path | None  # the working directory; None where it is gone
    environment: Mapping[str, str]
    words: tuple[str, ...]  # of the command line
    handlers: Mapping[int, Any]  # none outside the main thread, which alone may set them
    loggers: Mapping[str, LoggerState]
    disabled_logging: int
    warning_filters: tuple[Any, ...]
    show_warning: tuple[Any, Any]
    libraries: tuple[Callable[[], object], ...]  # each restores one library's state

    @classmethod
    def taken(cls) -> Snapshot:
        """The state as it is now."""
        heard: tuple[int, ...] = _SIGNALS if in_main_thread() else ()
        return cls(
            folder=working_folder(),
            environment=dict(os.environ),
            words=tuple(sys.argv),
            handlers={signum: signal.getsignal(signum) for signum in heard},
            loggers={name: _state(logger) for name, logger in _loggers().items()},
            disabled_logging=logging.root.manager.disable,
            warning_filters=tuple(warnings.filters),
            show_warning=(warnings.showwarning, warnings.formatwarning),
            libraries=tuple(_libraries()),
        )

    def restore(self) -> None:
        """Restore what differs, and touch nothing else.

        A working directory that is gone is made again, so that relative paths mean what they
        meant; where that fails the process stays where it is.
        """
        # signals and the working directory
        if self.handlers and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm for a task that has ended
        for signum, handler in self.handlers.items():
            if handler is not None and signal.getsignal(signum) is not handler:
                signal.signal(signum, handler)
        return_to(self.folder)
        # the command line and the environment
        sys.argv[:] = self.words
        if dict(os.environ) != self.environment:
            for name in os.environ.keys() - self.environment.keys():
                del os.environ[name]
            os.environ.update(self.environment)
        # logging and warnings
        self._restore_logging()
        if tuple(warnings.filters) != self.warning_filters:
            warnings.resetwarnings()  # so that what each module has been warned of counts anew
            warnings.filters[:] = self.warning_filters  # type: ignore[index]  # a list in CPython
        warnings.showwarning, warnings.formatwarning = self.show_warning
        # random generators and threads of libraries
        for restore_library in self.libraries:
            restore_library()

    def _restore_logging(self) -> None:
        logging.disable(self.disabled_logging)
        for name, logger in _loggers().items():
            before = self.loggers.get(name)  # none: what an import left counts for the next, too
            if before is not None and _state(logger) != before:
                level, logger.propagate, logger.disabled, handlers, filters = before
                for handler in logger.handlers:
                    if handler not in handlers and _is_appending(handler):
                        handler.close()  # as Hydra's of the job's log; used again, it opens again
                logger.setLevel(level)
                logger.handlers[:], logger.filters[:] = handlers, filters


def _is_appending(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.FileHandler) and handler.mode.startswith("a")


def return_to(folder: Path | None) -> None:
    """Make ``folder`` the working directory again; create it where it is gone."""
    if folder is None or working_folder() == folder:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)


def working_folder() -> Path | None:
    """The working directory; None where it is gone."""
    try:
        return Path.cwd()
    except OSError:
        return None


def _loggers() -> dict[str, logging.Logger]:
    """All loggers that somebody has asked for by now, and the root as ``""``."""
    entries = logging.root.manager.loggerDict.items()
    named = {name: logger for name, logger in entries if isinstance(logger, logging.Logger)}
    return {"": logging.root, **named}


def _state(logger: logging.Logger) -> LoggerState:
    handlers, filters = tuple(logger.handlers), tuple(logger.filters)
    return logger.level, logger.propagate, logger.disabled, handlers, filters


def _libraries() -> Iterator[Callable[[], object]]:
    """Functions that restore global generators and thread counts of libraries already imported.

    A generator is not put back, but seeded anew from the state it had: the next trial's draws
    depend on nothing that this one did, and still do not repeat this one's.
    """
    state = random.getstate()

    def seed_random() -> None:
        random.setstate(state)
        random.seed(random.getrandbits(128))

    yield seed_random
    if (numpy := sys.modules.get("numpy.random")) is not None:
        yield partial(_seed_numpy, numpy, numpy.get_state())
    if (torch := _torch()) is None:
        yield _seed_new_torch
    else:
        yield partial(_seed_torch, torch, torch.get_rng_state(), torch.get_num_threads())


def _seed_numpy(numpy: Any, state: Any) -> None:
    numpy.set_state(state)
    numpy.seed(numpy.randint(0, 2**32, size=4, dtype="uint32"))


def _seed_torch(torch: Any, state: Any, threads: int) -> None:
    torch.set_rng_state(state)
    torch.manual_seed(int(torch.randint(2**62, ())))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _seed_new_torch() -> None:
    """Where the trial was the first to import torch, its earlier thread count is unknown."""
    if (torch := _torch()) is not None:
        torch.seed()


def _torch() -> Any:
    """The module torch; None where it is not imported, or only in part."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "get_rng_state") else None


@contextmanager
def unchanged() -> Iterator[None]:
    """Restore on leaving what the block changes in this process (see ``Snapshot``)."""
    before = Snapshot.taken()
    try:
        yield
    finally:
        before.restore()
