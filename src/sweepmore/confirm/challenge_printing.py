"""What ``sweepmore challenge`` prints, and what it says as JSON."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.status import Status

from sweepmore.confirm.challenge import Teller
from sweepmore.consoles import stdout_console
from sweepmore.statistics.intervals import LEVEL, Interval
from sweepmore.study.campaigns import Campaign, Challenge, champions_of
from sweepmore.study.championship import promise
from sweepmore.wording import decimals, duration, fitted, plural, plus_minus, real_minus

# How many changed files are named.
_NAMED = 5


@dataclass
class Rows:
    """Prints a challenge while it runs, a line for each seed that both sides have."""

    study: str
    sign: float
    begun: bool = False  # whether something is trained for it
    shown: int = 0
    status: Status = field(default_factory=lambda: Status("", console=stdout_console()))

    def begins(self, campaign: Campaign, challenge: Challenge) -> None:
        """Print whom it meets, and what it changes."""
        self.begun = True
        number = f"challenge {challenge.number} of at most {campaign.horizon}"
        print(f"campaign {self.study}: {against(challenge)}, {number}")
        print(f"command  {shlex.join(challenge.words)}")
        print(fitted(f"code     {changes(challenge)}"), flush=True)

    def trains(self, who: str, count: int) -> None:
        """Say in a terminal what is being waited for."""
        seeds = f"{self.shown + 1} to {count}" if count > self.shown + 1 else f"{count}"
        self.status.update(f"training the {who}, seed {seeds}")
        if self.status.console.is_terminal:
            self.status.start()

    def goes_on(self, pairs: Sequence[tuple[float, float]]) -> None:
        """Print the seeds that are new since the last call: champion's value and challenger's."""
        self.status.stop()
        if pairs and not self.shown:
            print(f"{'champion':>21}  {'challenger':>11}  {'gain':>11}")
        for number, (their, my) in list(enumerate(pairs, 1))[self.shown :]:
            gain = decimals(self.sign * (their - my), their, sign="+")
            numbers = [real_minus(text) for text in (decimals(their), decimals(my), gain)]
            print(f"seed {number:>3}  {'  '.join(f'{text:>11}' for text in numbers)}", flush=True)
        self.shown = len(pairs)

    @property
    def teller(self) -> Teller:
        """What hears of the challenge."""
        return Teller(self.begins, self.trains, self.goes_on)


def silent() -> Teller:
    """A teller that prints nothing."""
    return Teller(lambda *_: None, lambda *_: None, lambda *_: None)


def against(challenge: Challenge) -> str:
    """Whom a challenge meets."""
    if challenge.champion:
        return f"against challenge {challenge.champion}, which was kept"
    return "against the confirmed winner"


def changes(challenge: Challenge) -> str:
    """Which files of code a challenge changes, against its champion's."""
    if not challenge.changed:
        return "as the champion's"
    named = [*challenge.changed[:_NAMED], *(["…"] if len(challenge.changed) > _NAMED else [])]
    return f"{plural(len(challenge.changed), 'file')} changed: {', '.join(named)}"


def print_verdict(challenge: Challenge, confirm: str, is_new: bool) -> None:
    """Print the answer, what it rests on, and what it cost.

    ``confirm`` is the command that gives the number to report of a challenge that is kept.
    """
    verdict = str(challenge.verdict).upper()
    before = "" if is_new else f" (decided {challenge.ended}, nothing was trained)"
    print(fitted(f"{verdict:<8} {challenge.reason}{before}"))
    if (gain := challenge.interval) is not None:
        seeds = plural(len(challenge.seeds), "seed")
        print(f"gain     {amount(gain)} (95 %, over {seeds}; above 0 is better)")
    if (slower := times(challenge)) is not None:
        print(
            f"seconds  {decimals(challenge.seconds or 0, places=2)} a run, {slower} the champion's"
        )
    print(f"cost     {plural(challenge.runs, 'run')}, {duration(challenge.spent)}")
    if challenge.verdict == "keep":
        print(f"champion is now challenge {challenge.number}: keep its settings and its code")
        print(f"next     for the number to report: {confirm}")


def times(challenge: Challenge) -> str | None:
    """How many times the champion's time a run of the challenger takes; None where unknown."""
    if not challenge.seconds or not challenge.champion_seconds:
        return None
    return f"{challenge.seconds / challenge.champion_seconds:.2f} ×"


