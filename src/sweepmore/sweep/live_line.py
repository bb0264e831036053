"""How far a sweep is: a few lines, refreshed on a terminal; elsewhere one, printed now and then."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optuna.trial import TrialState
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweepmore.consoles import stdout_console
from sweepmore.study.attempts import Attempt, runs_each, words
from sweepmore.study.view import StudyView
from sweepmore.sweep.strip import BEST, kinds_of, legend, strip
from sweepmore.wording import decimals, duration, last_parts, plural

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep

# Without a terminal, a line is printed when it has changed, but not more often than this.
LINE_SECONDS = 5.0
# Columns of the bar on a terminal, as wide as that of a run.
BAR_WIDTH = 15
# Where the strip would be narrower, its legend is without words (a guess).
LEAST_STRIP = 10


@dataclass
class Shown:
    """The state of a sweep, refreshed in place or printed anew."""

    asked: Sweep
    workers: int
    live: Live | None = None  # on a terminal
    last_line: str = ""  # as printed, without a terminal
    last_time: float = field(default=0.0)  # of that line, monotonic seconds
    stopping: bool = False

    def update(self, snapshot: StudyView) -> None:
        """Show the study as it is now; without a terminal at most every ``LINE_SECONDS``."""
        if self.live is not None:
            self.live.update(self.lines(snapshot, self.live.console.width))
            return
        line = self.line(snapshot)
        if line != self.last_line and time.monotonic() - self.last_time >= LINE_SECONDS:
            print(line, flush=True)
            self.last_line, self.last_time = line, time.monotonic()

    def lines(self, snapshot: StudyView, width: int) -> Group:
        """Draw the bar, the trials as a strip, and the best trial, for a terminal."""
        many = len(snapshot.directions) > 1
        label = "best in the first objective" if many else f"{BEST.mark} best"
        best = best_lines(snapshot.ranked[0], width, label) if snapshot.ranked else ()
        return Group(
            self._bar(snapshot),
            self._strip(snapshot, width),
            *(Text(line, "bold", no_wrap=True) for line in best),
        )

    def _bar(self, snapshot: StudyView) -> Table:
        """Draw how much is done, and write it beside the bar, with the time that is left."""
        done = ProgressBar(
            self.asked.n_trials,
            len(snapshot.counted),
            width=BAR_WIDTH,
            complete_style="cyan",
            finished_style="green",
        )
        row = Table.grid(padding=(0, 1, 0, 0))
        text = " · ".join([self._done(snapshot), *self._left(snapshot)])
        row.add_row(done, Text(text, overflow="ellipsis", no_wrap=True))
        return row

    def _strip(self, snapshot: StudyView, width: int) -> Text:
        """Draw the trials, and explain beside them what the characters mean."""
        kinds = kinds_of(snapshot)
        explained = legend(kinds)
        if width - len(explained) - 2 < LEAST_STRIP:
            explained = legend(kinds, short=True)
        cells = strip(kinds, self.asked.n_trials, max(1, width - len(explained) - 2))
        line = Text("  ").join([cells, explained]) if explained else cells
        line.no_wrap, line.overflow = True, "crop"
        return line

    def line(self, snapshot: StudyView) -> str:
        """Write all in one line: trials done, those that ended otherwise, the best, time left."""
        counts = {
            "running": len(snapshot.running),
            "pruned": snapshot.count(TrialState.PRUNED),
            "failed": len(snapshot.failed),
            "diverged": len(snapshot.infeasible),
        }
        parts = [self._done(snapshot)]
        parts += [f"{number} {what}" for what, number in counts.items() if number]
        if snapshot.ranked:
            best = snapshot.ranked[0]
            parts.append(f"best {value_of(best)} (trial {best.root}: {words(best.params)})")
        return " · ".join([*parts, *self._left(snapshot)])

    def _done(self, snapshot: StudyView) -> str:
        """Say how many trials are done, and how many runs where trials are repeated.

        A trial of several runs takes long, so the number of trials alone would hardly ever change.
        """
        trials = f"{len(snapshot.counted):,}/{self.asked.n_trials:,} done"
        if (each := runs_each(self.asked.settings.repeats)) == 1:
            return trials
        done = each * len(snapshot.counted) + sum(
            len(a.attrs.repeats or ()) for a in snapshot.running
        )
        return f"{trials} ({done:,} of {plural(each * self.asked.n_trials, 'run')})"

    def _left(self, snapshot: StudyView) -> list[str]:
        """Say how long the rest will take, in a list that is empty where that is unknown."""
        if self.stopping:
            return ["stopping"]
        seconds = snapshot.seconds_left(self.asked.n_trials)
        return [f"{duration(seconds / self.workers)} left"] if seconds else []


@contextmanager
def live(asked: Sweep) -> Iterator[Shown]:
    """Yield lines that are refreshed on a terminal, or one that is printed now and then."""
    console = stdout_console()
    if not console.is_terminal:
        yield Shown(asked, asked.n_jobs)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as shown:
        yield Shown(asked, asked.n_jobs, shown)


def best_lines(best: Attempt, width: int, label: str = f"{BEST.mark} best") -> list[str]:
    """Write the best trial with all its settings, in as few lines as ``width`` allows.

    Where one line does not suffice, the settings lose the group in front of their names, and the
    value its spread.
    """
    value, params = value_of(best), last_parts(best.params)
    mean = value.partition(" (sd")[0]
    texts = [
        f"{label} {shown} · trial {best.root} · {words(settings)}"
        for shown, settings in ((value, best.params), (value, params), (mean, params))
    ]
    fitting = next((text for text in texts if len(text) <= width), None)
    if fitting is not None:
        return [fitting]
    return textwrap.wrap(texts[1], width, subsequent_indent="  ", break_on_hyphens=False)


def value_of(attempt: Attempt) -> str:
    """Write a trial's values, with the standard deviation over repeats if there is one."""
    values = attempt.values or ()
    shown = ", ".join(map(decimals, values))
    if attempt.attrs.std is None:
        return shown
    return f"{shown} (sd {decimals(attempt.attrs.std, values[0])})"
