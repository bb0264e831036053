"""Which sampler finds most in the same time? ``python -m benchmarks.samplers`` asks each.

Each sampler with each of its seeds is a study of its own: one process, one thread, stopped after
``BUDGET`` seconds from its first trial's start; two studies at a time on two cores. A study that
has had its time is not run again, so the command goes on where it was stopped. Writes
sweeps/samplers: trials.csv, anytime.png, expected.png, RESULTS.md.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean

import numpy as np
import optuna
from optuna.trial import TrialState
from scipy import stats

from benchmarks.common import ROOT, commit, machine
from sweepmore.colours import BLUE, GREEN, GREY, ORANGE, PINK
from sweepmore.runs.files import write_atomic
from sweepmore.study.attributes import stored

BUDGET = 60.0  # seconds: forty trials and more
SEEDS = range(5)
AT_A_TIME = 2
HYPERBAND = (
    "hydra.sweeper.pruner={_target_: optuna.pruners.HyperbandPruner, min_resource: 20, "
    "max_resource: 200}"
)
# How each is asked for on the command line.
SAMPLERS = {
    "random": ["hydra/sweeper/sampler=random"],
    # scrambled: else its points are the same for every seed
    "quasi-random": ["hydra/sweeper/sampler=qmc", "+hydra.sweeper.sampler.scramble=true"],
    "TPE": ["hydra/sweeper/sampler=tpe"],
    "TPE + hyperband": ["hydra/sweeper/sampler=tpe", HYPERBAND],
    "GP": ["hydra/sweeper/sampler=gp"],
}
COLOURS = dict(zip(SAMPLERS, (GREY, GREEN, BLUE, PINK, ORANGE)))
FOLDER = ROOT / "sweeps" / "samplers"
STORAGE = f"sqlite:///{ROOT / 'outputs' / 'samplers.db'}"


@dataclass(frozen=True)
class Trial:
    """``ended``: seconds since the study's first trial began; ``value``: dev loss in nats per
    token, None where it was pruned or diverged."""

    sampler: str
    seed: int
    number: int
    ended: float
    value: float | None


def name_of(sampler: str, seed: int) -> str:
    return f"samplers-{sampler.lower().replace(' + ', '-')}-{seed}"


def search(sampler: str, seed: int) -> None:
    """Run one study for ``BUDGET`` seconds, unless it has had them."""
    if seconds_of(name_of(sampler, seed)) >= BUDGET * 0.9:
        return
    words = [
        *("-m", "sweeps=samplers", "wandb.mode=disabled", f"hydra.sweeper.storage={STORAGE}"),
        f"hydra.sweeper.study_name={name_of(sampler, seed)}",
        f"hydra.sweeper.sampler.seed={seed}",
        *SAMPLERS[sampler],
    ]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "train.py", *words],
        cwd=ROOT,
        env={**os.environ, **threads},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and seconds_of(name_of(sampler, seed)) < BUDGET:
        time.sleep(2)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    print(f"{name_of(sampler, seed)}: {len(trials_of(sampler, seed))} trials", flush=True)


def study_of(name: str) -> optuna.Study | None:
    if not (ROOT / "outputs" / "samplers.db").exists():
        return None
    try:
        return optuna.load_study(study_name=name, storage=STORAGE)
    except KeyError:
        return None


def seconds_of(name: str) -> float:
    """Since the study's first trial began; of one that was stopped, until its last one ended."""
    study = study_of(name)
    trials = [] if study is None else [t for t in study.get_trials() if t.datetime_start]
    if not trials:
        return 0.0
    began = min(t.datetime_start for t in trials if t.datetime_start)
    running = any(t.state is TrialState.RUNNING for t in trials)
    last = max((t.datetime_complete for t in trials if t.datetime_complete), default=began)
    return ((datetime.now() if running else last) - began).total_seconds()


def trials_of(sampler: str, seed: int) -> list[Trial]:
    """Those that ended within the budget, in the order of their ends."""
    study = study_of(name_of(sampler, seed))
    assert study is not None
    done = [t for t in study.get_trials() if t.datetime_start and t.datetime_complete]
    began = min(t.datetime_start for t in done if t.datetime_start)
    found = [
        Trial(sampler, seed, t.number, (t.datetime_complete - began).total_seconds(),
              t.values[0] if t.state is TrialState.COMPLETE and np.isfinite(t.values[0]) else None)
        for t in done
        if t.datetime_complete and t.state in (TrialState.COMPLETE, TrialState.PRUNED)
    ]  # fmt: skip
    return sorted((t for t in found if t.ended <= BUDGET), key=lambda t: t.ended)


def best_by(trials: Sequence[Trial], times: np.ndarray) -> np.ndarray:
    """The least value among the trials that had ended at each time; nan before the first."""
    values = [t.value for t in trials if t.value is not None]
    ends = [t.ended for t in trials if t.value is not None]
    stairs = np.concatenate([[np.nan], np.fmin.accumulate(values)])
    return stairs[np.searchsorted(ends, times, side="right")]


