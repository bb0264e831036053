"""What a task may change in the process that runs it, and how the next trial finds it as it was."""

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
# All that may have a handler.
_SIGNALS = tuple(
    one
    for one in signal.valid_signals()
    if one not in {getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP")}
)


@dataclass(frozen=True)
class Snapshot:
    """The state of this process that is not a trial's own."""

    folder: Path | None  # None where it is gone
    environment: Mapping[str, str]
    words: tuple[str, ...]  # of the command line
    handlers: Mapping[int, Any]  # none outside the main thread, which alone may set them
    loggers: Mapping[str, LoggerState]
    disabled_logging: int
    warning_filters: tuple[Any, ...]
    show_warning: tuple[Any, Any]
    libraries: tuple[Callable[[], object], ...]  # each puts its own state back

    @classmethod
    def taken(cls) -> Snapshot:
        return cls(
            folder=working_folder(),
            environment=dict(os.environ),
            words=tuple(sys.argv),
            handlers={one: signal.getsignal(one) for one in _SIGNALS} if in_main_thread() else {},
            loggers={name: _state(logger) for name, logger in _loggers().items()},
            disabled_logging=logging.root.manager.disable,
            warning_filters=tuple(warnings.filters),
            show_warning=(warnings.showwarning, warnings.formatwarning),
            libraries=tuple(_libraries()),
        )

    def restore(self) -> None:
        """Only what differs is touched. A folder that is gone is made again, so that relative
        paths mean what they meant; where that fails the process stays where it is."""
        if self.handlers and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm for a task that has ended
        for signum, handler in self.handlers.items():
            if handler is not None and signal.getsignal(signum) is not handler:
                signal.signal(signum, handler)
        return_to(self.folder)
        sys.argv[:] = self.words
        if dict(os.environ) != self.environment:
            for name in os.environ.keys() - self.environment.keys():
                del os.environ[name]
            os.environ.update(self.environment)
        self._restore_logging()
        if tuple(warnings.filters) != self.warning_filters:
            warnings.resetwarnings()  # so that what each module has been warned of counts anew
            warnings.filters[:] = self.warning_filters  # type: ignore[index]  # a list in CPython
        warnings.showwarning, warnings.formatwarning = self.show_warning
        for put_back in self.libraries:
            put_back()

    def _restore_logging(self) -> None:
        logging.disable(self.disabled_logging)
        for name, logger in _loggers().items():
            before = self.loggers.get(name)  # none: what an import left counts for the next, too
            if before is not None and _state(logger) != before:
                level, logger.propagate, logger.disabled, handlers, filters = before
                logger.setLevel(level)
                logger.handlers[:], logger.filters[:] = handlers, filters


def return_to(folder: Path | None) -> None:
    """Make it the working directory again, and anew where it is gone."""
    if folder is None or working_folder() == folder:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)


def working_folder() -> Path | None:
    """None where it is gone."""
    try:
        return Path.cwd()
    except OSError:
        return None


def _loggers() -> dict[str, logging.Logger]:
    """All that somebody has asked for by now, and the root as ``""``."""
    named = logging.root.manager.loggerDict.items()
    found = {name: one for name, one in named if isinstance(one, logging.Logger)}
    return {"": logging.root, **found}


def _state(logger: logging.Logger) -> LoggerState:
    handlers, filters = tuple(logger.handlers), tuple(logger.filters)
    return logger.level, logger.propagate, logger.disabled, handlers, filters


def _libraries() -> Iterator[Callable[[], object]]:
    """Global generators and threads, of libraries that are there already: none is imported.

    A generator is not put back but seeded anew from where it was: the next trial's draws depend
    on nothing that this one did, and are yet no repetition of its own.
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
    """The trial was the first to import it: how many threads it would have had is not known."""
    if (torch := _torch()) is not None:
        torch.seed()


def _torch() -> Any:
    """None where it is not imported, or only half."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "get_rng_state") else None


@contextmanager
def unchanged() -> Iterator[None]:
    """What the block changes in this process is put back on leaving."""
    before = Snapshot.taken()
    try:
        yield
    finally:
        before.restore()
