"""The section of a page about the campaign against a study's winner: what was tried, what held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweepmore.confirm.challenge_printing import cost_of, terms
from sweepmore.report.campaign_figure import LEGEND, campaign_chart, loop_words
from sweepmore.report.challenge_changes import Change, changes
from sweepmore.report.document import Picture, Section, Table
from sweepmore.report.study import Study
from sweepmore.statistics.intervals import Interval
from sweepmore.statistics.sequential import Verdict
from sweepmore.study.campaigns import Campaign, Challenge
from sweepmore.study.championship import champion_of, fresh_values, promise
from sweepmore.wording import plural

HOW_TO_READ = (
    "A dot lies by its gain away from its champion, over the same seeds. The line is each "
    "champion's mean over fresh seeds, which did not select it, with its 95 % interval"
)
UNMET = "; the last has met no challenge yet, and stands where its own put it"
HEAD = (
    "challenge",
    "verdict",
    "gain",
    "±",
    "seeds",
    "what it changes",
    "runs",
    "seconds",
    "reason",
)
# Rows of these come first.
FIRST: Mapping[Verdict | None, int] = {"keep": 0, "undecided": 1}
# Characters of a challenge's name in the figure, of its command in the table.
NAME, COMMAND = 26, 160


def campaign_section(study: Study, campaign: Campaign) -> Section:
    """Return the section about the campaign of a study."""
    challenges = study.challenges
    text = facts(campaign, challenges)
    if not challenges or study.winner is None:
        return Section("Campaign", text, opened=True)
    made = changes(challenges, study.attrs.command, study.winner)
    names = {c.number: made[c.number].brief(NAME) for c in challenges if c.verdict == "keep"}
    winner = Interval(study.winner.mean, study.winner.half_width)
    chart = campaign_chart(challenges, names, study.metrics[0], study.sign, winner, campaign.cap)
    loop = f". Dashed: {loop_words(challenges, study.sign)}" if len(chart.curves) > 1 else ""
    unmet = UNMET if has_unmet(challenges) else ""
    picture = Picture([chart], f"{HOW_TO_READ}{unmet}{loop}.")
    return Section("Campaign", text, [picture], [campaign_table(challenges, made)], opened=True)


def has_unmet(challenges: Sequence[Challenge]) -> bool:
    """Whether the present champion was made by a challenge and has no fresh runs yet."""
    champion = champion_of(challenges)
    return champion is not None and not fresh_values(champion.number, challenges)


def facts(campaign: Campaign, challenges: Sequence[Challenge]) -> str:
    """Say what the campaign has cost and declared."""
    runs, seconds = sum(c.runs for c in challenges), sum(c.spent for c in challenges)
    cost = f"; {cost_of(runs, seconds)}" if runs else ""
    promised = promise(campaign)
    return (
        f"{len(challenges)} of at most {plural(campaign.horizon, 'challenge')}{cost}. "
        f"{promised[0].upper()}{promised[1:]}. Terms: {terms(campaign)}."
    )


def campaign_table(challenges: Sequence[Challenge], made: Mapping[int, Change]) -> Table:
    """Return a row for each challenge: those that were kept, marked, then the undecided.

    A long table is folded, and its first rows are what a reader sees of it.
    """
    order = sorted(challenges, key=lambda each: FIRST.get(each.verdict, len(FIRST)))
    rows = [
        (c.number, LEGEND[c.verdict or "begun"], c.gain, c.half, len(c.seeds),
         made[c.number].told(COMMAND), c.runs, round(c.spent), c.reason)
        for c in order
    ]  # fmt: skip
    kept = [k for k, each in enumerate(order) if each.verdict == "keep"]
    return Table(HEAD, rows, kept=kept)
