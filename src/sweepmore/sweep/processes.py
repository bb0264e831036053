"""Workers as processes of this machine, and each one's share of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
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

# A worker that was asked twice to stop is killed after this.
KILL_SECONDS = 5.0
# How a worker process learns that it is one: {"study", "index", "parent", "since", "quiet"} as
# JSON, where quiet are the words of its command that keep Hydra's callbacks from hearing of it.
WORKER_VARIABLE = "SWEEPMORE_WORKER"


@dataclass
class Processes(Crew[subprocess.Popen[bytes]]):
    """Workers as processes of this machine: the same command again, told that it is a worker."""

    # where the words of each begin in its log, in bytes
    _begins: dict[int, int] = field(default_factory=dict, init=False)

    def start(self, index: int) -> subprocess.Popen[bytes]:
        """The same command with the frozen config, in a session of its own: Ctrl-C in the
        terminal is the parent's to hand on."""
        # so that Hydra tells no callback of each worker that a sweep begins and ends
        quiet = [f"~hydra.callbacks.{name}" for name in self.asked.callbacks]
        part = {
            "study": self.study.study_name,
            "index": index,
            "parent": this_process(),
            "since": self.shared.since,
            "quiet": quiet,
        }
        environment = {**os.environ, WORKER_VARIABLE: json.dumps(part)}
        environment.update(resources(index, self.asked.settings.n_jobs))
        # The words of this very process, so that an application's own flags are among them.
        start = [sys.executable, *start_words()]
        words = sys.orig_argv[len(start) :]
        command = frozen_command(start, words, self.shared.frozen, *quiet)
        # Its output goes to a log, which `all_died` reads from here on.
        log_path = self._log(index)
        log_path.parent.mkdir(exist_ok=True)
        with log_path.open("ab") as log:
            self._begins[index] = log.tell()  # behind what workers of earlier starts said
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ending(self, one: subprocess.Popen[bytes]) -> Ending | None:
        code = one.poll()
        if code is None:
            return None
        if code - 128 in STOPPING:
            return Ending.STOPPED
        return Ending.DIED if code else Ending.DONE

    def pid(self, one: subprocess.Popen[bytes]) -> int:
        return one.pid

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
            told = f"{died} {ended(last.returncode)}; its log cannot be read: {error.strerror}."
            cure = f"Its log is {log}; rerun the same command after the repair to continue."
        else:
            told = "\n    ".join([f"{died} said:", *lines])
            if not lines:
                told, cure = silent(died, last.returncode, log)
        return StudyError(told, value=str(log), cure=cure)

    def _log(self, index: int) -> Path:
        return self.shared.folder / "workers" / f"{index}.log"


def said_since(log: Path, begins: int) -> list[str]:
    """The lines of a log from this byte on."""
    with log.open("rb") as file:
        file.seek(begins)
        return file.read().decode(errors="replace").strip().splitlines()


def silent(died: str, code: int, log: Path) -> tuple[str, str]:
    """Problem and cure of a worker that left no word: whether it could have."""
    told = f"{died} {ended(code)} and said nothing"
    try:
        with log.open("ab") as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        problem = f"{told}: its log {log} could not be written ({error.strerror})."
        return problem, "Make room, or mend the disk; then rerun the same command to continue."
    cure = "It was killed from outside, for example for lack of memory (see dmesg)"
    return f"{told} in {log}.", f"{cure}; rerun the same command after the repair to continue."


def ended(code: int) -> str:
    """How a process ended, by subprocess's return ``code``, for a sentence about it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a number that Python has no name for
        return f"was killed by signal {-code}"


def starts_again(words: Sequence[str]) -> bool:
    """Whether this process's command line, typed or completed by its script, is that of the sweep
    with these words. That of a program which calls Hydra by itself, such as a test, is not: it
    would start that program."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    own = sys.argv if main and os.path.abspath(main) == os.path.abspath(sys.argv[0]) else []
    return {*words} <= {*sys.orig_argv, *own}


def frozen_command(
    start: Sequence[str], words: Sequence[str], frozen: FrozenConfig, *more: str
) -> list[str]:
    """The command line, what starts the application and its own words, with the frozen sources
    instead of its own, and ``more`` words.

    Hydra's parser takes the overrides in one row only. It reads the sources of the first search
    path, so ours goes before them all; of other keys the last value counts.
    """
    flags, others = split_flags(words)
    places = [at for at, word in enumerate(others) if _is_override(word)] or [len(others)]
    first, end = places[0], places[-1] + 1
    row = [frozen.search_path_override, *others[first:end], *more]
    ours = flag_words({**flags, **frozen.flags})
    return [*start, *ours, *others[:first], *row, *others[end:]]


def _is_override(word: str) -> bool:
    return word.startswith("~") or ("=" in word and not word.startswith("-"))


def resources(index: int, n_jobs: int) -> dict[str, str]:
    """A worker's share of the machine, as environment variables: its threads, and one GPU where
    there are several. Numbers of threads that the user has set stay."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = str(max(1, (cores or 1) // n_jobs))
    shares = {
        name: threads
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        if name not in os.environ
    }
    devices = visible_gpus()
    # One GPU is everybody's; several are dealt out in turn.
    if len(devices) > 1:
        shares["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
    return shares


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by the driver's tool: torch is not ours to import."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [device for device in named.split(",") if device]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split()
