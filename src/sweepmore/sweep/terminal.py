"""What a sweep prints: a preview, one live line, and the answer; plain lines off a terminal."""

from __future__ import annotations

import csv
import io
import os
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState
from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweepmore.compose.cli import script_beside
from sweepmore.compose.overrides import override_text
from sweepmore.errors import StudyError, writable
from sweepmore.process.invocation import python
from sweepmore.runs.files import write_atomic
from sweepmore.runs.names import ending
from sweepmore.statistics.intervals import Noise, told_apart_from
from sweepmore.storage.urls import shown
from sweepmore.study.attempts import Attempt, run_of, runs_each, words
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.edges import at_edge
from sweepmore.study.noise import known_noise
from sweepmore.study.view import SHOWN, StudyView, view
from sweepmore.wording import decimals, plural, shown_path

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep
    from sweepmore.sweep.context import StudyContext

# Without a terminal a line is printed when something changed, but not more often than this.
LINE_SECONDS = 5.0
# The overrides of Hydra's own keys that a single run has no use for, by how they begin.
OF_A_SEARCH = tuple(f"hydra{mark}{key}" for key in ("sweep", "launcher") for mark in "./")


def preview(asked: Sweep, name: str, study: optuna.Study | None, workers: str) -> None:
    """Question, budget, time, storage, workers: what is about to happen, in eight lines; a ninth
    where the noise is known, and five where another study's configurations run again."""
    settings, seen = asked.settings, None if study is None else view(study)
    done = len(seen.counted) if seen is not None else 0
    trials, again = plural(asked.n_trials, "trial"), bool(ending(name))
    lines = [
        f"study    {name}" + (f", {done} of {trials} done before" if done else ""),
        f"search   {described(asked.space.searched)}",
        *([] if again else [f"fixed    {' '.join(asked.space.fixed) or 'the defaults'}"]),
        f"budget   {trials}{_of(asked)}; {', '.join(settings.directions)}; "
        f"sampler {short('grid' if asked.gridded else asked.sampler)}, "
        f"pruner {short(settings.pruner)}",
        *([] if again else _told_apart(asked, study)),
        *([] if again else [f"time     {_expected(asked, seen)}"]),
        *([] if again else [f"storage  {shown(asked.url)}"]),
        f"workers  {workers}",
        "stop     Ctrl-C is safe: the same command goes on",
    ]
    print("\n".join(lines), flush=True)


def _told_apart(asked: Sweep, study: optuna.Study | None) -> list[str]:
    """What the budget can tell apart, which nobody knows of a study that has not begun."""
    noise = None if study is None else known_noise(study)
    if noise is None or len(asked.settings.directions) > 1:
        return []
    return [f"apart    {_differences(asked, noise)}; one run's sd is {noise.deviation:.2g}"]


def _differences(asked: Sweep, noise: Noise) -> str:
    return (
        f"among {plural(asked.n_trials, 'trial')}, differences of {_least(asked, noise):.2g} or "
        "more can be told apart"
    )


def _least(asked: Sweep, noise: Noise) -> float:
    """The smallest difference that the whole budget can tell apart."""
    return told_apart_from(noise, asked.n_trials, runs_each(asked.settings.repeats))


def _of(asked: Sweep) -> str:
    parts, known = [], len(asked.enqueued)
    if asked.gridded:
        parts.append("the whole grid")
    if known:
        parts.append("all known" if known == asked.n_trials else f"{known} known first")
    for key, values in (asked.settings.repeats or {}).items():
        few = [*map(str, values[:3]), *(["…"] if len(values) > 3 else [])]
        parts.append(f"{plural(len(values), 'run')} each, {key} {', '.join(few)}")
    if (each := runs_each(asked.settings.repeats)) > 1:
        parts.append(f"{plural(each * asked.n_trials, 'run')} in all")
    return f" ({'; '.join(parts)})" if parts else ""


