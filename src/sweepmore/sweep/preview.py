"""What a sweep prints before it starts: its question, budget, time, storage and workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from sweepmore.process.placement import Share
from sweepmore.runs.names import ending
from sweepmore.storage.urls import shown
from sweepmore.study.attempts import runs_each
from sweepmore.study.view import StudyView, view
from sweepmore.sweep.launchers import JOBLIB, RAY, joblibs_workers
from sweepmore.sweep.noise_words import told_apart_line
from sweepmore.wording import duration, fitted, plural

if TYPE_CHECKING:
    from sweepmore.compose.settings import Sweep


def preview(asked: Sweep, name: str, study: optuna.Study | None, workers: str) -> None:
    """Print what is about to happen, in eight lines.

    A ninth follows when the noise is known. For a study that runs the configurations of another one
    again, five lines suffice, because that study's own preview has said the rest.
    """
    settings, snapshot = asked.settings, None if study is None else view(study)
    done = len(snapshot.counted) if snapshot is not None else 0
    trials, again = plural(asked.n_trials, "trial"), bool(ending(name))
    lines = [
        f"study    {name}" + (f", {done} of {trials} done before" if done else ""),
        f"search   {described(asked.space.searched)}",
        *([] if again else [f"fixed    {' '.join(asked.space.fixed) or 'the defaults'}"]),
        f"budget   {trials}{_budget(asked)}; {', '.join(settings.directions)}; "
        f"sampler {short('grid' if asked.gridded else asked.sampler)}, "
        f"pruner {short(settings.pruner)}",
        *([] if again else told_apart_line(asked, study)),
        *([] if again else [f"time     {expected_time(asked, snapshot)}"]),
        *([] if again else [f"storage  {shown(asked.url)}"]),
        f"workers  {workers}",
        "stop     Ctrl-C is safe: rerun the same command to continue",
    ]
    print("\n".join(map(fitted, lines)), flush=True)


def _budget(asked: Sweep) -> str:
    """Say which trials the budget consists of, and how many runs each has."""
    parts, enqueued = [], len(asked.enqueued)
    if asked.gridded:
        parts.append("the whole grid")
    if enqueued:
        parts.append("all known" if enqueued == asked.n_trials else f"{enqueued} known first")
    for key, values in (asked.settings.repeats or {}).items():
        few = [*map(str, values[:3]), *(["…"] if len(values) > 3 else [])]
        parts.append(f"{plural(len(values), 'run')} each, {key} {', '.join(few)}")
    if (each := runs_each(asked.settings.repeats)) > 1:
        parts.append(f"{plural(each * asked.n_trials, 'run')} in all")
    return f" ({'; '.join(parts)})" if parts else ""


def short(node: Any) -> str:
    """Return the short name of a sampler or pruner: "tpe" for "optuna.samplers.TPESampler"."""
    if isinstance(node, Mapping):
        name = str(node.get("_target_", "")).rpartition(".")[2]
        return name.removesuffix("Sampler").removesuffix("Pruner").lower().replace("nop", "none")
    return str(node or "none")


def described(space: Mapping[str, BaseDistribution]) -> str:
    """Say what is searched, as in ``lr 0.001…0.3 log, act relu|tanh``."""
    ranges = [f"{name} {range_of(distribution)}" for name, distribution in space.items()]
    return ", ".join(ranges) or "nothing"


def range_of(distribution: Any) -> str:
    """Say where a parameter is searched: ``0.001…0.3 log``, ``relu|tanh``."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return "|".join(f"{c:.4g}" if isinstance(c, float) else str(c) for c in choices)
    log = " log" if distribution.log else ""
    step = f" step {distribution.step}" if distribution.step not in (None, 1) else ""
    return f"{distribution.low:g}…{distribution.high:g}{log}{step}"


def shown_shares(shares: Sequence[Share]) -> str:
    """Say what the workers get of this machine, in one line."""
    workers = plural(len(shares), "local process", "local processes")
    on_gpus = Counter("+".join(share.gpus) for share in shares if share.gpus)
    where = "".join(f", {count} on GPU {gpus}" for gpus, count in on_gpus.items())
    return f"{workers}{where}, {plural(shares[0].threads, 'thread')} each"


def shown_launcher(launcher: str, keys: Mapping[str, Any], n_jobs: int) -> str:
    """Say how many workers a launcher runs, which of two keys decides that, and what each gets."""
    name = launcher.rpartition(".")[2]
    if launcher == JOBLIB:
        at_once = joblibs_workers(keys["n_jobs"])
        if at_once < n_jobs:
            which = f"hydra.launcher.n_jobs is less than hydra.sweeper.n_jobs={n_jobs}"
            return f"{at_once} at a time by {name}: {which}"
        which = f"hydra.sweeper.n_jobs says; hydra.launcher.n_jobs allows {at_once}"
        return f"{n_jobs} by {name}, as {which}"
    if launcher == RAY:
        takes = {"num_cpus": 1, **keys["ray"]["remote"]}
        return f"{n_jobs} by {name}, each with {', '.join(f'{k} {v}' for k, v in takes.items())}"
    return f"{n_jobs} by {name}"


def expected_time(asked: Sweep, snapshot: StudyView | None) -> str:
    """Say how long the remaining trials will take, judged by those that are done."""
    if snapshot is None or (seconds := snapshot.seconds_left(asked.n_trials)) is None:
        return "shown once a trial is done"
    left = asked.n_trials - len(snapshot.counted)
    return f"about {duration(seconds / asked.n_jobs)} for {left} more"
