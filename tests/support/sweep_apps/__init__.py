"""A copy of the test application in a folder of its own, run as a user would run it."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

from sweepmore.process.identity import is_alive
from sweepmore.storage.opening import open_storage
from sweepmore.study.view import StudyView, view
from tests.support.helpers import environment

HERE = Path(__file__).parent
SWEEPER = "hydra.sweeper."
Words = tuple[str, ...]
Done = subprocess.CompletedProcess[str]
# Bounds a hang, in seconds. No test may need it, nor anything that a slow machine exceeds: what a
# test waits for it brings about, by gates that the application's tasks wait for.
PATIENCE = 120.0


def until(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for it to be true and return it; AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain")


@dataclass
class App:
    """``script`` in ``folder``; words that begin with ``:`` are keys of hydra.sweeper."""

    folder: Path
    script: str = "app.py"
    inside: tuple[str, ...] = ()  # the command within which it runs

    @classmethod
    def copied(cls, folder: Path, inside: tuple[str, ...] = ()) -> App:
        shutil.copytree(HERE, folder / "app", ignore=shutil.ignore_patterns("__*"))
        return cls(folder / "app", inside=inside)

    def with_constants(self, **values: float | str) -> App:
        """Whose processes have these in the place of ours, such as
        ``study_slots__LEADER_SECONDS``: room, module, constant."""
        lines = ["import importlib, runpy", "from pathlib import Path"]
        for name, value in values.items():
            place, _, constant = name.partition("__")
            module = f"sweepmore.{place.replace('_', '.', 1)}"
            lines.append(f"importlib.import_module({module!r}).{constant} = {value}")
        lines.append("runpy.run_path(str(Path(__file__).with_name('app.py')), run_name='__main__')")
        (self.folder / "patched.py").write_text("\n".join(lines) + "\n")
        return App(self.folder, "patched.py", self.inside)

    def command(self, *words: str) -> list[str]:
        full = [w.replace(":", SWEEPER, 1) if w.startswith(":") else w for w in words]
        return [*self.inside, sys.executable, str(self.folder / self.script), "-m", *full]

    @contextmanager
    def started(
        self, *words: str, env: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """Like a terminal would start it; whatever is left of it at the end is killed."""
        process = subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=environment(env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            for left in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()
            process.kill()
            process.communicate()

    def run(
        self, *words: str, timeout: float = PATIENCE, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        with self.started(*words, env=env) as process:
            out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def ok(
        self, *words: str, timeout: float = PATIENCE, env: Mapping[str, str] | None = None
    ) -> str:
        """Its output; it must have ended well."""
        done = self.run(*words, timeout=timeout, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def refused(self, *words: str, code: int = 2, env: Mapping[str, str] | None = None) -> str:
        """Its one message, without a traceback of ours."""
        return refusal(self.run(*words, env=env), code)

    def each(self, *lines: Words, env: Mapping[str, str] | None = None) -> dict[Words, Done]:
        """``run`` of one line of words after another, in forks of one start, which takes 0.5 s."""
        done = subprocess.run(
            [sys.executable, str(HERE.parent / "forks.py")],
            cwd=self.folder,
            env=environment(env or {}),
            input=json.dumps([self.command(*words)[1:] for words in lines]),
            capture_output=True,
            text=True,
            timeout=len(lines) * PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        ended = [Done(words, *one) for words, one in zip(lines, json.loads(done.stdout))]
        return dict(zip(lines, ended, strict=True))

    @property
    def database(self) -> Path:
        return self.folder / "outputs" / "studies.db"

    def study(self, name: str = "s", database: Path | None = None) -> optuna.Study:
        url = URL.create("sqlite", database=str(database or self.database))
        return optuna.load_study(study_name=name, storage=open_storage(url))

    def trials(self, name: str = "s") -> list[FrozenTrial]:
        return self.study(name).get_trials()

    def view(self, name: str = "s") -> StudyView:
        return view(self.study(name))

    def names(self) -> set[str]:
        url = URL.create("sqlite", database=str(self.database))
        return set(optuna.get_all_study_names(open_storage(url)))

    def running(self, name: str = "s") -> list[FrozenTrial]:
        """Trials whose task has begun, which is a line in ``seen.jsonl``, and whose worker lives:
        one of a dead worker stays RUNNING until it is reaped."""
        if not self.database.exists():
            return []
        try:
            trials = self.trials(name)
        except KeyError:  # the study is not there yet
            return []
        begun = {(row["root"], row["attempt"]) for row in self.seen()}
        return [
            t
            for t in trials
            if t.state is TrialState.RUNNING
            and "owner" in t.user_attrs
            and is_alive(t.user_attrs["owner"])
            and (t.user_attrs.get("root", t.number), t.user_attrs.get("attempt", 0)) in begun
        ]

    def has_finished(self, number: int, name: str = "s") -> bool:
        """Whether so many trials count."""
        return len(slots_of(self.trials(name))) >= number

    def seen(self) -> list[dict[str, Any]]:
        """A line for each task that has begun."""
        return self.lines("seen")

    def lines(self, name: str) -> list[Any]:
        """What its tasks wrote to ``name.jsonl``."""
        path = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def pids(self) -> set[int]:
        """Of the processes that have begun a task."""
        return {row["pid"] for row in self.seen()}

    def open_gate(self, *roots: int) -> None:
        """Let the tasks of these trials end that wait for it, or those of all."""
        gates = self.folder / "gates"
        gates.mkdir(exist_ok=True)
        for name in roots or ("all",):
            (gates / str(name)).touch()

    def close_gates(self) -> None:
        shutil.rmtree(self.folder / "gates")

    def processes(self) -> list[psutil.Process]:
        """Of this copy: its folder stands in their command line."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if process.info["status"] != psutil.STATUS_ZOMBIE and any(
                str(self.folder) in word for word in words
            ):
                found.append(process)
        return found

    def gone(self) -> bool:
        """Wait until none is left."""
        return bool(until(lambda: not self.processes()))


def runs(pid: int) -> bool:
    """Whether there is a process with this number that is no zombie: not every init reaps."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


# Takes a database for itself and says so, until its input ends; its command line does not name the
# application's folder, for it is none of the processes that a sweep may leave.
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(input(), isolation_level=None, timeout=60)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Inside the block another program keeps a database of SQLite to itself."""
    command, pipe = [sys.executable, "-c", HOLDER], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        print(database, file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "held\n"
        yield
        # leaving closes its input


def slots_of(trials: list[FrozenTrial]) -> list[int]:
    """The slots of the trials that count, sorted: each must stand there once."""
    counted = [
        t
        for t in trials
        if t.state in (TrialState.COMPLETE, TrialState.PRUNED)
        or (t.state is TrialState.FAIL and t.user_attrs.get("reason") == "exception")
    ]
    return sorted(t.user_attrs["slot"] for t in counted)


def refusal(done: Done, code: int = 2) -> str:
    """Its one message, without a traceback of ours."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr.partition("error:")[0]
    return done.stderr


def errors(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr
