"""Workers in processes of their own: on this machine, or by a Hydra launcher."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweepmore import slots
from sweepmore.cli import ROOT_VARIABLE
from sweepmore.errors import Interrupted, StudyError
from sweepmore.join import is_all_taken, is_done, work
from sweepmore.owner import this_process
from sweepmore.settings import Sweep, read
from sweepmore.signals import stop_signals, unbroken
from sweepmore.studies import view
from sweepmore.worker import Search, too_many_failures

# Workers that died in a row without one trial being finished: then something else is wrong.
MOST_BARREN_DEATHS = 3
# How often a parent without workers looks at trials that run on other machines.
ELSEWHERE_SECONDS = 1.0
# A worker that was asked twice to stop is killed after this.
KILL_SECONDS = 5.0
# How a worker process learns that it is one: {"study", "index", "parent", "since"} as JSON.
WORKER_VARIABLE = "SWEEPMORE_WORKER"


@dataclass
class LauncherWorker:
    """The task that a Hydra launcher runs instead of the application's: a worker of the study.

    Launchers pickle it, and submitit keeps the pickle: so it holds the storage as written.
    """

    arguments: tuple[str, ...]
    config: DictConfig
    part: Mapping[str, Any]
    task: TaskFunction
    root: str

    def __call__(self, job: DictConfig) -> None:
        from hydra._internal.callbacks import Callbacks
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from hydra._internal.utils import create_config_search_path

        os.environ[ROOT_VARIABLE] = self.root
        context = HydraContext(
            config_loader=ConfigLoaderImpl(create_config_search_path(None)),
            callbacks=Callbacks(self.config),
        )
        index = HydraConfig.get().job.num
        asked = read(self.arguments, self.config, context)
        stopped = work(asked, {**self.part, "index": index}, context, self.task)
        if stopped is not None:
            raise Interrupted(stopped)


@dataclass
class Processes:
    """Workers as processes of this machine: the same command again, told that it is a worker."""

    asked: Sweep
    study: optuna.Study
    search: Search
    stopping: Callable[[], None]

    def run(self) -> int | None:
        """Start, replace the dead while trials are left, hand signals on."""
        count = self.asked.settings.n_jobs
        running: dict[int, subprocess.Popen[bytes]] = {}
        next_index, barren, counted = count, 0, 0
        told = False
        with stop_signals() as stop:
            try:
                running.update((index, self._start(index)) for index in range(count))
                while running:
                    time.sleep(0.05)
                    if stop() is not None and not told:
                        told = True
                        self.stopping()
                        self._signal(running.values(), signal.SIGTERM)
                    for index, process in list(running.items()):
                        if process.poll() is None:
                            continue
                        del running[index]
                        if told or process.returncode == 0:
                            continue
                        with unbroken():
                            seen = view(self.study)
                        now = len(seen.counted)
                        barren = barren + 1 if now == counted else 1
                        counted = now
                        if barren >= MOST_BARREN_DEATHS:
                            raise self._all_die(index)
                        if not is_done(seen, self.asked):
                            running[next_index] = self._start(next_index)
                            next_index += 1
                    if not running and not told and self._left(stop):
                        running[next_index] = self._start(next_index)
                        next_index += 1
                return stop()
            finally:
                self._end(list(running.values()))

    def _left(self, stop: Callable[[], int | None]) -> bool:
        """Whether there is a trial for a new worker: of one that died at the very end, or of
        another machine's that has died since. While its trials run, this parent waits."""
        while stop() is None:
            with unbroken():
                slots.reap(self.study, view(self.study), self.asked.settings.max_retries)
                failed, finished = slots.failure_share(self.study, self.search.since)
                seen = view(self.study)
            if too_many_failures(failed, finished, self.search.n_trials, self.search):
                return False
            if is_done(seen, self.asked):
                return False
            if not is_all_taken(seen, self.asked):
                return True
            time.sleep(ELSEWHERE_SECONDS)
        return False

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        """The same command with the frozen config, in a session of its own: Ctrl-C in the
        terminal is the parent's to hand on."""
        part = {
            "study": self.study.study_name,
            "index": index,
            "parent": this_process(),
            "since": self.search.since,
        }
        environment = {**os.environ, WORKER_VARIABLE: json.dumps(part)}
        environment.update(resources(index, self.asked.settings.n_jobs))
        frozen = self.search.frozen
        command = frozen_command(sys.orig_argv, str(frozen.main), frozen.search_path_override)
        logs = self.search.folder / "workers"
        logs.mkdir(exist_ok=True)
        with (logs / f"{index}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _signal(self, processes: Iterable[subprocess.Popen[bytes]], signum: int) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signum)

    def _end(self, running: list[subprocess.Popen[bytes]]) -> None:
        """After a second signal or an error: at once, then by force."""
        self._signal(running, signal.SIGTERM)
        deadline = time.monotonic() + KILL_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _all_die(self, index: int) -> StudyError:
        log = self.search.folder / "workers" / f"{index}.log"
        tail = "\n    ".join(log.read_text(errors="replace").strip().splitlines()[-8:])
        return StudyError(
            f"{MOST_BARREN_DEATHS} workers died without finishing a trial. The last one said:\n"
            f"    {tail}",
            value=str(log),
            cure=f"Its whole output is in {log}; the same command goes on after the repair.",
        )


def frozen_command(argv: Sequence[str], config_path: str, override: str) -> list[str]:
    """The command line with the frozen sources instead of its own.

    Hydra's parser takes the overrides in one row only, so ours goes before the first of them.
    """
    words = list(argv)
    at = next((i for i, w in enumerate(words) if i and "=" in w and w[0] != "-"), len(words))
    return [*words[:at], override, *words[at:], "--config-path", config_path]


def resources(index: int, n_jobs: int) -> dict[str, str]:
    """A worker's share of the machine: its threads, and one GPU where there are several."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = str(max(1, (cores or 1) // n_jobs))
    found = {
        name: threads
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        if name not in os.environ
    }
    devices = visible_gpus()
    if len(devices) > 1:
        found["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
    return found


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
