"""How a worker process ended, by its exit code, and that it hears a signal."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any, cast

import pytest

from sweepmore.crew import Ending
from sweepmore.launch import Processes, starts_again


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
    monkeypatch.setattr(sys.modules["__main__"], "__file__", script)
    assert starts_again(["x=1,2"]) is starts


ASLEEP = """
import os, signal, threading, time
from sweepmore.signals import ignore_continue
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
