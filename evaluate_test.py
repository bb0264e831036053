"""Look at the test split, once: the only door to it.

Everything that can fail is checked first. Then the split is claimed permanently, and only then are
its lines read for the first time. A second call prints the recorded result and reads nothing. This
does not stop anybody who edits the code or reads the file.
"""

from __future__ import annotations

try:
    from sweepmore.compose import cli
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: run `make setup`, then `. .venv/bin/activate`"
    ) from None

import contextlib
import dataclasses
import hashlib
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nplm.config import Config, from_hydra
from nplm.lineage import of_another_split
from sweepmore.compose.script_storage import typed_url
from sweepmore.errors import ConfigError, RunError, UserError
from sweepmore.runs import files, finding, names
from sweepmore.runs import record as records
from sweepmore.seal.ledger import Ledger, Refused, UsedUp
from sweepmore.seal.overlap import in_words
from sweepmore.seal.receipts import Look
from sweepmore.typed import dotted, setting
from sweepmore.wording import bounds, decimals, shown_path

if TYPE_CHECKING:
    import optuna
    from sqlalchemy.engine import URL

    from nplm.data import Splits
    from nplm.kneser_ney import KneserNey
    from nplm.model import LanguageModel
    from sweepmore.confirm.rounds import Confirmed
    from sweepmore.seal.overlap import Items
    from sweepmore.study.attributes import StudyAttributes

ROOT = Path(__file__).resolve().parent
WEIGHTS = "model.safetensors"
# The committed folder of looks: always read, wherever looks= points.
LOOKS = "sweeps/looks"
# How to go on without a second look, by data.order.
PRACTICE = {
    "shuffled": "Any other data.seed is another split: search and confirm with that one.",
    "contiguous": "data.order=contiguous has the same test lines with every data.seed: search and "
    "confirm with data.order=shuffled.",
}
USED_UP = "These data have no unseen split left: search and confirm on other data."
# What to do when the number is in the ledger, but cannot be written into the study.
KEPT = (
    "The number is in the ledger. Make room, or start or repair the database. Then rerun the same "
    "command, without another_look and complete, to write it into the study, too."
)
# A dry run on dev must give the recorded loss again; other threads or chips differ by rounding.
TOLERANCE = 1e-5
# What people type to leave a setting out; none of these is a reason for another look.
NO_REASONS = ("", "none", "null", "no", "false")


@dataclass(frozen=True)
class Arguments:
    """python evaluate_test.py study=NAME [trial=N] | run=FOLDER: the test loss, once."""

    study: str | None = setting(None, "a study whose winner confirm.py has named")
    run: str | None = setting(None, "a run's folder, or last")
    trial: int | None = setting(None, "with study=: that trial's run, not the winner", at_least=0)
    another_look: str | None = setting(None, "why to look at a split again; recorded permanently")
    complete: bool = setting(False, "finish a look whose process died after its claim")
    stale: Literal["refuse", "accept"] = setting(
        "refuse", "accept: look although better trials are unconfirmed; recorded"
    )
    storage: str | None = setting(None, "a database URL; null: studies.db in outputs")
    outputs: str = setting("outputs", "the folder of runs and studies")
    looks: str = setting(LOOKS, "the folder of receipts, meant to be committed")


@dataclass(frozen=True)
class Asked:
    """The run that the arguments mean, and under which names its look is claimed.

    ``study`` is the confirmation whose winner it is, ``confirmed`` the sha256 of the winner's
    weights at that time, and ``winner_run`` the folder that it named, of which this may be a copy.
    All three are None for any other run, of which ``not_winner`` says so where its
    search has a confirmed winner. ``since`` says what that search has found after the winner was
    named, and ``next_round`` is the command that confirms it; empty where nothing. ``start`` says
    so where its first weights learned from another split.
    """

    folder: Path
    fingerprint: str
    checkpoint: str
    study: optuna.Study | None = None
    confirmed: str | None = None
    winner_run: str | None = None
    since: str = ""
    next_round: str = ""
    not_winner: str = ""
    start: str = ""


@dataclass(frozen=True)
class Subject:
    """What will be evaluated: a run's model with all that was checked about it."""

    asked: Asked
    config: Config
    dev_loss: float
    model: LanguageModel
    splits: Splits
    counting: KneserNey
    order: int

    @property
    def about(self) -> dict[str, Any]:
        return {
            "run": run_id(self.asked.folder),
            "study": None if self.asked.study is None else self.asked.study.study_name,
            "data": self.splits.name,
            "unit": self.splits.vocabulary.unit.name,
            "dev_loss": self.dev_loss,
            "parameters": self.model.size,
            **({"stale": self.asked.since} if self.asked.since else {}),
            **({"note": self.asked.not_winner} if self.asked.not_winner else {}),
            **({"start_from": self.asked.start} if self.asked.start else {}),
        }