def short(node: Any) -> str:
    """``tpe`` for {"_target_": "optuna.samplers.TPESampler"}."""
    if isinstance(node, Mapping):
        name = str(node.get("_target_", "")).rpartition(".")[2]
        return name.removesuffix("Sampler").removesuffix("Pruner").lower().replace("nop", "none")
    return str(node or "none")


def described(space: Mapping[str, BaseDistribution]) -> str:
    return ", ".join(f"{name} {_range(one)}" for name, one in space.items()) or "nothing"


def _range(one: Any) -> str:
    if isinstance(one, CategoricalDistribution):
        return "|".join(f"{c:.4g}" if isinstance(c, float) else str(c) for c in one.choices)
    log = " log" if one.log else ""
    step = f" step {one.step}" if one.step not in (None, 1) else ""
    return f"{one.low:g}…{one.high:g}{log}{step}"


def _expected(asked: Sweep, seen: StudyView | None) -> str:
    if seen is None or (seconds := seen.seconds_left(asked.n_trials)) is None:
        return "not known before a trial is done"
    left = asked.n_trials - len(seen.counted)
    return f"about {duration(seconds / asked.settings.n_jobs)} for {left} more"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d} h"
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"


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


def closing(
    asked: Sweep, study: optuna.Study, shared: StudyContext, elapsed: float, stopped: bool
) -> None:
    """The best few, which of them are tied, what to mistrust, and what to do next; of a sweep
    that was ``stopped`` that is said elsewhere."""
    seen = view(study)
    pruned, failed = seen.count(TrialState.PRUNED), len(seen.failed)
    print(
        f"{len(seen.counted)} of {plural(asked.n_trials, 'trial')} done"
        f"{_lately(seen, shared.since)} {duration(elapsed)}: "
        f"{seen.count(TrialState.COMPLETE)} complete, {pruned} pruned, {failed} failed"
    )
    if seen.given_up:
        print(
            f"given up after {plural(asked.settings.max_retries, 'retry', 'retries')}: "
            f"slots {seen.given_up}"
        )
    if seen.infeasible:
        share = len(seen.infeasible) / max(1, len(seen.counted))
        print(f"diverged: {len(seen.infeasible)} ({share:.0%} of the trials)")
    _print_failures(seen)
    write_csv(seen, shared.folder / "trials.csv", StudyAttributes.of(study).as_text)
    confirms = ending(study.study_name)  # confirm.py has its own table
    if not seen.ranked or confirms:
        return
    many = len(seen.directions) > 1
    rows = seen.front if many else seen.ranked[:SHOWN]
    print("no trial beats these in every objective:" if many else "the best:")
    noise = None if many else known_noise(study)
    least = None if noise is None else _least(asked, noise)
    for attempt in rows[: 2 * SHOWN]:
        print(f"  trial {attempt.root:>4}  {value_of(attempt)}{_tied(attempt, rows[0], least)}  "
              f"{words(attempt.params)}")  # fmt: skip
    print(_noise_line(noise, asked, study.study_name))
    for line in at_edge(rows[0].params, asked.space.searched):
        print(f"note: of the best, {line}: look beyond it")
    best = "" if many else f"; the best: {shown_path(run_of(rows[0]))}"
    print(f"folder:  {shown_path(shared.folder)}{best}")
    if stopped:
        return
    print(f"again:   {rerun(asked, rows[0])}")
    if len(seen.counted) >= asked.n_trials and not asked.gridded:
        more, named = asked.command, asked.settings.study_name
        if not named:  # another unnamed study of this question may come first
            name = f"hydra.sweeper.study_name={override_text(study.study_name)}"
            more = {**more, "words": [*more["words"], name]}
        print(f"more:    {command_line(more, 2 * asked.n_trials, here=True)}")
        fresh = "another hydra.sweeper.study_name" if named else "the same command"
        print(f"         {fresh} starts afresh")
    scripts = ["sample.py"] if many else ["confirm.py", "sample.py"]
    ways = [_of_script(script, asked, study.study_name) for script in scripts]
    if ways := [way for way in ways if way is not None]:
        print(f"next:    {' · '.join(ways)}")


