"""Which architecture is best when each is tuned equally? ``python -m benchmarks.architectures``.

Each of the eight searches of sweeps/architectures gets the same seconds, one thread, two at a time.
Then the best of each is trained with five fresh seeds, the same for all of a size. The small nets
come first. All of it takes about two hours on two quiet cores; what is done is not done again, so
the same command continues. Writes RESULTS.md, trials.csv, seeds.csv and two figures into
sweeps/architectures; a size of which the outputs hold no search stays there as it is. Names such as
gru-12k run these alone. Overrides hold for all, and need a folder of their own: ``gru-12k
data=given_names optim.steps=10 --seconds 3 --into outputs/tiny --outputs outputs/tiny``.
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
# On a quiet machine each search then has at least eight trials (sweeps/architectures/*.yaml).
SECONDS = 900.0
SEEDS, AT_A_TIME = 5, 2
PAGE = ROOT / "sweeps" / "architectures"
NAMES = tuple(f"{which}-{size}" for size in SIZES for which in ARCHITECTURES)


def searches(names: Iterable[str], words: Sequence[str], outputs: Path) -> dict[str, Search]:
    """Return each search with what all have in common, by its name."""
    common = ("wandb.mode=disabled", *words)
    return {
        name: Search(f"architectures-{name}", (f"sweeps=architectures/{name}", *common), outputs)
        for name in names
    }


def run(chosen: Sequence[Search], every: Sequence[Search], seconds: float) -> None:
    """Search and confirm what is ``chosen``. All searches of a size, which ``every`` lists, are
    confirmed with the same seeds, so that differences are paired."""
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

    A size of which the outputs hold no search is as it was ``kept``.
    """
    answers, missing = list[Answer](), list[Missing]()
    for size in SIZES:
        own = {name: search for name, search in every.items() if name.endswith(f"-{size}")}
        begun = any(search.study() is not None for search in own.values())
        now = f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {machine()}"
        shared: tuple[int, ...] = ()
        for name, search in own.items():
            each = outcome(name, search, kept.get(name), now) if begun else kept.get(name)
            architecture = name.split("-")[0]
            if each is None:
                missing.append(Missing(architecture, size, search.missing()))
            elif shared and each.seeds != shared:
                reason = "confirmed with other seeds than the rest"
                missing.append(Missing(architecture, size, reason))
            else:
                shared = each.seeds
                answers.append(each)
    return answers, missing


def outcome(name: str, search: Search, kept: Answer | None, now: str) -> Answer | None:
    """Return the answer of one search, measured ``now`` unless it is the one that was ``kept``;
    None where it has none."""
    study, confirmed = search.study(), search.confirmed()
    if study is None or confirmed is None:
        return None
    architecture, size = name.split("-")
    seeds = search.seeds
    values = tuple(float("inf") if v is None else v for v in confirmed.repeats)
    if kept is not None and (kept.seeds, kept.values) == (seeds, values):
        now = kept.measured
    return Answer(
        architecture=architecture,
        size=size,
        trials=tuple(
            Trial(t.number, t.state, t.seconds or 0.0, t.value, setting_words(t.params))
            for t in study.trials
        ),
        settings=setting_words(confirmed.params),
        parameters=int(confirmed.result["parameters"]),
        training=float(confirmed.result["seconds"]),
        seeds=seeds,
        values=values,
        measured=now,
    )


def searched_on(chosen: Mapping[str, Search], seconds: float) -> str:
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


def lost(chosen: Iterable[str], every: Mapping[str, Search], kept: Iterable[str]) -> str:
    """Say which answers would be lost from the page; empty if none would.

    Seeds are drawn anew, so what was ``kept`` cannot be compared with a search that begins now.
    """
    sizes = {name.split("-")[1] for name in chosen}
    rest = [
        name for name in {*kept} - {*chosen}
        if name.split("-")[1] in sizes and every[name].study() is None
    ]  # fmt: skip
    if not rest:
        return ""
    return (
        f"the outputs lack {', '.join(sorted(rest))}, which the page has with other seeds. Name "
        f"these, too, or write another page with --into."
    )


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architectures", allow_abbrev=False)
    parser.add_argument("words", nargs="*", help="names of searches, and overrides of settings")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of trials, each search")
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs")
    parser.add_argument("--into", type=Path, default=PAGE)
    given = parser.parse_args(words)
    names = [word for word in given.words if "=" not in word] or NAMES
    if unknown := sorted({*names} - {*NAMES}):
        parser.error(f"{unknown[0]} is not a search: {', '.join(NAMES)}")
    overrides = [word for word in given.words if "=" in word]
    if overrides and given.into == PAGE:
        parser.error(f"{overrides[0]} changes what is compared: give --into a folder of its own.")
    try:
        kept = read(given.into)
    except ValueError as error:
        parser.error(f"{error}: restore it, or write another page with --into.")
    every = searches(NAMES, overrides, given.outputs.resolve())
    chosen = {name: every[name] for name in NAMES if name in names}
    if problem := searched_on(chosen, given.seconds) or lost(chosen, every, kept):
        parser.error(problem)
    for size in SIZES:  # one after the other: what is done can be kept
        own = [search for name, search in chosen.items() if name.endswith(f"-{size}")]
        if own:
            run(own, [every[name] for name in NAMES if name.endswith(f"-{size}")], given.seconds)
            write(*outcomes(every, read(given.into)), given.into)


if __name__ == "__main__":
    main()