def main(arguments: Arguments) -> None:
    """Check → hash → show → claim → read → evaluate → record → print."""
    if arguments.complete and arguments.another_look is not None:
        cure = "complete=true finishes a look, another_look begins one: give only one of them."
        raise ConfigError("complete and another_look contradict each other.", value=None, cure=cure)
    if (reason := arguments.another_look) is not None and reason.strip().lower() in NO_REASONS:
        cure = 'Say why the split is looked at again: another_look="…"; it is recorded permanently.'
        raise ConfigError(f"another_look={reason!r} gives no reason.", value=reason, cure=cure)

    outputs = ROOT / arguments.outputs
    ledger = Ledger(typed_url(arguments.storage, outputs), ROOT / arguments.looks, ROOT / LOOKS)
    asked = find(arguments, outputs)
    mend(ledger, asked)
    looks = ledger.known(asked.fingerprint)
    done = finished(looks, asked.checkpoint)
    completing = arguments.complete and is_pending(looks, asked.checkpoint)
    if done is not None and arguments.another_look is None and not completing:
        show_asked(asked, done)
        show_result(done, ledger.known(asked.fingerprint))
        print("recorded before: nothing was read now, and this was no look", file=sys.stderr)
        with contextlib.suppress(OSError):  # a kill may have come between the record and this
            keep(asked, done, ledger.url)
        return
    if arguments.complete:
        ledger.unfinished(asked.fingerprint, asked.checkpoint)
    else:
        may_look(ledger, asked, arguments.another_look)
        if asked.since and arguments.stale == "refuse":
            cure = f"Confirm them: {asked.next_round}\n  Or give stale=accept, which is recorded."
            raise RunError(f"{asked.since}.", value=asked.since, cure=cure)
    subject = check(asked)
    ledger.prepare()
    items = hashed(subject, ledger)
    if arguments.complete:
        planned = ledger.unfinished(asked.fingerprint, asked.checkpoint)
    else:
        planned = may_look(ledger, asked, arguments.another_look, items)
    show_subject(subject, planned)
    if arguments.complete:
        look = ledger.resume(asked.fingerprint, asked.checkpoint)
    else:
        reason = arguments.another_look
        look = ledger.claim(asked.fingerprint, asked.checkpoint, subject.about, reason, items)
    done = ledger.finish(look, evaluate(subject))
    show_result(done, ledger.known(asked.fingerprint))
    say_commit(ledger.path(done), f"Look {done.number} at test")
    keep(asked, done, ledger.url)
    if asked.study is not None:
        searched = names.searched_name(asked.study.study_name)
        where = cli.given(arguments, "storage", "outputs")
        print(f"next     python report.py study={searched}{where}", flush=True)


def mend(ledger: Ledger, asked: Asked) -> None:
    """Restore missing rows from receipts and missing receipts from rows. A call that only asks for
    a number does not need a writable ledger."""
    with contextlib.suppress(UserError):
        for told in ledger.mend(asked.fingerprint):
            print(told, file=sys.stderr)


def may_look(ledger: Ledger, asked: Asked, reason: str | None, items: Items | None = None) -> Look:
    """The look that will be claimed. Refused where the split, or its lines under another
    fingerprint, had a look and no ``reason`` for another is given."""
    try:
        return ledger.check(asked.fingerprint, asked.checkpoint, reason, items)
    except UsedUp as refused:
        cure = f"{refused.cure}\n  {USED_UP}"
        raise UsedUp(refused.problem, value=refused.value, cure=cure) from refused
    except Refused as refused:
        order = from_hydra(records.read_config(asked.folder)).data.order
        cure = f"{refused.cure}\n  Only practising? {PRACTICE[order]}"
        raise Refused(refused.problem, value=refused.value, cure=cure) from refused


def find(arguments: Arguments, outputs: Path) -> Asked:
    """The run to evaluate: named, as a run or as a study's trial, or the confirmed winner's."""
    if (arguments.study is None) == (arguments.run is None):
        cure = "Give one of them: study=NAME (its confirmed winner) or run=FOLDER."
        raise ConfigError("study and run: one of the two is needed.", value=None, cure=cure)
    from sweepmore.compose.script_storage import opened
    from sweepmore.confirm.confirmation import load
    from sweepmore.confirm.rounds import confirmed, search_of

    where = cli.given(arguments, "storage", "outputs")
    with opened(arguments.storage, outputs) as database:
        if arguments.run is not None or arguments.trial is not None:
            wanted = (arguments.run, arguments.study, arguments.trial)
            asked = named(finding.find_named(*wanted, outputs, holding=WEIGHTS))
            search = search_of(database, run_id(asked.folder))
            known = None if search is None else confirmed(search, where)
            return asked if known is None else beside(asked, known)
        assert arguments.study is not None
        search = load(database, names.searched_name(arguments.study))
        cure = f"python confirm.py study={search.study_name}"
        study = load(database, search.study_name + names.CONFIRM, cure)
        known = confirmed(search, where)
    if known is None:
        problem = f"{study.study_name} has not named a winner."
        raise RunError(problem, value=study.study_name, cure=cure)
    return beside(named(known.winner.run), known)


