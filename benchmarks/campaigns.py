"""How often a campaign of challenges tells the truth: changes that change nothing, and real gains.

``python -m benchmarks.truth``. Values are made up, the decision is ``sequential.decide``. As in a
real campaign, the challenges share the champion's runs until one of them is kept, and the skewness
of the noise is known from the confirmation that named the champion. Beside the decision stands an
agent's loop, which keeps every new minimum of one run, and what could decide instead.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks import alternatives
from benchmarks.noises import NOISES, Noise, normal, percent
from sweepmore.statistics.sequential import Decision, Rules, Skewness, decide

# A share of 95 % is known to ± 1.4 points (two standard errors).
CAMPAIGNS = 1_000
# A share of 84 % is known to ± 1.2 points.
CHALLENGES = 4_000
GAINS, CAPS = (1.0, 1.5, 2.0, 3.0, 4.0), (8, 12, 16, 20, 24)
RATIOS = (1.0, 1.5, 2.0, 3.0)
# Five configurations with eight seeds, and the winner with eight more.
CONFIRMATION = (6, 8)


def campaign(
    random: np.random.Generator,
    noise: Noise,
    ratio: float,
    rules: Rules,
    challenges: int,
    gain: float = 0.0,
) -> Iterator[Decision]:
    """So many challenges in turn, each better by ``gain``, with ``ratio`` times the noise."""
    before = Skewness.of(noise(random, CONFIRMATION).tolist())
    champion = noise(random, (rules.cap,)).tolist()
    for _ in range(challenges):
        challenger = (ratio * noise(random, (rules.cap,)) - gain).tolist()
        decision = decide(champion, challenger, 1, rules, before)
        assert decision is not None, "the cap decides"
        yield decision
        before += Skewness.of([challenger[: decision.seeds]])
        if decision.verdict == "keep":
            champion = noise(random, (rules.cap,)).tolist()


@dataclass(frozen=True)
class Told:
    """Campaigns of no-ops: shares, but for ``seeds``, the number of each challenge, and ``loop``,
    how many an agent's loop keeps in each campaign."""

    none: float
    seeds: npt.NDArray[np.int_]
    undecided: float
    holds: float
    loop: npt.NDArray[np.int_]


def no_ops(noise: Noise, ratio: float, rules: Rules, campaigns: int = CAMPAIGNS) -> Told:
    random = np.random.default_rng([rules.cap, int(10 * ratio)])
    each = [list(campaign(random, noise, ratio, rules, rules.horizon)) for _ in range(campaigns)]
    decisions = [decision for one in each for decision in one]
    return Told(
        none=float(np.mean([all(d.verdict != "keep" for d in one) for one in each])),
        seeds=np.array([d.seeds for d in decisions]),
        undecided=float(np.mean([d.verdict == "undecided" for d in decisions])),
        holds=float(np.mean([abs(d.gain.mean) <= d.gain.half for d in decisions])),
        loop=minima(random, noise, ratio, rules.horizon, campaigns),
    )


def minima(
    random: np.random.Generator, noise: Noise, ratio: float, challenges: int, campaigns: int
) -> npt.NDArray[np.int_]:
    """How many of so many changes are a new minimum of one run, in each campaign."""
    first = noise(random, (campaigns, 1))
    values = np.hstack([first, ratio * noise(random, (campaigns, challenges))])
    lowest = np.minimum.accumulate(values, axis=1)
    found: npt.NDArray[np.int_] = (np.diff(lowest, axis=1) < 0).sum(1)
    return found


def real_gains(
    noise: Noise, gain: float, rules: Rules, challenges: int = CHALLENGES
) -> Sequence[Decision]:
    """Challenges of campaigns of their own, each the first."""
    random = np.random.default_rng([rules.cap, int(10 * gain)])
    return [
        decision
        for _ in range(challenges)
        for decision in campaign(random, noise, 1.0, rules, 1, gain)
    ]


def report() -> str:
    rules = Rules()
    tables = [nothing(rules), gains_by_cap(), gains_by_noise(rules), alternatives.table(rules)]
    return "\n\n".join(tables)


def nothing(rules: Rules) -> str:
    rows = [
        "| noise | challenger's, × champion's | keep none, wanted ≥ 95 % | undecided "
        "| seeds of a challenge: median, mean | intervals hold | the loop: keeps none | keeps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, noise in NOISES.items():
        for ratio in RATIOS:
            told = no_ops(noise, ratio, rules)
            rows.append(
                f"| {name} | {ratio:g} | {percent(told.none)} | {percent(told.undecided)} "
                f"| {np.median(told.seeds):g}, {told.seeds.mean():.1f} | {percent(told.holds)} "
                f"| {percent((told.loop == 0).mean())} | {told.loop.mean():.1f} |"
            )
            progress(rows[-1])
    return "\n".join(rows) + (
        f"\n\n{CAMPAIGNS:,} made-up campaigns a row, each of {rules.horizon} changes that change "
        f"nothing, decided by `decide` with a cap of {rules.cap} seeds; the challenges share the "
        "champion's runs, and a confirmation of five configurations, eight seeds each and eight "
        "final ones, shows before whether noise is skewed. Intervals hold: the share of challenges "
        "whose interval holds the true gain, zero, when they stop. The loop keeps every new "
        "minimum of one run: how often a campaign of it keeps none, and how many it keeps on "
        "average. By chance of the simulation 95 % may be off by 1.4 points."
    )


def gains_by_cap() -> str:
    head = [f"{gain:g} sd" for gain in GAINS]
    rows = [f"| kept, by cap | {' | '.join(head)} |", "|---|" + "---|" * len(GAINS)]
    for cap in CAPS:
        cells = []
        for gain in GAINS:
            decisions = real_gains(normal, gain, Rules(cap=cap))
            seeds = [d.seeds for d in decisions]
            cells.append(f"{percent(kept(decisions))} ({np.median(seeds):g}, {np.mean(seeds):.1f})")
        rows.append(f"| {cap} | {' | '.join(cells)} |")
        progress(rows[-1])
    return "\n".join(rows) + (
        f"\n\nOf {CHALLENGES:,} challenges a cell, each better by so many standard deviations of a "
        "run, the share that is kept, and in brackets the seeds of a challenge, median and mean. "
        "Noise is normal and equal on both sides. Wanted at 2 sd: 84 % with a cap of 20, 93 % "
        "with 24. By chance 84 % may be off by 1.2 points."
    )


def gains_by_noise(rules: Rules) -> str:
    head = [f"{gain:g} sd" for gain in GAINS]
    rows = [f"| kept / undecided | {' | '.join(head)} |", "|---|" + "---|" * len(GAINS)]
    for name, noise in NOISES.items():
        cells = []
        for gain in GAINS:
            decisions = real_gains(noise, gain, rules)
            undecided = float(np.mean([d.verdict == "undecided" for d in decisions]))
            cells.append(f"{percent(kept(decisions))} / {percent(undecided)}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
        progress(rows[-1])
    return "\n".join(rows) + (
        f"\n\nThe same with a cap of {rules.cap}, by noise; the remainder is discarded."
    )


def kept(decisions: Sequence[Decision]) -> float:
    return float(np.mean([decision.verdict == "keep" for decision in decisions]))


def progress(row: str) -> None:
    """Minutes pass until the tables are printed."""
    print(row, file=sys.stderr, flush=True)
