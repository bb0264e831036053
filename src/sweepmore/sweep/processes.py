"""Workers as processes of this machine, each with its share of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweepmore.compose.frozen import FrozenConfig
from sweepmore.errors import StudyError
from sweepmore.process.identity import this_process
from sweepmore.process.invocation import flag_words, split_flags, start_words
from sweepmore.process.signals import STOPPING
from sweepmore.sweep.crew import MOST_BARREN_DEATHS, Crew, Ending

# A worker that was asked twice to stop is killed after this (a guess).
KILL_SECONDS = 5.0
# The variable by which a process learns that it is a worker. It holds JSON with the keys study,
# index, parent, since, quiet (the words of its command that keep Hydra's callbacks out), placed
# (what it gets of this machine) and seat (None where other starts need not wait for it).
WORKER_VARIABLE = "SWEEPMORE_WORKER"


@dataclass
class Processes(Crew[subprocess.Popen[bytes]]):
    """Workers as processes of this machine: the same command, with ``WORKER_VARIABLE`` set."""

    # where each worker's output begins in its log, in bytes
    _begins: dict[int, int] = field(default_factory=dict, init=False)

    def start(self, index: int, seat: int) -> subprocess.Popen[bytes]:
        """Start the same command with the frozen config.

        It runs in a session of its own, because the terminal would otherwise send Ctrl-C to the
        worker as well: passing it on is left to the parent.
        """
        # Say which worker it is. Callbacks are left out of its command: they would hear from each
        # worker that a sweep begins and ends.
        quiet = [f"~hydra.callbacks.{name}" for name in self.asked.callbacks]
        share, settings = self.asked.shares[seat], self.asked.settings
        is_held = settings.placement is not None or settings.n_jobs == "auto"
        part = {
            "study": self.study.study_name,
            "index": index,
            "parent": this_process(),
            "since": self.shared.since,
            "quiet": quiet,
            "placed": share.as_json(),
            "seat": seat if is_held else None,
        }
        environment = {**os.environ, **share.variables, WORKER_VARIABLE: json.dumps(part)}
        # Append its output to a log. `all_died` reads it from here on, which leaves out the output
        # of workers of earlier starts.
        log_path = self._log(index)
        log_path.parent.mkdir(exist_ok=True)
        with log_path.open("ab") as log:
            self._begins[index] = log.tell()
            return subprocess.Popen(
                self.command(quiet),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def command(self, quiet: Sequence[str]) -> list[str]:
        """Repeat the words of this very process, which include the application's own flags."""
        start = [sys.executable, *start_words()]
        words = sys.orig_argv[len(start) :]
        return frozen_command(start, words, self.shared.frozen, *quiet)

    def ending(self, process: subprocess.Popen[bytes]) -> Ending | None:
        code = process.poll()
        if code is None:
            return None
        if code - 128 in STOPPING:
            return Ending.STOPPED
        return Ending.DIED if code else Ending.DONE

    def pid(self, process: subprocess.Popen[bytes]) -> int:
        return process.pid

    def stop(self, left: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def leave(self, left: Sequence[subprocess.Popen[bytes]]) -> None:
        """Send each the second signal, and kill those that work on after ``KILL_SECONDS``."""
        self.stop(left)
        deadline = time.monotonic() + KILL_SECONDS
        for process in left:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def all_died(self, index: int, last: subprocess.Popen[bytes]) -> StudyError:
        log = self._log(index)
        died = f"{MOST_BARREN_DEATHS} workers died without finishing a trial. The last one"
        cure = f"Its whole output is in {log}; rerun the same command after the repair to continue."
        try:
            lines = said_since(log, self._begins[index])[-8:]
        except OSError as error:
            problem = f"{died} {ended(last.returncode)}; its log cannot be read: {error.strerror}."
            cure = f"Its log is {log}; rerun the same command after the repair to continue."
        else:
            problem = "\n    ".join([f"{died} said:", *lines])
            if not lines:
                problem, cure = silent(died, last.returncode, log)
        return StudyError(problem, value=str(log), cure=cure)

    def _log(self, index: int) -> Path:
        return self.shared.folder / "workers" / f"{index}.log"


def said_since(log: Path, begins: int) -> list[str]:
    """Return the lines of a log from byte ``begins`` on; OSError when it cannot be read."""
    with log.open("rb") as file:
        file.seek(begins)
        return file.read().decode(errors="replace").strip().splitlines()


def silent(died: str, code: int, log: Path) -> tuple[str, str]:
    """Return problem and cure for a worker that died without a word.

    If its log cannot be written, that is the reason for its silence. Otherwise something outside
    has killed it.
    """
    problem = f"{died} {ended(code)} and said nothing"
    try:
        with log.open("ab") as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        problem = f"{problem}: its log {log} could not be written ({error.strerror})."
        return problem, "Make room, or mend the disk; then rerun the same command to continue."
    cure = "It was killed from outside, for example for lack of memory (see dmesg)"
    return f"{problem} in {log}.", f"{cure}; rerun the same command after the repair to continue."


def ended(code: int) -> str:
    """Say how a process ended, given the return ``code`` of subprocess (negative for a signal)."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a number that Python has no name for
        return f"was killed by signal {-code}"


def starts_again(words: Sequence[str]) -> bool:
    """Whether this process's command line, with these words, would start the same sweep.

    The words may have been typed, or added by the script itself. A program that calls Hydra by
    itself, such as a test, has another command line: repeating it would start that program.
    """
    main = getattr(sys.modules["__main__"], "__file__", None)
    own = sys.argv if main and os.path.abspath(main) == os.path.abspath(sys.argv[0]) else []
    return {*words} <= {*sys.orig_argv, *own}


def frozen_command(
    start: Sequence[str], words: Sequence[str], frozen: FrozenConfig, *more: str
) -> list[str]:
    """Return a command line for the application that composes the frozen sources.

    ``start`` holds the words that start it, ``words`` its own, and ``more`` further overrides.
    Hydra's parser accepts overrides in one uninterrupted row only. It uses the first search path,
    so ours comes first; for other keys the last value counts, so ``more`` comes last.
    """
    # Find the row of overrides among the application's own words.
    flags, others = split_flags(words)
    places = [at for at, word in enumerate(others) if is_override(word)] or [len(others)]
    first, end = places[0], places[-1] + 1
    # Extend it at both ends, and replace Hydra's flags that name the sources.
    row = [frozen.search_path_override, *others[first:end], *more]
    ours = flag_words({**flags, **frozen.flags})
    return [*start, *ours, *others[:first], *row, *others[end:]]


def is_override(word: str) -> bool:
    """Whether a word of an application's command is an override of Hydra's."""
    return word.startswith("~") or ("=" in word and not word.startswith("-"))