def beside(asked: Asked, known: Confirmed) -> Asked:
    """A run with what the confirmation of its search says: whether it is the winner, which a copy
    of the winner's run is, too, and what was found since."""
    asked = dataclasses.replace(asked, since=known.since, next_round=known.next_round)
    winner = known.winner
    weights = winner.files.get(WEIGHTS)
    if asked.folder == winner.run or asked.checkpoint == weights:
        run = str(winner.run)
        return dataclasses.replace(asked, study=known.study, confirmed=weights, winner_run=run)
    note = f"not the winner that {known.study.study_name} has named"
    return dataclasses.replace(asked, not_winner=note)


def named(folder: Path) -> Asked:
    """A run by its folder; its data are not read, and its weights are only hashed."""
    if not (folder / WEIGHTS).exists():
        cure = "Its outputs were removed: train it again."
        raise RunError(f"{folder} holds no {WEIGHTS}.", value=str(folder), cure=cure)
    provenance = files.read_json(folder / "provenance.json")
    fingerprint = provenance["data"]["fingerprint"]
    checkpoint = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    start = of_another_split(provenance.get("start_from"), fingerprint)
    return Asked(folder, fingerprint, checkpoint, start=start)


def run_id(folder: Path) -> str:
    return str(files.read_json(folder / "provenance.json")["run_id"])


def finished(looks: Sequence[Look], checkpoint: str) -> Look | None:
    """The last look at the split with these weights that has a result."""
    done = [look for look in looks if look.result is not None and look.checkpoint == checkpoint]
    return done[-1] if done else None


def is_pending(looks: Sequence[Look], checkpoint: str) -> bool:
    """Whether the last look at the split is a claim of these weights that has no result yet."""
    return bool(looks) and looks[-1].result is None and looks[-1].checkpoint == checkpoint


def check(asked: Asked) -> Subject:
    """All that can fail, before anything is claimed: weights, config, data, dev loss, disk."""
    from nplm.data import load_splits
    from nplm.kneser_ney import ORDERS, best_kneser_ney
    from nplm.losses import split_loss
    from nplm.sampling import load_trained

    folder = asked.folder
    if asked.confirmed not in (None, asked.checkpoint):
        raise changed("The weights are not those that were confirmed.", asked.checkpoint)
    config, trained = from_hydra(records.read_config(folder)), load_trained(folder)
    recorded = files.read_json(folder / "result.json")
    splits = load_splits(config.data, trained.model.shape.block_size)
    if not asked.fingerprint == recorded["data"]["fingerprint"] == splits.fingerprint:
        raise changed(f"The data are not those that {folder.name} saw.", splits.fingerprint)
    if splits.vocabulary != trained.vocabulary:
        raise changed("The weights have another vocabulary.", len(trained.vocabulary))
    again, told = split_loss(trained.model, splits.dev), recorded["dev_loss"]
    if told is None or not abs(again - told) <= TOLERANCE:  # nan is not near anything
        raise changed(f"On dev the weights give {again:.6f}, but {told} is recorded.", again)
    with tempfile.TemporaryFile(dir=folder):  # an OSError here is one message, exit 2
        pass
    counted = load_splits(config.data, max(ORDERS) - 1)  # counting may look back as far as it likes
    counting, order = best_kneser_ney(counted)
    return Subject(asked, config, again, trained.model, splits, counting, order)


def changed(problem: str, value: object) -> RunError:
    cure = "Restore the run's folder and its data file; nothing was claimed."
    return RunError(problem, value=value, cure=cure)


def hashed(subject: Subject, ledger: Ledger) -> Items:
    """The test lines as prefixes of hashes, which is not a look. Older looks, which kept none, get
    theirs where this run's file reproduces their split."""
    from nplm import sealed
    from nplm.data import reproduced

    data = subject.config.data
    older = reproduced(data, ledger.without_keys())
    keys = {name: sealed.hashed(one, name).keys for name, one in older.items()}
    for path in ledger.add_keys(keys):
        print(
            f"completed the receipt {shown_path(path)}: it now says which lines the look saw",
            file=sys.stderr,
        )
        say_commit(path, "Lines of an earlier look")
    return sealed.hashed(data, subject.asked.fingerprint)


def say_commit(receipt: Path, subject: str) -> None:
    command = f"git add {shlex.quote(shown_path(receipt))} && git commit -m '{subject}'"
    print(f"commit the receipt: {command}", file=sys.stderr)


