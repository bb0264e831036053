"""How a worker process ended, by its exit code, and that it hears a signal."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sweepmore.errors import StudyError
from sweepmore.sweep.context import StudyContext
from sweepmore.sweep.crew import Ending
from sweepmore.sweep.processes import Processes, starts_again


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        ("exit 0", Ending.DONE),
        ("exit 2", Ending.DIED),
        ("kill -9 $$", Ending.DIED),
        ("kill -15 $$", Ending.DIED),  # before it could hand anything back
        ("exit 130", Ending.STOPPED),
        ("exit 143", Ending.STOPPED),
    ],
)
def test_who_handed_back_did_not_die(script: str, ending: Ending) -> None:
    process = subprocess.Popen(["sh", "-c", script])
    process.wait()
    assert Processes.ending(cast(Any, None), process) is ending


@pytest.mark.parametrize(
    ("typed", "completed", "starts"),
    [
        (["python", "app.py", "-m", "x=1,2"], ["app.py", "-m", "x=1,2"], True),
        (["python", "app.py"], ["app.py", "-m", "x=1,2"], True),  # by the script itself
        (["python", "-m", "pytest"], ["app.py", "-m", "x=1,2"], False),  # by a test
        (["python", "-m", "pytest"], ["pytest"], False),
    ],
)
def test_another_programs_command_line_starts_no_worker(
    typed: list[str], completed: list[str], starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "app.py" if "app.py" in typed else "pytest"
    monkeypatch.setattr(sys, "orig_argv", typed)
    monkeypatch.setattr(sys, "argv", completed)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", script, raising=False)
    assert starts_again(["x=1,2"]) is starts


class TestLastWords:
    """Of three workers that died: what the last one said, or why it said nothing."""

    def told(self, folder: Path, last: str) -> StudyError:
        """By a parent whose log holds words of an earlier start's worker."""
        search = cast(StudyContext, SimpleNamespace(folder=folder))
        crew = Processes(*cast(Any, (None, None, search, None, None, None)))
        log = folder / "workers" / "2.log"
        log.parent.mkdir()
        log.write_text("of an earlier start\n")
        crew._begins[2] = log.stat().st_size
        with log.open("ab") as file:
            process = subprocess.Popen(["sh", "-c", last], stdout=file, stderr=file)
            process.wait()
        return crew.all_died(2, process)

    def test_its_own_and_no_others(self, tmp_path: Path) -> None:
        error = self.told(tmp_path, "echo one; echo two; exit 3")
        assert error.problem == (
            "3 workers died without finishing a trial. The last one said:\n    one\n    two"
        )
        assert str(tmp_path / "workers" / "2.log") in error.cure

    def test_nothing_and_how_it_ended(self, tmp_path: Path) -> None:
        error = self.told(tmp_path, "kill -9 $$")
        assert error.problem.startswith(
            "3 workers died without finishing a trial. The last one was killed by SIGKILL and said "
            "nothing in "
        )
        assert "for lack of memory" in error.cure

    def test_nothing_because_nothing_can_be_written(self, tmp_path: Path) -> None:
        """The file-size limit of a process stands for a full disk."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        heeded = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len("of an earlier start\n"), before[1]))
            error = self.told(tmp_path, "exit 2")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, heeded)
        assert "The last one ended with exit code 2 and said nothing: its log " in error.problem
        assert error.problem.endswith(" could not be written (File too large).")
        assert error.cure == "Make room, or mend the disk; then rerun the same command to continue."

    def test_a_log_that_is_gone(self, tmp_path: Path) -> None:
        error = self.told(tmp_path, f"rm {tmp_path}/workers/2.log; exit 2")
        assert "exit code 2; its log cannot be read: No such file or directory." in error.problem


ASLEEP = """
import os, signal, threading, time
from sweepmore.process.signals import ignore_continue
signal.signal(signal.SIGTERM, lambda *given: os._exit(7))
signal.signal(signal.SIGCONT, lambda *given: None)  # as submitit does
ignore_continue()
for _ in range(3):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
print("asleep", flush=True)
time.sleep(3600)
"""


def test_sigterm_is_heard_beside_sigcont_by_one_who_sleeps() -> None:
    """Ten processes: without ``ignore_continue`` half of such pairs are not heard."""
    asleep = [
        subprocess.Popen([sys.executable, "-c", ASLEEP], stdout=subprocess.PIPE) for _ in range(10)
    ]
    try:
        for process in asleep:
            assert process.stdout is not None
            with process.stdout as out:
                assert out.readline()
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        assert [process.wait(120) for process in asleep] == [7] * 10
    finally:
        for process in asleep:
            process.kill()
            process.wait()
