"""The section of a page about a confirmation: what fresh and final seeds say."""

from __future__ import annotations

from sweepmore.report import figures
from sweepmore.report.document import Picture, Section, Table
from sweepmore.report.study import Study
from sweepmore.statistics.intervals import HOLDS
from sweepmore.study.attempts import words
from sweepmore.study.attributes import Winner
from sweepmore.study.winners import reported, seeds_of, standing_of
from sweepmore.wording import decimals, plural


def confirmed_section(study: Study) -> Section:
    """Return the section about the confirmation of a study, which must have a winner."""
    assert study.winner is not None
    winner = study.winner
    picture = Picture(
        [figures.confirmed(winner, study.metrics[0])],
        "The bracket joins what is tied. Hollow circles are the search's own values: the best of "
        "many look better than they are. The number above is of final seeds, not of these.",
    )
    pictures = [picture] if len(winner.rows) > 1 else []  # a single point says nothing
    text = _what_seeds_say(winner, study.sign)
    return Section(seeds_title(winner), text, pictures, [winner_table(winner)])


def _what_seeds_say(winner: Winner, sign: float) -> str:
    """Say which seeds chose the winner, which gave its number, and what the search had promised."""
    fresh, is_final = plural(winner.seeds, "fresh seed"), winner.final is not None
    if len(winner.rows) == 1 and not is_final:
        said = [f"The best was trained again with {fresh}; nothing was chosen by them."]
    else:
        said = [
            f"The best were trained again with the same {fresh}, which chose the winner.",
            "A configuration is tied where its paired difference to the best may be zero; the "
            "simplest of the tied wins.",
        ]
    if is_final:
        said += [
            f"The winner was then trained with {seeds_of(winner)}, which did not choose it.",
            f"Their mean is the number to report: {reported(winner)}.",
        ]
    bias = winner.selection_bias
    than = "better" if sign * bias < 0 else "worse"
    said += [
        f"The search showed {decimals(winner.searched)} for the winner, "
        f"{decimals(abs(bias), winner.searched)} {than} than the {seeds_of(winner)} give.",
        *([HOLDS] if is_final else []),
    ]
    return " ".join(said)


def seeds_title(winner: Winner) -> str:
    """Return the title of the section about a confirmation."""
    return f"What fresh {'' if winner.final is None else 'and final '}seeds say"


def winner_table(winner: Winner) -> Table:
    """Return a table of the confirmed configurations; the winner's row is marked.

    Its means are those of the fresh seeds that chose the winner, not of the final ones.
    """
    mean = f"mean of {plural(winner.seeds, 'fresh seed')}"
    return Table(
        ["trial", "in the search", mean, "± (95 %)", "standing", "parameters"],
        [[row.trial, row.searched, row.mean, row.half_width, standing_of(row, winner),
          words(row.params)] for row in winner.rows],
        marked=[k for k, row in enumerate(winner.rows) if row.trial == winner.trial],
        typed=[0],
    )  # fmt: skip