def evaluate(subject: Subject) -> dict[str, Any]:
    """The test lines are read here, for the first time."""
    from nplm import sealed

    data, splits = subject.config.data, subject.splits
    longest = max(subject.model.shape.block_size, subject.order - 1)
    test = sealed.load_test(data, splits.vocabulary, longest, subject.asked.fingerprint)
    seen = {*splits.train.lines, *splits.dev.lines}
    result = sealed.evaluate(subject.model, subject.counting, subject.order, test, seen, data.seed)
    return result.as_json()


def keep(asked: Asked, look: Look, url: URL) -> None:
    """Write the number into the study, into W&B (as a run of its own) and, last, into the run's
    result.json, unless it is there already. The ledger has it by then."""
    path = asked.folder / "result.json"
    from sweepmore.study.attributes import StudyAttributes

    assert look.result is not None
    test = {"look": look.number, "claimed": look.claimed, "reason": look.reason, **look.result}
    if asked.study is not None:
        keep_in_study(asked.study, StudyAttributes(tested_run=asked.winner_run, test=test), url)
    known = files.read_json(path)
    if known.get("test", {}).get("look", 0) >= look.number:
        return
    from sweepmore.runs.tracking import track

    group = None if asked.study is None else asked.study.study_name
    settings = from_hydra(records.read_config(asked.folder)).wandb
    settings = dataclasses.replace(settings, group=group or settings.group)
    record = records.Record(asked.folder, f"{run_id(asked.folder)[:50]}-test{look.number}")
    with track(settings, record, look.about, "test") as tracker:
        tracker.summarise(dotted({"test": test}))
    files.write_json(path, {**known, "test": test})


def keep_in_study(study: optuna.Study, attributes: StudyAttributes, url: URL) -> None:
    """Which run was tested, and its number: a later round of the confirmation may name another."""
    from sweepmore.storage.opening import storage_errors  # Optuna's, as the study is
    from sweepmore.study.attributes import StudyAttributes

    with storage_errors(url, KEPT):
        known = StudyAttributes.of(study)
        if (known.tested_run, known.test) != (attributes.tested_run, attributes.test):
            attributes.keep(study)


def show_asked(asked: Asked, look: Look) -> None:
    """The run, its split, and what of that earlier looks had seen before ``look``."""
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
    show_asked(subject.asked, look)
    mixed = ", mixed with counting" if subject.config.mix else ""
    told = subject.splits.vocabulary.unit.loss_note(subject.dev_loss)
    print(
        f"model    {subject.config.model}{mixed}; {subject.model.size:,} parameters\n"
        f"dev      {decimals(subject.dev_loss)} nats/token{told}, as recorded\n"
        f"counting Kneser-Ney of order {subject.order} on {subject.splits.name}\n"
        f"         now reading its {subject.splits.test_lines:,} test lines",
        flush=True,
    )


def show_result(look: Look, known: Sequence[Look]) -> None:
    """The number, and all looks that the split has had."""
    from nplm.vocabulary import unit_of

    assert look.result is not None
    result, unit = look.result, unit_of(look.about.get("unit", "char"))  # once there were no words
    unseen, counting = (
        f"{_estimate(result[key])}{unit.loss_note(result[key]['mean']) if result[key] else ''}"
        for key in ("unseen", "counting")
    )
    print(
        f"test     {_estimate(result['loss'])} nats/token · {result['bits_per_token']:.3f} bits · "
        f"perplexity {result['perplexity']:.2f}\n"
        f"unseen   {unseen} on the {result['unseen_lines']:,} of "
        f"{result['lines']:,} lines that appear in neither train nor dev\n"
        f"counting {counting} (Kneser-Ney, order {result['counting_order']}); "
        f"the model's difference {_estimate(result['difference'], signed=True)}\n"
        f"         intervals: 95 %, bootstrap over lines; run {look.about['run']}"
    )
    total = max(known[-1].number, len(known))  # two databases may have claimed one number
    for one in sorted(known, key=lambda one: one.claim != look.claim):  # its own first
        after = "later" if (one.number, one.claimed) > (look.number, look.claimed) else "earlier"
        which = "look" if one.claim == look.claim else after
        why = f": {one.reason}" if one.reason else ""
        print(f"{which:<8} {one.number} of {total}{why} ({one.claimed[:10]})")
    sys.stdout.flush()


def _estimate(estimate: Mapping[str, float] | None, signed: bool = False) -> str:
    if estimate is None:
        return "-"
    sign = "+" if signed else ""
    return bounds(estimate["mean"], estimate["low"], estimate["high"], sign=sign)


if __name__ == "__main__":
    cli.require("torch")  # of the extra [nplm]
    cli.command(Arguments, main)
