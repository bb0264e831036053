"""How a campaign stands, in words: for pages and terminals."""

from __future__ import annotations

from collections.abc import Sequence

from sweepmore.study.campaigns import Campaign, Challenge, champions_of
from sweepmore.wording import plural, plus_minus

# How challenges end, in words.
ENDS = {"keep": "kept", "undecided": "undecided", "discard": "discarded", None: "not decided yet"}


def champion_named(number: int) -> str:
    """A champion by its number; 0 is the confirmed winner."""
    return f"challenge {number}" if number else "the confirmed winner"


def better_than_winner(challenges: Sequence[Challenge]) -> str:
    """Say what the present champion's challenge found; empty while the winner is champion."""
    *before, champion = champions_of(challenges)
    if not champion:
        return ""
    made_it = next(each for each in challenges if each.number == champion)
    gain = made_it.interval
    by = "" if gain is None else f" by {plus_minus(gain.mean, gain.half)}"
    clause = f"challenge {champion} is better{by} than {champion_named(made_it.champion)}"
    if len(before) == 1:
        return clause
    return f"{plural(len(before), 'challenge')} beat the winner one after the other, and {clause}"


def standing(campaign: Campaign, challenges: Sequence[Challenge]) -> str:
    """How many challenges there were, how they ended, and who is champion."""
    ends = [challenge.verdict for challenge in challenges]
    counts = ", ".join(f"{ends.count(end)} {word}" for end, word in ENDS.items() if end in ends)
    so_far = f"{len(challenges)} of at most {plural(campaign.horizon, 'challenge')}"
    champion = champion_named(champions_of(challenges)[-1])
    return f"{so_far}{f': {counts}' if counts else ''}; the champion is {champion}"
