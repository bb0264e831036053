"""How far a sweep is, in one line: refreshed on a terminal, printed now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from optuna.trial import TrialState
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweepmore.study.attempts import Attempt, runs_each, words
from sweepmore.study.view import StudyView
from sweepmore.wording import decimals, duration, plural

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep

# Without a terminal, a line is printed when it has changed, but not more often than this.
LINE_SECONDS = 5.0
# Columns of the bar on a terminal, as wide as that of a run.
BAR_WIDTH = 15


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
        if self.live is not None:
            self.live.update(self.bar(snapshot, self.live.console.width))
            return
        line = self.line(snapshot)
        if line != self.last_line and time.monotonic() - self.last_time >= LINE_SECONDS:
            print(line, flush=True)
            self.last_line, self.last_time = line, time.monotonic()

    def bar(self, snapshot: StudyView, width: int) -> Table:
        """Return a bar and the line beside it; a narrow terminal shows less of the best."""
        lines = [self.line(snapshot, best) for best in ("settings", "number", "value", "mean")]
        room = width - BAR_WIDTH - 1
        line = next((line for line in lines if len(line) <= room), lines[-1])
        row = Table.grid(padding=(0, 1, 0, 0))
        done = ProgressBar(
            self.asked.n_trials,
            len(snapshot.counted),
            width=BAR_WIDTH,
            complete_style="cyan",
            finished_style="green",
        )
        row.add_row(done, Text(line, overflow="ellipsis", no_wrap=True))
        return row

    def line(
        self,
        snapshot: StudyView,
        best_by: Literal["settings", "number", "value", "mean"] = "settings",
    ) -> str:
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
            number = f"trial {best.root}"
            which = {"settings": f" ({number}: {words(best.params)})", "number": f" ({number})"}
            value = value_of(best).partition(" (sd")[0] if best_by == "mean" else value_of(best)
            parts.append(f"best {value}{which.get(best_by, '')}")
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
