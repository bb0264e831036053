"""Ctrl-C, SIGTERM, a closed terminal: nothing new starts, running trials are handed back, nobody
is left over."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from optuna.trial import TrialState

from sweepmore.process.signals import ECHO_SECONDS, signals_raise, stop_signals, unbroken
from tests.support.helpers import environment
from tests.support.sweep_apps import PATIENCE, App, slots_of, until

# How the task takes a signal. Neither ends by itself while its gate is closed: a command that has
# ended has not waited for it.
COOPERATIVE, UNCOOPERATIVE = "does=reporting", "does=gated"
SLOW = [pytest.mark.slow, pytest.mark.faults]
WORDS = ("x=interval(0,1)", ":n_trials=4", ":study_name=s")


@pytest.mark.parametrize(
    ("task", "n_jobs", "signum"),
    [
        (COOPERATIVE, 1, signal.SIGINT),
        (COOPERATIVE, 2, signal.SIGINT),
        (UNCOOPERATIVE, 1, signal.SIGTERM),
        (UNCOOPERATIVE, 2, signal.SIGTERM),
        (UNCOOPERATIVE, 2, signal.SIGHUP),
        pytest.param(COOPERATIVE, 1, signal.SIGHUP, marks=SLOW),
        pytest.param(COOPERATIVE, 1, signal.SIGTERM, marks=SLOW),
        pytest.param(COOPERATIVE, 2, signal.SIGTERM, marks=SLOW),
        pytest.param(UNCOOPERATIVE, 1, signal.SIGINT, marks=SLOW),
        pytest.param(UNCOOPERATIVE, 2, signal.SIGINT, marks=SLOW),
    ],
)
@pytest.mark.usefixtures("hangups")
def test_one_signal_hands_the_trials_back(
    app: App, task: str, n_jobs: int, signum: signal.Signals
) -> None:
    with app.started(*WORDS, task, f":n_jobs={n_jobs}") as process:
        until(lambda: len(app.running()) == n_jobs)
        if task == COOPERATIVE:
            until(lambda: all(t.intermediate_values for t in app.running()))
        process.send_signal(signum)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + signum, out + err
        told = rf"\d+ trials? to go, {n_jobs} of them begun"
        last = out.splitlines()[-2:]
        assert re.fullmatch(rf"stopped: {told}; to continue, rerun:", last[0])
        assert last[1].startswith(f"         python {app.folder / 'app.py'} -m ")
        assert "next: " not in out
        assert "Traceback" not in err
        assert app.gone()
    trials = app.trials()
    assert not [t for t in trials if t.state is TrialState.RUNNING]
    back = [t for t in trials if t.state is TrialState.FAIL]
    again = [t for t in trials if t.user_attrs.get("attempt") == 1]
    assert [t.user_attrs["reason"] for t in back] == ["handed_back"] * n_jobs
    assert sorted(t.user_attrs["root"] for t in again) == [t.number for t in back]
    assert all(t.state is TrialState.WAITING for t in again)
    assert slots_of(trials) == []


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_next_start_takes_over(app: App, n_jobs: int) -> None:
    words = (*WORDS, f":n_jobs={n_jobs}", "does=reporting")
    with app.started(*words) as process:
        until(lambda: len(app.running()) == n_jobs)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    back = {t.number: t.params for t in app.trials() if t.state is TrialState.FAIL}
    assert len(back) == n_jobs
    app.open_gate()
    app.ok(*words)
    trials = app.trials()
    assert slots_of(trials) == list(range(4))
    again = {t.user_attrs["root"]: t.params for t in trials if t.user_attrs.get("attempt") == 1}
    assert again == back  # the same points


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_second_signal_stops_at_once(app: App, n_jobs: int) -> None:
    """A cooperative task whose step takes long: the first one waits for it, the second does not."""
    with app.started(*WORDS, "does=stuck", f":n_jobs={n_jobs}") as process:
        until(lambda: len(app.lines("stuck")) == n_jobs)
        process.send_signal(signal.SIGINT)
        until(lambda: len(app.lines("heard")) == n_jobs)
        assert app.lines("heard") == [False] * n_jobs  # still in its step
        assert len(app.running()) == n_jobs
        time.sleep(ECHO_SECONDS)  # a worker's second SIGTERM is none before that
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, out + err
        assert app.lines("heard") == [False] * n_jobs + [True] * n_jobs
        assert app.gone()
    assert {t.state for t in app.trials() if t.number < n_jobs} == {TrialState.FAIL}


@contextmanager
def in_a_terminal(app: App, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Its process and the other end of the terminal that it writes to; closed on leaving."""
    ours, its = os.openpty()

    def take_it() -> None:
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        app.command(*words), cwd=app.folder, env=environment({}), stdin=its, stdout=its, stderr=its,
        start_new_session=True, preexec_fn=take_it,
    )  # fmt: skip
    os.close(its)
    try:
        yield process, ours
    finally:
        for left in app.processes():
            left.kill()
        process.wait()


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(("task", "n_jobs"), [(COOPERATIVE, 1), (UNCOOPERATIVE, 2)])
def test_a_closed_terminal_hands_the_trials_back(app: App, task: str, n_jobs: int) -> None:
    """What is written to it from then on is an error, of which nobody may die."""
    with in_a_terminal(app, *WORDS, task, f":n_jobs={n_jobs}") as (process, terminal):
        until(lambda: len(app.running()) == n_jobs)
        os.close(terminal)
        assert process.wait(PATIENCE) == 129
        assert app.gone()
    back = [t for t in app.trials() if t.state is TrialState.FAIL]
    assert [t.user_attrs["reason"] for t in back] == ["handed_back"] * n_jobs
    assert TrialState.RUNNING not in {t.state for t in app.trials()}


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=SLOW)])
def test_nohup_is_left_alone(app: App, n_jobs: int) -> None:
    inside = App(app.folder, inside=("nohup",))
    with inside.started(*WORDS, COOPERATIVE, f":n_jobs={n_jobs}") as process:
        until(lambda: len(app.running()) == n_jobs)
        for one in app.processes():
            one.send_signal(signal.SIGHUP)
        app.open_gate()
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
    assert slots_of(app.trials()) == list(range(4))
    assert len(app.seen()) == 4


