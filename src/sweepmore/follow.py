"""The thread of a parent that plans, reaps and shows while workers work."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from dataclasses import dataclass, field

import optuna

from sweepmore import show, slots
from sweepmore.errors import said
from sweepmore.keep import BestOnly
from sweepmore.owner import on_this_host, this_process
from sweepmore.patience import DatabaseAway, is_away
from sweepmore.settings import Sweep
from sweepmore.studies import StudyView, view

# How often the parent plans, reaps and shows.
TICK_SECONDS = 0.25
# How long it waits after a tick that failed.
AFTER_AN_ERROR = 2.0


@dataclass
class Follower:
    """Runs inside its ``with`` block; survives a database that fails for a while."""

    asked: Sweep
    study: optuna.Study
    began: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Follower:
        self._thin_out = BestOnly()
        self._done = threading.Event()
        self._show = show.live(self.asked)
        self._shown = self._show.__enter__()
        self.tick()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._done.set()
        self._thread.join()
        self._show.__exit__(None, None, None)
        if isinstance(error, DatabaseAway):  # which was waited for
            return
        with contextlib.suppress(Exception):
            # since the last tick the last trials ended, or workers that were stopped by force
            self._keep(self._reap(view(self.study)))
            self._resign()

    def stopping(self) -> None:
        """The line no longer says how long it will take."""
        self._shown.stopping = True

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def _follow(self) -> None:
        while not self._done.wait(TICK_SECONDS):
            try:
                self.tick()
            except Exception as error:  # a database that fails now may be back at the next tick
                if not is_away(error):  # which has been said
                    print(f"warning: the study cannot be read: {said(error)}", file=sys.stderr)
                self._done.wait(AFTER_AN_ERROR)

    def tick(self) -> None:
        asked = self.asked
        seen = self._reap(view(self.study))
        if self._leads() and slots.plan(self.study, seen, asked.n_trials, asked.fixed_params):
            seen = view(self.study)
        self._keep(seen)
        self._shown.update(seen)

    def _reap(self, seen: StudyView) -> StudyView:
        """What is seen once the trials of dead workers are free again."""
        retries = self.asked.settings.max_retries
        found = slots.reap(self.study, seen, retries)
        for dead in found:
            print(
                f"the worker of trial {dead.root} died (process {(dead.owner or {}).get('pid')}): "
                f"{'it is tried again' if dead.deaths < retries else 'given up'}",
                flush=True,
            )
        return view(self.study) if found else seen

    def _keep(self, seen: StudyView) -> None:
        if self.asked.settings.keep == "best":
            self._thin_out(seen)

    def _leads(self) -> bool:
        """One parent of a study plans. Two that take over at once plan a slot twice, which is
        told apart later (``studies.without_void``)."""
        leader, me = slots.leader(self.study) or {}, this_process()
        mine = {key: leader.get(key) for key in me} == me
        if leader and not mine:
            return False
        if not mine or time.time() - leader["time"] > slots.LEASE_SECONDS / 10:
            self.study.set_user_attr("leader", {**me, "time": time.time()})
        return True

    def _resign(self) -> None:
        leader = self.study.user_attrs.get("leader")
        if leader is not None and leader["pid"] == os.getpid() and on_this_host(leader):
            self.study.set_user_attr("leader", None)