def amount(gain: Interval) -> str:
    """A gain with its interval, which two seeds leave so wide that its digits say nothing."""
    if gain.half > 10 * abs(gain.mean):
        return f"{real_minus(decimals(gain.mean, sign='+'))} ± {gain.half:.2g}"
    return real_minus(plus_minus(gain.mean, gain.half, sign="+"))


def print_campaign(
    study: str, campaign: Campaign, challenges: Sequence[Challenge], command: str
) -> None:
    """Print what a campaign has declared, its champion's ``command``, and how challenges ended."""
    rules = campaign.rules
    print(f"campaign {study}: {len(challenges)} of at most {plural(rules.horizon, 'challenge')}, "
          f"{plural(rules.cap, 'seed')} each at most")  # fmt: skip
    print(fitted(f"terms    {terms(campaign)}"))
    champion = champions_of(challenges)[-1]
    print(f"champion {f'challenge {champion}' if champion else 'the confirmed winner'}")
    print(f"command  {command}")
    print(fitted(f"promise  {promise(campaign)}"))
    for each in challenges:
        gain = each.interval
        shown = "" if gain is None else amount(gain)
        verdict = each.verdict or "begun"
        seeds = plural(len(each.seeds), "seed")
        print(f"{each.number:>5}  {verdict:<9}  {seeds:>8}  {shown:<20}  {shlex.join(each.words)}")
    runs, seconds = sum(c.runs for c in challenges), sum(c.spent for c in challenges)
    if challenges:
        print(f"cost     {cost_of(runs, seconds)}")


def cost_of(runs: int, seconds: float) -> str:
    """What challenges have cost: runs, which all looked at the same lines, and seconds."""
    each = ", each" if runs > 1 else ""
    return f"{plural(runs, 'run')} in {duration(seconds)}{each} measured on the same dev split"


def terms(campaign: Campaign) -> str:
    """What all challenges have in common: metric, budget and evaluators."""
    version = version_of(campaign)
    same = f"unchanged (version {version})" if campaign.evaluators else version
    return f"{campaign.terms.metric}; budget {budget(campaign)}; evaluators {same}"


def budget(campaign: Campaign) -> str:
    """The settings that are the budget, as the champion has them."""
    named = [f"{key}={value}" for key, value in campaign.terms.budget.items()]
    return " ".join(named) or "not compared (the application names none)"


def version_of(campaign: Campaign) -> str:
    """Eight hex digits over the evaluators' hashes, or that there are none."""
    if not campaign.evaluators:
        return "not compared (the application names none)"
    text = json.dumps(dict(campaign.evaluators), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def as_json(
    study: str, campaign: Campaign, challenges: Sequence[Challenge], command: str
) -> dict[str, Any]:
    """The campaign as JSON (schemas/challenge.json, ``campaign``)."""
    return {
        "study": study,
        "champion": champions_of(challenges)[-1],
        "command": command,
        "challenges": len(challenges),
        "horizon": campaign.horizon,
        "cap": campaign.cap,
        "alpha": campaign.alpha,
        "metric": campaign.terms.metric,
        "data": campaign.terms.data,
        "budget": dict(campaign.terms.budget),
        "evaluators": {"version": version_of(campaign), "files": dict(campaign.evaluators)},
        "runs": sum(challenge.runs for challenge in challenges),
        "seconds": sum(challenge.spent for challenge in challenges),
    }


def challenge_json(challenge: Challenge) -> dict[str, Any]:
    """A challenge as JSON (schemas/challenge.json, ``challenge``)."""
    return {
        "number": challenge.number,
        "champion": challenge.champion,
        "verdict": challenge.verdict,
        "reason": challenge.reason,
        "gain": challenge.gain,
        "half_width": challenge.half,
        "level": LEVEL,
        "seeds": list(challenge.seeds),
        "values": list(challenge.values),
        "champion_values": list(challenge.champion_values),
        "seconds_a_run": challenge.seconds,
        "champion_seconds_a_run": challenge.champion_seconds,
        "runs": challenge.runs,
        "seconds": challenge.spent,
        "command": list(challenge.words),
        "folder": challenge.folder,
        "code": challenge.code,
        "changed": list(challenge.changed),
        "begun": challenge.begun,
        "ended": challenge.ended,
    }
