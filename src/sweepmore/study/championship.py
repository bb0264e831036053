"""How a campaign stands, in words: for pages and terminals."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sweepmore.study.campaigns import Campaign, Challenge, champions_of
from sweepmore.wording import plural, plus_minus

# How challenges end, in words.
ENDS = {"keep": "kept", "undecided": "undecided", "discard": "discarded", None: "not decided yet"}


def champion_named(number: int) -> str:
    """A champion by its number; 0 is the confirmed winner."""
    return f"challenge {number}" if number else "the confirmed winner"


def champion_of(challenges: Sequence[Challenge]) -> Challenge | None:
    """The challenge that made the present champion; None while the confirmed winner is it."""
    number = champions_of(challenges)[-1]
    return next((each for each in challenges if each.number == number), None)


def fresh_values(number: int, challenges: Sequence[Challenge]) -> tuple[float, ...]:
    """A champion's values over fresh seeds, which did not select it; empty before it met any.

    Its challenges meet the same runs, in the same order: the longest row holds them all.
    """
    met = [each.champion_values for each in challenges if each.champion == number]
    return max(met, key=len, default=())


def crowned(champion: Challenge, challenges: Sequence[Challenge], winner: str) -> list[str]:
    """Say in clauses that this challenge is champion, and by how much it beat whom.

    ``winner`` names the confirmed winner, with which the line of champions began.
    """
    gain, kept = champion.interval, len(champions_of(challenges)) - 1
    by = "" if gain is None else f" by {plus_minus(gain.mean, gain.half)}"
    beaten = champion_named(champion.champion) if champion.champion else winner
    clause = f"Challenge {champion.number} is the champion: better{by} than {beaten}"
    if kept == 1:
        return [clause]
    return [clause, f"{plural(kept, 'challenge')} have been kept since {winner}"]


def settings_of(champion: Challenge) -> str:
    """The command of the challenge that is champion, and which files its code changed."""
    files = f"; changed code: {', '.join(champion.changed)}" if champion.changed else ""
    return f"{shlex.join(champion.words)}{files}"


def promise(campaign: Campaign) -> str:
    """What a campaign promises of all its challenges together, as the end of a sentence."""
    return (
        "if nothing you try is better, the chance that the campaign keeps anything is at most "
        f"{100 * campaign.alpha:g} %"
    )


def standing(campaign: Campaign, challenges: Sequence[Challenge]) -> str:
    """How many challenges there were, how they ended, and who is champion."""
    ends = [challenge.verdict for challenge in challenges]
    counts = ", ".join(f"{ends.count(end)} {word}" for end, word in ENDS.items() if end in ends)
    so_far = f"{len(challenges)} of at most {plural(campaign.horizon, 'challenge')}"
    champion = champion_named(champions_of(challenges)[-1])
    return f"{so_far}{f': {counts}' if counts else ''}; the champion is {champion}"
