"""Look at the test split, once: the only door to it.

Everything that can fail is checked first. Then the split is claimed permanently, and only then are
its lines read for the first time. A second call prints the recorded result and reads nothing. This
does not stop anybody who edits the code or reads the file.

``nplm.app.tested_run`` finds the run that is meant, and ``nplm.app.earlier_looks`` decides whether
it may be evaluated. ``nplm.app.look_report`` prints, and ``nplm.app.keeping_look`` writes the
number beside the run.
"""

from __future__ import annotations

try:
    from sweepmore.compose import cli
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: run `make setup`, then `. .venv/bin/activate`"
    ) from None

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nplm.app.companions import dev_lines, find_also, refuse_others
from nplm.app.earlier_looks import check_reason, finished, is_pending, may_look, mend
from nplm.app.keeping_look import keep
from nplm.app.look_report import (
    say_commit,
    say_completed,
    say_next,
    say_read_before,
    show_asked,
    show_result,
    show_subject,
)
from nplm.app.run_checks import changed, checked
from nplm.app.tested_run import Also, Asked, Subject, Wanted, find
from nplm.run_files import LOOKS
from sweepmore.compose.script_storage import typed_url
from sweepmore.errors import RunError
from sweepmore.runs.places import Place
from sweepmore.seal.ledger import Ledger
from sweepmore.typed import setting

if TYPE_CHECKING:
    from sweepmore.seal.overlap import Items

ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Arguments:
    """python evaluate_test.py study=NAME [trial=N] | run=FOLDER: the test loss, once."""

    study: str | None = setting(None, "a study whose winner sweepmore confirm has named")
    run: str | None = setting(None, "a run's folder, or last")
    trial: int | None = setting(None, "with study=: that trial's run, not the winner", at_least=0)
    beside: tuple[str, ...] = setting(
        (), "[RUN,…]: other runs of the split, evaluated in the same look"
    )
    chosen_on: str | None = setting(
        None, "a run on whose dev lines the settings were chosen: the loss without them, too"
    )
    another_look: str | None = setting(None, "why to look at a split again; recorded permanently")
    complete: bool = setting(False, "finish a look whose process died after its claim")
    stale: Literal["refuse", "accept"] = setting(
        "refuse", "accept: look although better trials are unconfirmed; recorded"
    )
    storage: str | None = setting(None, "a database URL; null: studies.db in outputs")
    outputs: str = setting("outputs", "the folder of runs and studies")
    looks: str = setting(LOOKS, "the folder of receipts, meant to be committed")


def main(arguments: Arguments) -> None:
    """Check → hash → show → claim → read → evaluate → record → print.

    Raises Refused (exit code 3) if the split has had a look, and another UserError (exit code 2) if
    the run, its data or the ledger are not as they must be.
    """
    reason, complete = arguments.another_look, arguments.complete
    check_reason(reason, complete)
    outputs = ROOT / arguments.outputs
    place = Place(outputs, arguments.storage).of_study(arguments.study)
    ledger = Ledger(typed_url(place.storage, outputs), ROOT / arguments.looks, ROOT / LOOKS)
    asked = find(Wanted(arguments.study, arguments.run, arguments.trial, place))
    also = find_also(arguments.beside, arguments.chosen_on, asked, outputs)
    split, weights = asked.fingerprint, asked.checkpoint
    mend(ledger, asked)

    # a recorded number is printed again without a look, unless another look was asked for
    looks = ledger.known(split)
    done, completing = finished(looks, weights), complete and is_pending(looks, weights)
    if done is not None and reason is None and not completing:
        if also != Also():
            refuse_others(done, also)
        show_asked(asked, done)
        show_result(done, ledger.known(split))
        say_read_before()
        with contextlib.suppress(OSError):  # a kill may have prevented it the first time
            keep(asked, done, ledger.url)
        return

    # check the cheap before the slow: the ledger, then the run, then the hashes of the test lines
    if complete:
        refuse_others(ledger.unfinished(split, weights), also)
    else:
        may_look(ledger, asked, reason)
        if asked.since and arguments.stale == "refuse":
            cure = f"Confirm them: {asked.next_round}\n  Or give stale=accept, which is recorded."
            raise RunError(f"{asked.since}.", value=asked.since, cure=cure)
    subject = check(asked, also)
    ledger.prepare()
    items = hashed(subject, ledger)
    if complete:
        planned = ledger.unfinished(split, weights)
    else:
        planned = may_look(ledger, asked, reason, items)
    show_subject(subject, planned)

    # claim: from here on, the split counts as looked at, whatever happens
    if complete:
        look = ledger.resume(split, weights)
    else:
        look = ledger.claim(split, weights, subject.about, reason, items)

    # read; the number goes into the ledger before anybody sees it
    done = ledger.finish(look, evaluate(subject))
    show_result(done, ledger.known(split))
    say_commit(ledger.path(done), f"Look {done.number} at test")
    keep(asked, done, ledger.url)
    say_next(asked, place)


def check(asked: Asked, also: Also) -> Subject:
    """Check all that can fail before anything is claimed, of each run that is to be evaluated.

    Raises RunError if something is not what a run recorded.
    """
    from nplm.data import load_splits
    from nplm.kneser_ney import ORDERS, best_kneser_ney

    own, *beside = (checked(each) for each in (asked, *also.beside))
    for other in beside:
        if other.splits.vocabulary != own.splits.vocabulary:
            size = len(other.splits.vocabulary)
            raise changed(f"beside: {other.run} has another vocabulary.", size)
    data = own.config.data
    chosen = None if also.chosen_on is None else dev_lines(also.chosen_on, data)
    counted = load_splits(data, max(ORDERS) - 1)  # counting may look back as far as it likes
    counting, order = best_kneser_ney(counted)
    with tempfile.TemporaryFile(
        dir=asked.folder
    ):  # the result must fit; OSError: a message, exit 2
        pass
    return Subject(**vars(own), counting=counting, order=order, also=also, beside=tuple(beside),
                   chosen_lines=chosen)  # fmt: skip


def hashed(subject: Subject, ledger: Ledger) -> Items:
    """Return the test lines as prefixes of hashes, which is not a look. Looks of older versions
    kept none, and get theirs if this run's file reproduces their split."""
    from nplm import sealed
    from nplm.lines import reproduced

    data = subject.config.data
    older = reproduced(data, ledger.without_keys())
    keys = {name: sealed.hashed(split, name).keys for name, split in older.items()}
    for receipt in ledger.add_keys(keys):
        say_completed(receipt)
    return sealed.hashed(data, subject.asked.fingerprint)


def evaluate(subject: Subject) -> dict[str, Any]:
    """Read the test lines for the first time, and return their ``TestResult`` as plain values."""
    from nplm import sealed

    data, splits = subject.config.data, subject.splits
    blocks = [each.model.shape.block_size for each in (subject, *subject.beside)]
    longest = max(*blocks, subject.order - 1)
    test = sealed.load_test(data, splits.vocabulary, longest, subject.asked.fingerprint)
    familiar = {*splits.train.lines, *splits.dev.lines}
    result = sealed.evaluate(
        subject.model, subject.counting, subject.order, test, familiar, data.seed,
        beside={each.run: each.model for each in subject.beside}, chosen_on=subject.chosen_lines,
    )  # fmt: skip
    return result.as_json()


if __name__ == "__main__":
    cli.require("torch")  # of the group nplm
    cli.command(Arguments, main)
