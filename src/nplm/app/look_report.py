"""What ``evaluate_test.py`` prints: the run, what earlier looks saw, its number on test."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from nplm.app.tested_run import Asked, Subject
from nplm.result import Estimate, TestResult
from sweepmore.runs import names
from sweepmore.runs import record as records
from sweepmore.runs.places import Place
from sweepmore.seal.overlap import in_words
from sweepmore.seal.receipts import Look
from sweepmore.wording import bounds, decimals, shown_path


def show_asked(asked: Asked, look: Look) -> None:
    """Print the run, its split, and what earlier looks had seen of it before ``look``."""
    print(
        f"run      {shown_path(asked.folder)}\n"
        f"settings {' '.join(records.read_overrides(asked.folder)) or 'the defaults'}\n"
        f"split    fingerprint {asked.fingerprint}"
    )
    if asked.start:
        print(f"start    {asked.start}")
    if asked.not_winner:
        print(f"note     {asked.not_winner}")
    if asked.since:
        print(f"since    {asked.since}")
    for line in in_words(look.overlap):
        print(line)


def show_subject(subject: Subject, look: Look) -> None:
    """Print what will be claimed: the run, its model, and its dev loss in nats per token."""
    show_asked(subject.asked, look)
    mixed = ", mixed with counting" if subject.config.mix else ""
    perplexity = subject.splits.vocabulary.unit.loss_note(subject.dev_loss)
    print(
        f"model    {subject.config.model}{mixed}; {subject.model.size:,} parameters\n"
        f"dev      {decimals(subject.dev_loss)} nats/token{perplexity}, as recorded\n"
        f"counting Kneser-Ney of order {subject.order} on {subject.splits.name}"
    )
    for other in subject.beside:
        print(f"beside   {other.run}; {other.model.size:,} parameters")
        if other.asked.start:
            print(f"         {other.asked.start}")
    print(f"         now reading its {subject.splits.test_lines:,} test lines", flush=True)


def show_result(look: Look, looks: Sequence[Look]) -> None:
    """Print the result of ``look``, then all ``looks`` that the split has had, its own first."""
    assert look.result is not None
    show_number(TestResult.of(look.result), look)
    total = max(looks[-1].number, len(looks))  # two databases may have claimed one number
    for other in sorted(looks, key=lambda other: other.claim != look.claim):
        after = (
            "later" if (other.number, other.claimed) > (look.number, look.claimed) else "earlier"
        )
        which = "look" if other.claim == look.claim else after
        why = f": {other.reason}" if other.reason else ""
        print(f"{which:<8} {other.number} of {total}{why} ({other.claimed[:10]})")
    sys.stdout.flush()


def show_number(result: TestResult, look: Look) -> None:
    """Print the losses on test, in nats per token, beside counting's."""
    from nplm.vocabulary import unit_of

    unit = unit_of(look.about.get("unit", "char"))  # looks of older versions were at letters
    unseen, counting = (
        f"{_estimate(loss)}{unit.loss_note(loss.mean) if loss else ''}"
        for loss in (result.unseen, result.counting)
    )
    print(
        f"test     {_estimate(result.loss)} nats/token · {result.bits_per_token:.3f} bits · "
        f"perplexity {result.perplexity:.2f}\n"
        f"unseen   {unseen} on the {result.unseen_lines:,} of "
        f"{result.lines:,} lines that appear in neither train nor dev"
    )
    if result.fresh_lines is not None:
        print(
            f"fresh    {_estimate(result.fresh)} on the {result.fresh_lines:,} of these on which "
            "the settings were not chosen either"
        )
    print(
        f"counting {counting} (Kneser-Ney, order {result.counting_order}); "
        f"the model's difference {_estimate(result.difference, sign='+')}\n"
        f"         intervals: 95 %, bootstrap over lines; run {look.about['run']}"
    )
    for other in result.beside:
        fresh = "" if result.fresh_lines is None else f", fresh {_estimate(other.fresh)}"
        print(
            f"beside   {_estimate(other.loss)} {other.run}; the model's difference "
            f"{_estimate(other.difference, sign='+')}\n"
            f"         unseen {_estimate(other.unseen)}{fresh}"
        )


def _estimate(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return "-"
    return bounds(estimate.mean, estimate.low, estimate.high, sign=sign)


def say_read_before() -> None:
    """Say that a result was printed again and that this call read nothing."""
    print("recorded before: nothing was read now, and this was no look", file=sys.stderr)


def say_completed(receipt: Path) -> None:
    """Say that an older receipt now has the keys of its lines, and how to commit it."""
    message = f"completed the receipt {shown_path(receipt)}: it now says which lines the look saw"
    print(message, file=sys.stderr)
    say_commit(receipt, "Lines of an earlier look")


def say_commit(receipt: Path, subject: str) -> None:
    """Print the command that commits a receipt, with ``subject`` as the commit's message."""
    command = f"git add {shlex.quote(shown_path(receipt))} && git commit -m '{subject}'"
    print(f"commit the receipt: {command}", file=sys.stderr)


def say_next(asked: Asked, place: Place) -> None:
    """Name the command that shows the page of the search whose winner was evaluated."""
    if asked.study_name is not None:
        searched = names.searched_name(asked.study_name)
        print(f"next     {place.verb('report', searched)}", flush=True)
