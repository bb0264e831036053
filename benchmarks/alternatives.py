"""What could decide challenges instead of ``sequential.decide``: other tests, other strictness.

Each is the least t statistic that keeps a challenger after 2 seeds, 3 and so on. The error of a
challenge, its cap and its futility rule are the same; none looks at the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from benchmarks.noises import NOISES, Noise, normal, percent
from sweepmore.statistics.intervals import Floats, t_quantile
from sweepmore.statistics.sequential import STRICT, Rules

# As in benchmarks/campaigns.py.
CAMPAIGNS, CHALLENGES = 1_000, 4_000
GAINS = (1.0, 1.5, 2.0, 3.0)
# The e-process's effect, in standard deviations of a difference. Of 1, 1.2, 1.41, 1.6 and 2 it
# keeps most gains of two standard deviations of a run at a cap of 20, and 1 does at 24 (95.6 %).
EFFECT = 1.2
SHARES = (0.1, 0.01, STRICT, 0.001)


def fixed(rules: Rules) -> Floats:
    """One test, at the cap."""
    return bounds(rules, {rules.cap: rules.alpha / rules.horizon})


def looks(rules: Rules) -> Floats:
    """The three looks, whatever the noise."""
    return bounds(rules, rules.looks(skewed=False))


def bounds(rules: Rules, levels: Mapping[int, float]) -> Floats:
    return np.array(
        [
            t_quantile(1 - levels[n], n - 1) if n in levels else math.inf
            for n in range(2, rules.cap + 1)
        ]
    )


def e_process(rules: Rules) -> Floats:
    """At any time: the likelihood ratio of t, ``EFFECT`` to no effect (Ville's inequality)."""
    from scipy import optimize, stats

    def ratio(t: float, n: int) -> float:
        here = stats.nct.logpdf(t, n - 1, EFFECT * math.sqrt(n)) - stats.t.logpdf(t, n - 1)
        return float(here - math.log(rules.horizon / rules.alpha))

    return np.array(
        [
            optimize.brentq(ratio, 0, 1e4, args=(n,)) if ratio(1e4, n) > 0 else math.inf
            for n in range(2, rules.cap + 1)
        ]
    )


def kept(champion: Floats, challenger: Floats, least: Floats) -> npt.NDArray[np.bool_]:
    """Whether each challenge, a row of values, keeps: ``least`` is passed before futility."""
    gains = champion - challenger
    n = np.arange(2, gains.shape[-1] + 1)
    mean = np.cumsum(gains, axis=-1)[..., 1:] / n
    square = np.cumsum(gains**2, axis=-1)[..., 1:] / n - mean**2
    t = mean * np.sqrt((n - 1) / square)
    gone = np.logical_or.accumulate(mean <= 0, axis=-1)
    return np.asarray(((t >= least) & ~gone).any(-1))


def none_kept(noise: Noise, ratio: float, least: Floats, rules: Rules) -> float:
    random = np.random.default_rng(0)
    champions = noise(random, (CAMPAIGNS, 1, rules.cap))
    challengers = ratio * noise(random, (CAMPAIGNS, rules.horizon, rules.cap))
    return float((~kept(champions, challengers, least).any(-1)).mean())


def power(noise: Noise, gain: float, least: Floats, rules: Rules) -> float:
    random = np.random.default_rng(0)
    shape = (CHALLENGES, rules.cap)
    return float(kept(noise(random, shape), noise(random, shape) - gain, least).mean())


TESTS: dict[str, Callable[[Rules], Floats]] = {
    "the three looks, whatever the noise": looks,
    "one test at the cap": fixed,
    f"an e-process for {EFFECT:g} sd of a difference": e_process,
}


def strict(rules: Rules, share: float) -> Floats:
    """What skewed noise gets: one test at the cap, at a share of the error."""
    return bounds(rules, {rules.cap: share * rules.alpha / rules.horizon})


def table(rules: Rules) -> str:
    tests = {name: test(rules) for name, test in TESTS.items()}
    tests |= {
        f"one test at the cap, at {share:g} of the error": strict(rules, share) for share in SHARES
    }
    skewed = [name for name in NOISES if name != "normal"]
    head = [f"{gain:g} sd" for gain in GAINS] + [f"2 sd, {name}" for name in skewed]
    head += ["none: normal × 3", *(f"none: {name} × 1 / 2 / 3" for name in skewed)]
    rows = [f"| instead | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for name, least in tests.items():
        powers = [power(normal, gain, least, rules) for gain in GAINS]
        powers += [power(NOISES[other], 2.0, least, rules) for other in skewed]
        cells = [percent(share) for share in [*powers, none_kept(normal, 3, least, rules)]]
        for other in skewed:
            shares = (none_kept(NOISES[other], ratio, least, rules) for ratio in (1, 2, 3))
            cells.append(" / ".join(f"{100 * share:.1f}" for share in shares) + " %")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + (
        "\n\nWhat else could decide, with the same error, futility rule and cap of "
        f"{rules.cap}: the share of gains that is kept, and, behind *none*, the share of campaigns "
        "of no-ops that keep none, by how many times the champion's noise the challenger's is. "
        f"`decide` is the first row, and where noise is skewed the one at {STRICT:g}: of those "
        "tried the largest with which 95 % of campaigns keep none in every column. It was chosen "
        "on these shapes of noise, and its price is in the gains that skewed noise then hides."
    )
