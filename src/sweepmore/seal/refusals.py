"""Why a look is refused, in words, and how a ledger that cannot be written is reported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from sweepmore.errors import UserError, said
from sweepmore.seal.overlap import Overlap
from sweepmore.seal.receipts import Look

_CURE = (
    'To look again, say why: another_look="…"; it is recorded, counted and shown. '
    "A claim without a result is completed by its checkpoint with complete=true."
)


class Refused(UserError):
    """The split has been looked at, or may have been; nothing was read. Exit code 3."""

    exit_code = 3


class UsedUp(Refused):
    """Earlier looks saw half of the split, so these data have no unseen split left."""


def refused(problem: str, number: int | None) -> Refused:
    """Return the error for a look that is refused because of the look of that ``number``."""
    return Refused(problem, value=number, cure=_CURE)


def why(last: Look, in_database: bool, checkpoint: str) -> str:
    """Return why the last look at a split, or its receipt alone, rules out another look."""
    if not in_database:
        return f"There is a receipt of {last}, but no row in this database"
    if last.checkpoint != checkpoint:
        return f"The split was looked at before, with another checkpoint: {last}"
    return f"The split has had {last}"


def refuse_overlap(overlap: Overlap) -> None:
    """Raise Refused if an earlier look saw more items than chance gives.

    Raises UsedUp if all earlier looks together saw at least half of them.
    """
    before = overlap.beyond_chance
    if before is not None:
        look = before.look
        problem = (
            f"{before.shared:,} of its {overlap.items:,} items were looked at before, under the "
            f"fingerprint {look.fingerprint} (chance gives {before.expected:,.0f}): {look}"
        )
        raise refused(problem, look.number)
    if overlap.is_used_up:
        looks = f"{len(overlap.before)} look{'' if len(overlap.before) == 1 else 's'}"
        problem = f"{overlap.union:,} of its {overlap.items:,} items were looked at in {looks}."
        raise UsedUp(problem, value=overlap.union, cure=_CURE)


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Turn a disk's or a database's error before the claim into a UserError."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        cure = "The ledger must be writable before the test split may be read."
        raise UserError(f"The ledger: {said(error)}.", value=None, cure=cure) from error


@contextlib.contextmanager
def recording(look: Look) -> Iterator[None]:
    """Turn a disk's or a database's error after the claim into a UserError that says how to
    finish the look."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        cure = "Make room, or repair it. Then rerun the same command with complete=true to finish."
        problem = f"{look} could not be recorded: {said(error)}."
        raise UserError(problem, value=look.number, cure=cure) from error
