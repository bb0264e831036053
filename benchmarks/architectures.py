"""Which architecture is best when each is tuned equally? ``python -m benchmarks.architectures``.

Each of the eight searches of sweeps/architectures gets the same seconds, one thread, two at a time.
Then the best of each is trained with the same five fresh seeds. The small nets come first. All of
it takes about two hours on two quiet cores; what is done is not done again, so the same command
continues. Writes RESULTS.md, trials.csv, seeds.csv and two figures into sweeps/architectures, where
what it says of searches that are not in the outputs stays. Names such as gru-12k run these alone,
and overrides hold for all: ``gru-12k data=given_names optim.steps=10 --seconds 3``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.architecture_answers import ARCHITECTURES, Answer, Missing, Trial
from benchmarks.architecture_results import read, write
from benchmarks.common import ROOT, commit, machine
from benchmarks.equal_seconds import Search, share_out
from sweepmore.study.attempts import words as setting_words

SIZES = ("12k", "300k")
# A quarter of an hour gives each search at least eight trials (sweeps/architectures/*.yaml).
SECONDS = 900.0
SEEDS, AT_A_TIME = 5, 2
NAMES = tuple(f"{which}-{size}" for size in SIZES for which in ARCHITECTURES)


def searches(names: Iterable[str], words: Sequence[str], outputs: Path) -> dict[str, Search]:
    """Return each search with what all have in common, by its name."""
    common = ("wandb.mode=disabled", *words)
    return {
        name: Search(f"architectures-{name}", (f"sweeps=architectures/{name}", *common), outputs)
        for name in names
    }


def run(chosen: Sequence[Search], every: Sequence[Search], seconds: float) -> None:
    """Search and confirm what is ``chosen``. One confirmation of ``every`` search of this size has
    the seeds of all, so that differences are paired."""
    share_out(chosen, seconds, AT_A_TIME)
    ready = [search for search in chosen if search.best is not None]
    first = next((search for search in every if search.seeds), None) or next(iter(ready), None)
    if first is None:
        return
    if first in ready:
        first.confirm("--top", "1", "--seeds", str(SEEDS))
    others = [search for search in ready if search != first]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        seeds = ("--top", "1", "--seeds-of", first.name)
        list(pool.map(lambda search: search.confirm(*seeds), others))


def outcomes(
    every: Mapping[str, Search], kept: Mapping[str, Answer]
) -> tuple[list[Answer], list[Missing]]:
    """Return the answers of the searches that have one, and why the others have none.

    What was ``kept`` of a search stands where the outputs do not have its study.
    """
    found = [
        kept[name] if name in kept and search.study() is None else outcome(name, search)
        for name, search in every.items()
    ]
    shared: dict[str, tuple[int, ...]] = {}
    answers, missing = list[Answer](), list[Missing]()
    for each in found:
        if isinstance(each, Missing):
            missing.append(each)
        elif each.seeds != shared.setdefault(each.size, each.seeds):
            reason = "confirmed with other seeds than the rest"
            missing.append(Missing(each.architecture, each.size, reason))
        else:
            answers.append(each)
    return answers, missing


def outcome(name: str, search: Search) -> Answer | Missing:
    """Return the answer of one search, as it is in the outputs."""
    architecture, size = name.split("-")
    study, confirmed = search.study(), search.confirmed()
    if study is None or confirmed is None:
        return Missing(architecture, size, search.missing())
    trials = (
        Trial(t.number, t.state, t.seconds or 0.0, t.value, setting_words(t.params))
        for t in study.trials
    )
    return Answer(
        architecture=architecture,
        size=size,
        trials=tuple(trials),
        settings=setting_words(confirmed.params),
        parameters=int(confirmed.result["parameters"]),
        training=float(confirmed.result["seconds"]),
        seeds=search.seeds,
        values=tuple(float("inf") if v is None else v for v in confirmed.repeats),
        measured=f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {machine()}",
    )


def refusal(chosen: dict[str, Search], seconds: float) -> str:
    """Say which searches are confirmed and would be searched on; empty if none is.

    A better trial would be confirmed in another round, with seeds that are not paired.
    """
    had = {name: search.spent for name, search in chosen.items() if search.seeds}
    short = {name: spent for name, spent in had.items() if spent < seconds}
    if not short:
        return ""
    each = ", ".join(f"{name} after {spent:,.0f} s" for name, spent in short.items())
    return (
        f"already confirmed, so not searched for {seconds:,.0f} s: {each}. Give --seconds "
        f"{math.floor(min(short.values()))}, name only others, or begin anew with --outputs."
    )


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architectures", allow_abbrev=False)
    parser.add_argument("words", nargs="*", help="names of searches, and overrides of settings")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of trials, each search")
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs")
    parser.add_argument("--into", type=Path, default=ROOT / "sweeps" / "architectures")
    given = parser.parse_args(words)
    names = [word for word in given.words if "=" not in word]
    if unknown := sorted({*names} - {*NAMES}):
        parser.error(f"{unknown[0]} is not a search: {', '.join(NAMES)}")
    overrides = [word for word in given.words if "=" in word]
    every = searches(NAMES, overrides, given.outputs.resolve())
    if problem := refusal({name: every[name] for name in names or NAMES}, given.seconds):
        parser.error(problem)
    for size in SIZES:  # one after the other: what is done can be kept
        chosen = [every[name] for name in names or NAMES if name.endswith(f"-{size}")]
        if chosen:
            run(chosen, [every[name] for name in NAMES if name.endswith(f"-{size}")], given.seconds)
            write(*outcomes(every, read(given.into)), given.into)


if __name__ == "__main__":
    main()