def _lately(seen: StudyView, since: float) -> str:
    """``in``, or how many trials this start added to those of earlier ones: ``, 15 more in``."""
    new = [attempt for attempt in seen.counted if attempt.last_sign >= since]
    if len(new) == len(seen.counted):
        return " in"
    return f", {len(new) or 'no'} more in"


def command_line(
    command: Mapping[str, Any], n_trials: int | None = None, *, here: bool = False
) -> str:
    """The command that a study last went on by (``Sweep.command``), with ``n_trials`` as many in
    all: a record for people, or one that runs ``here``."""
    typed = list(command["words"])
    if n_trials is not None:
        key = "hydra.sweeper.n_trials="
        at = next((k for k, word in enumerate(typed) if word.startswith(key)), len(typed))
        typed[at : at + 1] = [f"{key}{n_trials}"]
    if here:
        return _from_here(command, ["-m", *typed])
    return shlex.join(["python", *_started(command), "-m", *typed])


def _from_here(command: Mapping[str, Any], words: Sequence[str]) -> str:
    """The application with these words, from the folder where its own were typed."""
    line, folder = shlex.join([python(), *_started(command, here=True), *words]), _other(command)
    return line if folder is None else f"cd {shlex.quote(shown_path(folder))} && {line}"


def _other(command: Mapping[str, Any]) -> Path | None:
    """The folder where the command was typed, unless it is this one or is not to be found."""
    folder = command.get("folder")  # studies of older versions keep none
    try:
        return Path(folder) if folder and not os.path.samefile(folder, os.curdir) else None
    except OSError:
        return None


def _started(command: Mapping[str, Any], here: bool = False) -> list[str]:
    """What starts the application, and Hydra's flags, as typed; but a whole path is of this
    machine, and no part of a record."""
    words = command["script"] if here else [_name_of_path(word) for word in command["script"]]
    return [*words, *command.get("flags", ())]


def _name_of_path(word: str) -> str:
    return Path(word).name if Path(word).is_absolute() else word


def _tied(attempt: Attempt, best: Attempt, least: float | None) -> str:
    """Where the difference is smaller than the ``least`` that can be told apart."""
    if least is None or attempt is best:
        return ""
    gap = abs((attempt.values or (0.0,))[0] - (best.values or (0.0,))[0])
    return " (tied)" if gap < least else ""


def _of_script(script: str, asked: Sweep, study: str) -> str | None:
    """What a script beside the application has to say of the study, where there is one."""
    start = script_beside(asked.root, script)
    if start is None or asked.where is None:
        return None
    return f"{start} study={shlex.quote(study)}{asked.where}"


def _noise_line(noise: Noise | None, asked: Sweep, study: str) -> str:
    if len(asked.settings.directions) > 1:
        return "noise: compare repeated runs before you choose among them"
    if noise is None:
        confirm = _of_script("confirm.py", asked, study)
        cure = "hydra.sweeper.repeats runs each with several seeds"
        if confirm is not None:
            cure = f"{confirm} noise=true tells which are tied"
        return f"noise: unknown from one run each; {cure}"
    error = noise.deviation / runs_each(asked.settings.repeats) ** 0.5
    return (
        f"noise: a value's standard error is {error:.2g}\n"
        f"       {_differences(asked, noise)}; smaller ones are marked (tied)"
    )


def rerun(asked: Sweep, attempt: Attempt) -> str:
    """A command line that runs the best once more."""
    params, parameters = attempt.params, asked.space.parameters
    searched = [one.override(params[one.name]) for one in parameters if one.name in params]
    # what a custom_search_space added, or an earlier version of the question searched
    added = {name: params[name] for name in params if name not in asked.space.searched}
    others = [f"{name}={override_text(value)}" for name, value in added.items()]
    return _from_here(asked.command, [*_of_one_run(asked), *asked.space.fixed, *searched, *others])


