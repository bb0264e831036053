"""How far a sweep is, in one line: refreshed on a terminal, printed now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optuna.trial import TrialState
from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweepmore.study.attempts import Attempt, runs_each, words
from sweepmore.study.view import StudyView
from sweepmore.wording import decimals, duration, plural

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep

# Without a terminal, a line is printed when it has changed, but not more often than this.
LINE_SECONDS = 5.0


@dataclass
class Shown:
    """The state of a sweep in one line, refreshed in place or printed anew."""

    asked: Sweep
    workers: int
    live: Live | None = None  # on a terminal
    last_line: str = ""  # as printed, without a terminal
    last_time: float = field(default=0.0)  # of that line, monotonic seconds
    stopping: bool = False

    def update(self, snapshot: StudyView) -> None:
        """Show the study as it is now; without a terminal at most every ``LINE_SECONDS``."""
        line = self.line(snapshot)
        if self.live is not None:
            self.live.update(Text(line, overflow="ellipsis", no_wrap=True))
        elif line != self.last_line and time.monotonic() - self.last_time >= LINE_SECONDS:
            print(line, flush=True)
            self.last_line, self.last_time = line, time.monotonic()

    def line(self, snapshot: StudyView) -> str:
        """Write the line: trials done, those that ended otherwise, the best, and the time left."""
        counts = {
            "running": len(snapshot.running),
            "pruned": snapshot.count(TrialState.PRUNED),
            "failed": len(snapshot.failed),
            "diverged": len(snapshot.infeasible),
        }
        parts = [f"{len(snapshot.counted)}/{self.asked.n_trials} done{self._runs(snapshot)}"]
        parts += [f"{number} {what}" for what, number in counts.items() if number]
        if snapshot.ranked:
            best = snapshot.ranked[0]
            parts.append(f"best {value_of(best)} (trial {best.root}: {words(best.params)})")
        seconds = snapshot.seconds_left(self.asked.n_trials)
        if self.stopping:
            parts.append("stopping")
        elif seconds is not None and seconds > 0:
            parts.append(f"{duration(seconds / self.workers)} left")
        return " · ".join(parts)

    def _runs(self, snapshot: StudyView) -> str:
        """Say how many runs are done, where trials are repeated.

        A trial of several runs takes long, so the number of trials alone would hardly ever change.
        """
        if (each := runs_each(self.asked.settings.repeats)) == 1:
            return ""
        done = each * len(snapshot.counted) + sum(
            len(a.attrs.repeats or ()) for a in snapshot.running
        )
        return f" ({done} of {plural(each * self.asked.n_trials, 'run')})"


@contextmanager
def live(asked: Sweep) -> Iterator[Shown]:
    """Yield a line that is refreshed on a terminal, and printed now and then elsewhere."""
    console = Console()
    if not console.is_terminal:
        yield Shown(asked, asked.settings.n_jobs)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as bar:
        yield Shown(asked, asked.settings.n_jobs, bar)


def value_of(attempt: Attempt) -> str:
    """Write a trial's values, with the standard deviation over repeats if there is one."""
    values = attempt.values or ()
    shown = ", ".join(map(decimals, values))
    if attempt.attrs.std is None:
        return shown
    return f"{shown} (sd {decimals(attempt.attrs.std, values[0])})"
