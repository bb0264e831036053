"""The thread in which a parent plans, reaps and shows while its workers train."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

from sweepmore.compose.settings import Sweep
from sweepmore.errors import StudyError, said
from sweepmore.process.identity import is_alive, on_this_host, this_process
from sweepmore.process.memory import MemoryKills
from sweepmore.storage.opening import removed
from sweepmore.storage.patience import DatabaseAway, StudyGone, deleted, is_away
from sweepmore.storage.urls import file_of, shown
from sweepmore.study import slots
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.view import StudyView, view
from sweepmore.sweep.checkpoints import BestOnly
from sweepmore.sweep.context import MARK, study_folder
from sweepmore.sweep.live_line import Shown, live
from sweepmore.wording import duration

# How often the parent plans, reaps and shows.
TICK_SECONDS = 0.25
# How long it waits after a tick that failed: a database needs a moment to come back (a guess).
AFTER_AN_ERROR = 2.0


@dataclass
class Follower:
    """Plans, reaps and shows in a thread, inside its ``with`` block.

    It survives a database that fails for a while. It also watches what the sweep works on: when
    the study, its folder or its database was removed, ``gone`` holds the error, and leaving the
    block raises it.
    """

    asked: Sweep
    study: optuna.Study
    began: float = field(default_factory=time.monotonic)
    gone: StudyError | None = None
    # set on entering the block: what has to stay there, …
    _folder: Path = field(init=False)  # the study's
    _uid: str = field(init=False)  # the study's
    _file: Path | None = field(init=False)  # SQLite's
    _file_id: tuple[int, int] | None = field(init=False)  # its device and inode
    # … and what runs
    _show: contextlib.AbstractContextManager[Shown] = field(init=False)
    _shown: Shown = field(init=False)
    _thread: threading.Thread = field(init=False)
    _kills: MemoryKills = field(default_factory=MemoryKills, init=False)
    # two threads may look for the dead: this one and the crew's
    _reaping: threading.Lock = field(default_factory=threading.Lock, init=False)
    _thin_out: BestOnly = field(default_factory=BestOnly, init=False)
    _done: threading.Event = field(default_factory=threading.Event, init=False)

    def __enter__(self) -> Follower:
        # Remember what the sweep works on, to notice when it is removed.
        self._folder = study_folder(self.asked.outputs, self.study)
        self._uid = StudyAttributes.of(self.study).uid
        self._file = file_of(self.asked.url)
        self._file_id = None if self._file is None else _identity(self._file)
        # Plan once before any worker starts, so that the first one finds a trial and an error is
        # raised here. From then on the thread does it.
        self._show = live(self.asked)
        self._shown = self._show.__enter__()
        self.tick()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._done.set()
        self._thread.join()
        self._show.__exit__(None, None, None)
        # A database that is away has been waited for already: nothing more can be written.
        if isinstance(error, DatabaseAway):
            return
        # What was removed explains any other error, so it is what people read.
        if self._is_gone():
            assert self.gone is not None
            raise self.gone from error
        with contextlib.suppress(Exception):
            # Look once more: since the last tick the last trials ended, or workers were killed.
            self._keep(self.reap())
            self._resign()

    def stopping(self) -> None:
        """Have the live line say that the sweep is stopping, instead of how long it will take."""
        self._shown.stopping = True

    @property
    def elapsed(self) -> float:
        """Seconds since this parent began."""
        return time.monotonic() - self.began

    def _follow(self) -> None:
        while not self._done.wait(TICK_SECONDS):
            try:
                self._look()
                self.tick()
            except Exception as error:  # a database that fails now may be back at the next tick
                if self._is_gone():
                    return
                if not is_away(error):  # the connection itself says that the database is away
                    print(f"warning: the study cannot be read: {said(error)}", file=sys.stderr)
                self._done.wait(AFTER_AN_ERROR)

    def _is_gone(self) -> bool:
        """Whether what the sweep works on was removed; ``gone`` then holds the error."""
        if self.gone is None:
            try:
                self._look()
            except StudyGone as gone:
                self.gone = gone
            except Exception:  # a database that fails is still there
                pass
        return self.gone is not None

    def _look(self) -> None:
        """Raise StudyGone when the database's file, the study's folder or the study was removed.

        A study that was begun in its place since may have its number, but not its ``uid``.
        """
        missing = []
        if self._file is not None and _identity(self._file) != self._file_id:
            missing.append(self._file)
        if not (self._folder / MARK).exists():
            missing.append(self._folder)
        if missing:
            raise removed(missing)
        try:
            uid = StudyAttributes.of(self.study).uid
        except StudyGone:
            uid = ""
        if uid != self._uid:
            raise deleted(f"The study {self.study.study_name}", shown(self.asked.url))

    def reap(self) -> StudyView:
        """Free the trials of dead workers, and return the study as it is afterwards."""
        with self._reaping:
            return self._reap(view(self.study))

    def tick(self) -> None:
        """Free the trials of dead workers, plan the next ones, clean up, and show.

        Only the leading parent of a study plans; the others follow all the same.
        """
        asked = self.asked
        snapshot = self.reap()
        if self._leads() and slots.plan(self.study, snapshot, asked.n_trials, asked.fixed_params):
            snapshot = view(self.study)
        self._keep(snapshot)
        self._shown.update(snapshot)

    def _reap(self, snapshot: StudyView) -> StudyView:
        retries, starved = self.asked.settings.max_retries, set[int]()

        def lacked_memory(attempt: Attempt) -> bool:
            """Whether the kernel killed its worker, as far as this host counts its kills."""
            is_here = attempt.owner is not None and on_this_host(attempt.owner)
            if is_here and self._kills.explain():
                starved.add(attempt.number)
            return attempt.number in starved

        self._kills.look()
        dead = slots.reap(self.study, snapshot, retries, lacked_memory)
        for attempt in dead:
            process = f"process {(attempt.owner or {}).get('pid')}"
            if slots.was_stopped(attempt):
                print(f"trial {attempt.root} was handed back: its node has left", flush=True)
                continue
            if attempt.number in starved:
                then = "failed" if attempt.attrs.alone else "it will be retried alone on its GPU"
                print(f"trial {attempt.root} ran out of memory ({process}): {then}", flush=True)
                continue
            then = "it will be retried" if attempt.deaths < retries else "given up"
            print(f"the worker of trial {attempt.root} died ({process}): {then}", flush=True)
        return view(self.study) if dead else snapshot

    def _keep(self, snapshot: StudyView) -> None:
        """Keep those checkpoints that ``hydra.sweeper.keep`` asks for."""
        if self.asked.settings.keep == "best":
            self._thin_out(snapshot)

    def _leads(self) -> bool:
        """Whether this parent plans, which only one parent of a study does.

        Two that take over at the same moment may plan a slot twice; ``view.without_void`` ignores
        the second trial.
        """
        # Another parent plans and lives: leave it to that one.
        leader, me = slots.leader(self.study) or {}, this_process()
        mine = {key: leader.get(key) for key in me} == me
        if leader and not mine:
            return False
        # Take over, or renew the sign of life now and then: after LEADER_SECONDS without one, the
        # next parent takes over from this one.
        before = None if leader else StudyAttributes.of(self.study).leader
        if not mine or time.time() - leader["time"] > slots.LEADER_SECONDS / 10:
            StudyAttributes(leader={**me, "time": time.time()}).write(self.study)
        if before and {key: before.get(key) for key in me} != me:
            self._say_that_it_is_silent(before)
        return True

    def _say_that_it_is_silent(self, before: Mapping[str, Any]) -> None:
        """Warn that the earlier planner is silent, unless it is known to have ended."""
        if on_this_host(before) and not is_alive(before):
            return
        print(
            f"warning: process {before['pid']} on {before['host']}, which planned the trials, has "
            f"given no sign of life for {duration(time.time() - before['time'])} "
            "(was it stopped by Ctrl-Z?): this one plans them now",
            file=sys.stderr,
            flush=True,
        )

    def _resign(self) -> None:
        """Give up planning, so that another parent can begin without waiting."""
        leader = StudyAttributes.of(self.study).leader
        if leader is not None and leader["pid"] == os.getpid() and on_this_host(leader):
            StudyAttributes(leader={}).write(self.study)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file, which survive renaming; None when it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