def _of_one_run(asked: Sweep) -> list[str]:
    """The overrides of Hydra's own keys that a single run shares with the trials."""
    modes = [word for word in asked.hydra_overrides if word.lstrip("+").startswith("hydra.mode=")]
    kept = [
        word
        for word in (*asked.hydra_overrides, *asked.searchpath)
        if word not in modes and not word.lstrip("+~").startswith(OF_A_SEARCH)
    ]
    # a search that nobody typed is one by the config itself
    return kept if modes else [*kept, "hydra.mode=RUN"]


def _print_failures(seen: StudyView) -> None:
    """Each different reason once, with where to read more."""
    for text, count, example in _by_reason(seen):
        folder = example.attrs.folder or Path()
        print(f"failed:  {count} × {text.splitlines()[0]} ({shown_path(folder / 'error.txt')})")


def _by_reason(seen: StudyView) -> list[tuple[str, int, Attempt]]:
    """The three most frequent errors: text, number, the first trial that had it."""
    errors = Counter(a.attrs.error or "unknown" for a in seen.failed)
    first = {a.attrs.error or "unknown": a for a in reversed(seen.failed)}
    return [(text, count, first[text]) for text, count in errors.most_common(3)]


def write_csv(seen: StudyView, path: Path, as_text: Sequence[str] = ()) -> None:
    """All attempts as a table for other programs, one row each; what the application kept with a
    trial as ``result.…`` (of its last repeat). Parameters stand as Hydra writes them, so that null
    is no empty text and 1 no "1"; Optuna holds those of ``as_text`` so already."""
    kept = list(dict.fromkeys(key for a in seen.attempts for key in a.attrs.result or {}))
    names = list(dict.fromkeys(name for attempt in seen.attempts for name in attempt.params))
    values = [f"value_{k}" for k in range(len(seen.directions))]
    if len(values) == 1:
        values = ["value"]
    buffer = io.StringIO()
    rows = csv.writer(buffer)
    head = ["trial", "attempt", "state", "status", *values, "std", "seconds", *names]
    rows.writerow([*head, *(f"result.{key}" for key in kept)])
    for attempt in seen.attempts:
        told = list(attempt.values or [None] * len(values))
        rows.writerow(
            [attempt.root, attempt.attempt, attempt.state.name, attempt.status or attempt.reason]
            + told
            + [attempt.attrs.std, attempt.seconds]
            + [_written(attempt.params, name, name in as_text) for name in names]
            + [(attempt.attrs.result or {}).get(key) for key in kept]
        )
    write_atomic(path, writable(buffer.getvalue()))


# What the settings of a sweep that ended by its failures are to be afterwards.
_STAY = (
    "The failed trials still count: raise hydra.sweeper.n_trials by as many, or start afresh "
    "with another hydra.sweeper.study_name."
)


def no_objective(attempt: Attempt) -> StudyError:
    """The end of a sweep by the first task that gave no number."""
    problem, _, cure = (attempt.attrs.error or "").partition("\n  ")
    return StudyError(
        f"Trial {attempt.root} has no objective, and the next ones would have none: {problem}",
        value=attempt.root,
        cure=f"{cure} The same command then runs the trials that are left. {_STAY}",
    )


def _written(params: Mapping[str, Any], name: str, is_text: bool) -> Any:
    """None where the trial had no such parameter."""
    value = params.get(name)
    return value if name not in params or is_text else override_text(value)


def failures(seen: StudyView, failed: int, finished: int, asked: Sweep) -> StudyError:
    """The end of a sweep that failed too often; identical errors once."""
    blocks = []
    for text, count, example in _by_reason(seen):
        trace = (example.attrs.traceback or text).strip()
        lines = trace.split("\n") if trace != text else []
        blocks.append("\n".join([f"{count} × {text}", *(f"    {line}" for line in lines)]))
    problem = f"{failed} of {plural(finished, 'trial')} failed, more than "
    problem += f"hydra.sweeper.max_failure_rate={asked.settings.max_failure_rate:g} allows:"
    error = StudyError(
        problem + "\n" + "\n".join(blocks),
        value=failed / max(1, finished),
        cure=f"Mend the cause; the same command then runs the trials that are left. {_STAY}",
    )
    error.exit_code = 1  # the settings were right, the work failed
    return error
