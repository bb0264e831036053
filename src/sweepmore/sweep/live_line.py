"""How far a sweep is, in one line: refreshed on a terminal, printed now and then off one."""

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

# Without a terminal a line is printed when something changed, but not more often than this.
LINE_SECONDS = 5.0


@dataclass
class Shown:
    """The state of a sweep in one line, refreshed in place or printed anew."""

    asked: Sweep
    workers: int
    live: Live | None = None
    last_line: str = ""
    last_time: float = field(default=0.0)
    stopping: bool = False

    def update(self, seen: StudyView) -> None:
        line = self.line(seen)
        if self.live is not None:
            self.live.update(Text(line, overflow="ellipsis", no_wrap=True))
        elif line != self.last_line and time.monotonic() - self.last_time >= LINE_SECONDS:
            print(line, flush=True)
            self.last_line, self.last_time = line, time.monotonic()

    def line(self, seen: StudyView) -> str:
        counts = {
            "running": len(seen.running),
            "pruned": seen.count(TrialState.PRUNED),
            "failed": len(seen.failed),
            "diverged": len(seen.infeasible),
        }
        parts = [f"{len(seen.counted)}/{self.asked.n_trials} done{self._runs(seen)}"]
        parts += [f"{number} {what}" for what, number in counts.items() if number]
        if seen.ranked:
            best = seen.ranked[0]
            parts.append(f"best {value_of(best)} (trial {best.root}: {words(best.params)})")
        seconds = seen.seconds_left(self.asked.n_trials)
        if self.stopping:
            parts.append("stopping")
        elif seconds is not None and seconds > 0:
            parts.append(f"{duration(seconds / self.workers)} left")
        return " · ".join(parts)

    def _runs(self, seen: StudyView) -> str:
        """Of repeated trials: a trial of eight runs takes long until it is done."""
        if (each := runs_each(self.asked.settings.repeats)) == 1:
            return ""
        done = each * len(seen.counted) + sum(len(a.attrs.repeats or ()) for a in seen.running)
        return f" ({done} of {plural(each * self.asked.n_trials, 'run')})"


@contextmanager
def live(asked: Sweep) -> Iterator[Shown]:
    """A line that is refreshed on a terminal; elsewhere a line now and then."""
    console = Console()
    if not console.is_terminal:
        yield Shown(asked, asked.settings.n_jobs)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as bar:
        yield Shown(asked, asked.settings.n_jobs, bar)


def value_of(attempt: Attempt) -> str:
    """With the standard deviation over repeats, where there are."""
    values = attempt.values or ()
    shown = ", ".join(map(decimals, values))
    if attempt.attrs.std is None:
        return shown
    return f"{shown} (sd {decimals(attempt.attrs.std, values[0])})"