def expected_best(values: Sequence[float], budgets: Sequence[int]) -> list[float]:
    """Expected least of n trials drawn with replacement from ``values`` (Dodge et al. 2019,
    "Show your work", eq. 1, for a minimum)."""
    ranked, size = np.sort(values), len(values)
    found = []
    for n in budgets:
        above = (1 - np.arange(size + 1) / size) ** n  # that all n lie above the k least
        found.append(float(ranked @ (above[:-1] - above[1:])))
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval (Student's t)."""
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return fmean(values), half


def verdict(finals: dict[str, list[float]]) -> str:
    """Who is better than random search, as far as these seeds can tell: the difference of means
    with Welch's 95 % interval."""
    told, winners = [], []
    for name, values in finals.items():
        if name == "random":
            continue
        test = stats.ttest_ind(values, finals["random"], equal_var=False)
        between = test.confidence_interval()
        told.append(
            f"- {name}: {fmean(values) - fmean(finals['random']):+.4f} "
            f"[{between.low:+.4f}, {between.high:+.4f}]"
        )
        if between.high < 0:
            winners.append(name)
    best = min(finals, key=lambda name: fmean(finals[name]))
    sentence = f"After {BUDGET:.0f} s {best} has the lowest mean. " + (
        f"Better than random search with an interval clear of zero: {', '.join(winners)}."
        if winners
        else "No sampler is better than random search with an interval clear of zero."
    )
    return "\n".join([sentence, "", "Against random (nats per token, Welch, 95 %):", "", *told])


def draw(every: dict[str, list[list[Trial]]]) -> None:
    from matplotlib.figure import Figure

    times = np.linspace(BUDGET / 20, BUDGET, 200)
    figure = Figure(figsize=(7.2, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    lows = []
    for name, studies in every.items():
        curves = np.array([best_by(trials, times) for trials in studies])
        axes.plot(times, np.nanmean(curves, 0), color=COLOURS[name], label=name)
        axes.fill_between(times, np.nanmin(curves, 0), np.nanmax(curves, 0),
                          color=COLOURS[name], alpha=0.12, linewidth=0)  # fmt: skip
        lows.append(np.nanmin(curves))
    axes.set_ylim(min(lows) - 0.005, min(lows) + 0.1)
    axes.set_xlabel("seconds of search, one worker")
    axes.set_ylabel("best dev loss so far (nats/token)")
    axes.set_title(f"Mean of {len(SEEDS)} sampler seeds; bands from the least to the largest",
                   fontsize=10, loc="left")  # fmt: skip
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FOLDER / "anytime.png")

    pool = [t.value for trials in every["random"] for t in trials if t.value is not None]
    budgets = range(1, 61)
    figure = Figure(figsize=(7.2, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(budgets, expected_best(pool, budgets), color=COLOURS["random"],
              label=f"random: expected best of n ({len(pool)} trials)")  # fmt: skip
    for name, studies in every.items():
        finals = [min(t.value for t in trials if t.value is not None) for trials in studies]
        counts = [len(trials) for trials in studies]
        mean, half = interval(finals)
        axes.errorbar(fmean(counts), mean, yerr=half, fmt="o", color=COLOURS[name], capsize=3,
                      label=f"{name} after {BUDGET:.0f} s")  # fmt: skip
    axes.set_xlabel("trials")
    axes.set_ylabel("best dev loss (nats/token), 95 % interval")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FOLDER / "expected.png")


def results(every: dict[str, list[list[Trial]]]) -> str:
    rows = ["| sampler | trials | of them pruned or infinite | best after 25 % of the time "
            "| 50 % | 100 % | best of all |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    finals: dict[str, list[float]] = {}
    for name, studies in every.items():
        at = np.array([best_by(trials, BUDGET * np.array([0.25, 0.5, 1.0])) for trials in studies])
        finals[name] = at[:, 2].tolist()
        cells = [f"{mean:.4f} ± {half:.4f}" for mean, half in map(interval, at.T)]
        without = [sum(t.value is None for t in trials) for trials in studies]
        rows.append(f"| {name} | {fmean(map(len, studies)):.0f} | {fmean(without):.0f} "
                    f"| {' | '.join(cells)} | {min(finals[name]):.4f} |")  # fmt: skip
    study = study_of(name_of("random", 0))
    assert study is not None
    data = stored(study)["question"]["identity"]["fingerprint"]
    return f"""# samplers

{datetime.now(UTC):%Y-%m-%d} · {len(every)} samplers × {len(SEEDS)} seeds × {BUDGET:.0f} s

- commit: {commit()}
- machine: {machine()}; {AT_A_TIME} studies at a time, one worker and one thread each
- data: names.txt, fingerprint {data}
- question: [sweeps/samplers.yaml](../samplers.yaml), the space of block3 with 200 steps of
  128 contexts a trial

```
python -m benchmarks.samplers
```

{verdict(finals)}

Mean over sampler seeds ± half of its 95 % interval (t), nats per token; a sampler's own time
counts as search.

{chr(10).join(rows)}

![Best so far by time](anytime.png)

![Expected best by trials](expected.png)
"""


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    FOLDER.mkdir(exist_ok=True)
    # seed by seed, so that what stops this early leaves all samplers equally far
    jobs = [(sampler, seed) for seed in SEEDS for sampler in SAMPLERS]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for job in [pool.submit(search, *job) for job in jobs]:
            job.result()
    every = {name: [trials_of(name, seed) for seed in SEEDS] for name in SAMPLERS}
    draw(every)
    with (FOLDER / "trials.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["sampler", "seed", "trial", "ended", "dev_loss"])
        for studies in every.values():
            for trials in studies:
                table.writerows(
                    [t.sampler, t.seed, t.number, round(t.ended, 2), t.value] for t in trials
                )
    write_atomic(FOLDER / "RESULTS.md", results(every))


if __name__ == "__main__":
    main()