@pytest.mark.usefixtures("hangups")
def test_a_hangup_is_a_signal_unless_it_is_ignored() -> None:
    with stop_signals() as told:
        signal.raise_signal(signal.SIGHUP)
        assert told() == signal.SIGHUP
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_signals() as told, signals_raise(), unbroken():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.raise_signal(signal.SIGHUP)
    assert told() is None


def test_slurms_signal_counts_as_one(app: App) -> None:
    with app.started(*WORDS, UNCOOPERATIVE) as process:
        until(app.running)
        process.send_signal(signal.SIGUSR2)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + signal.SIGUSR2
    assert [t.user_attrs.get("reason") for t in app.trials()][:1] == ["handed_back"]


def test_a_task_does_not_begin_after_a_signal(app: App) -> None:
    done = app.run(*WORDS, ":custom_search_space=hooks.signalled")
    assert done.returncode == 128 + signal.SIGTERM, done.stdout + done.stderr
    assert app.seen() == []
    assert [t.user_attrs.get("reason") for t in app.trials()][:1] == ["handed_back"]


def test_a_signal_within_a_transaction(app: App) -> None:
    """An exception raised there would leave the database locked by a process that waits for it."""
    done = app.run(*WORDS, "does=struck")
    assert done.returncode == 128 + signal.SIGTERM, done.stdout + done.stderr
    assert [t.user_attrs.get("reason") for t in app.trials()][:1] == ["handed_back"]


def test_unbroken_keeps_a_signal_until_the_end() -> None:
    heard: list[str] = []
    before = {
        signal.SIGUSR2: signal.signal(signal.SIGUSR2, lambda *of: heard.append("signal")),
        # a job in a shell's background ignores it
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    try:
        with unbroken():
            signal.raise_signal(signal.SIGUSR2)
            signal.raise_signal(signal.SIGINT)  # its handler raises KeyboardInterrupt
            heard.append("end of the block")
    except KeyboardInterrupt:
        heard.append("Ctrl-C")
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    assert heard == ["end of the block", "signal", "Ctrl-C"]
