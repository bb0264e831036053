"""Look at the test split, once: the only door to it.

Everything that can fail is checked first, then the split is claimed for ever, then its lines are
read for the first time. A second call prints the recorded result and reads nothing. What this
does not stop: somebody who edits the code or reads the file.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nplm.config import Config, from_hydra
from sweepmore.errors import ConfigError, RunError, UserError
from sweepmore.runs import record as records
from sweepmore.seal.ledger import Ledger, Refused, UsedUp
from sweepmore.seal.receipts import Look
from sweepmore.typed import dotted, setting
from sweepmore.wording import bounds, decimals, shown_path

if TYPE_CHECKING:
    import optuna
    from sqlalchemy.engine import URL

    from nplm.data import Splits
    from nplm.kneser_ney import KneserNey
    from nplm.model import LanguageModel
    from sweepmore.seal.overlap import Items

ROOT = Path(__file__).resolve().parent
WEIGHTS = "model.safetensors"
# The committed folder of looks: always read, wherever looks= points.
LOOKS = "sweeps/looks"
# The way on that is no second look, by data.order.
PRACTICE = {
    "shuffled": "Any other data.seed is another split: search and confirm with it.",
    "contiguous": "data.order=contiguous has these test lines with any data.seed: search and "
    "confirm with data.order=shuffled.",
}
USED_UP = "Of these data no split is left: search and confirm on others."
# The way on where the number is in the ledger, and the study cannot take it.
KEPT = (
    "The number is in the ledger. Make room, start or mend the database; then the same command, "
    "without another_look and complete, writes it into the study, too."
)
# A dry run on dev must give the recorded loss again; other threads or chips differ by rounding.
TOLERANCE = 1e-5
# What is typed to leave a setting out, and is no reason for another look.
NO_REASONS = ("", "none", "null", "no", "false")


@dataclass(frozen=True)
class Arguments:
    """python evaluate_test.py study=NAME [trial=N] | run=FOLDER: the test loss, a single time."""

    study: str | None = setting(None, "a study whose winner confirm.py has named")
    run: str | None = setting(None, "a run's folder, or last")
    trial: int | None = setting(None, "with study=: that trial's run, no winner", at_least=0)
    another_look: str | None = setting(None, "why a split is looked at once more; kept for ever")
    complete: bool = setting(False, "finish a look whose process died after its claim")
    stale: Literal["refuse", "accept"] = setting(
        "refuse", "accept: look although better trials are not confirmed; kept for ever"
    )
    storage: str | None = setting(None, "a database URL; null: studies.db in outputs")
    outputs: str = setting("outputs", "where runs and studies lie")
    looks: str = setting(LOOKS, "the folder of receipts, meant to be committed")


@dataclass(frozen=True)
class Asked:
    """The run that the arguments mean, and under which names its look is claimed.

    ``study`` is the confirmation that named it, ``confirmed`` the sha256 of the winner's weights
    at that time; both are None for a run that was named itself. ``since`` says what the search has
    found after that, and ``next_round`` is the command that confirms it; empty where nothing.
    """

    folder: Path
    fingerprint: str
    checkpoint: str
    study: optuna.Study | None = None
    confirmed: str | None = None
    since: str = ""
    next_round: str = ""


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
        }


def main(arguments: Arguments) -> None:
    """Check → hash → show → claim → read → evaluate → record → print."""
    if arguments.complete and arguments.another_look is not None:
        cure = "complete=true finishes a look, another_look begins one: give one of them."
        raise ConfigError("complete and another_look contradict each other.", value=None, cure=cure)
    if (reason := arguments.another_look) is not None and reason.strip().lower() in NO_REASONS:
        cure = 'Say why the split is looked at again: another_look="…"; it is kept permanently.'
        raise ConfigError(f"another_look={reason!r} gives no reason.", value=reason, cure=cure)
    from sweepmore.compose.script_storage import typed_url  # loads Optuna

    outputs = ROOT / arguments.outputs
    ledger = Ledger(typed_url(arguments.storage, outputs), ROOT / arguments.looks, ROOT / LOOKS)
    asked = find(arguments, outputs)
    mend(ledger, asked)
    done = finished(ledger.known(asked.fingerprint), asked.checkpoint)
    if done is not None and arguments.another_look is None:
        show_asked(asked)
        show_result(done, ledger.known(asked.fingerprint))
        print("recorded before: nothing was read now, no look was taken", file=sys.stderr)
        with contextlib.suppress(OSError):  # a kill may have come between the record and this
            keep(asked, done, ledger.url)
        return
    if arguments.complete:
        ledger.unfinished(asked.fingerprint, asked.checkpoint)
    else:
        may_look(ledger, asked, arguments.another_look)
        if asked.since and arguments.stale == "refuse":
            cure = f"{asked.next_round} confirms what was found; or stale=accept, which is kept."
            raise RunError(f"{asked.since}.", value=asked.since, cure=cure)
    subject = check(asked)
    ledger.prepare()
    items = hashed(subject, ledger)
    if not arguments.complete:
        may_look(ledger, asked, arguments.another_look, items)
    show_subject(subject)
    if arguments.complete:
        look = ledger.resume(asked.fingerprint, asked.checkpoint)
    else:
        reason = arguments.another_look
        look = ledger.claim(asked.fingerprint, asked.checkpoint, subject.about, reason, items)
    done = ledger.finish(look, evaluate(subject))
    show_result(done, ledger.known(asked.fingerprint))
    receipt = shlex.quote(shown_path(ledger.path(done)))
    commit = f"git add {receipt} && git commit -m 'Look {done.number} at test'"
    print(f"commit the receipt: {commit}", file=sys.stderr)
    keep(asked, done, ledger.url)
    if asked.study is not None:
        searched = records.searched_name(asked.study.study_name)
        where = cli.given(arguments, "storage", "outputs")
        print(f"next     python report.py study={searched}{where}", flush=True)


def mend(ledger: Ledger, asked: Asked) -> None:
    """Rows and receipts of the split's looks, each from the other; who only asks for a number
    needs no ledger that can be written."""
    with contextlib.suppress(UserError):
        for told in ledger.mend(asked.fingerprint):
            print(told, file=sys.stderr)


def may_look(ledger: Ledger, asked: Asked, reason: str | None, items: Items | None = None) -> None:
    """Refused where the split, or its lines under another fingerprint, had a look and no ``reason``
    for another is given."""
    try:
        ledger.check(asked.fingerprint, asked.checkpoint, reason, items)
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
    if arguments.run is not None or arguments.trial is not None:
        wanted = (arguments.run, arguments.study, arguments.trial)
        return named(records.find_named(*wanted, outputs, holding=WEIGHTS))
    from sweepmore.compose.script_storage import opened
    from sweepmore.confirm.confirmation import load
    from sweepmore.confirm.rounds import next_round, told_unconfirmed, unconfirmed
    from sweepmore.study.attributes import StudyAttributes

    assert arguments.study is not None
    with opened(arguments.storage, outputs) as database:
        searched = load(database, records.searched_name(arguments.study))
        cure = f"python confirm.py study={searched.study_name}"
        study = load(database, searched.study_name + records.CONFIRM, cure)
        winner = StudyAttributes.of(study).winner
        since, command = told_unconfirmed(unconfirmed(searched)), ""
        if since:
            where = cli.given(arguments, "storage", "outputs")
            command = f"python confirm.py {next_round(searched, where)}"
    if winner is None:
        problem = f"{study.study_name} has not named a winner."
        raise RunError(problem, value=study.study_name, cure=cure)
    return dataclasses.replace(
        named(winner.run),
        study=study,
        confirmed=winner.files.get(WEIGHTS),
        since=since,
        next_round=command,
    )


def named(folder: Path) -> Asked:
    """A run by its folder; neither its data nor its weights are looked into."""
    if not (folder / WEIGHTS).exists():
        cure = "Outputs were removed; train it again."
        raise RunError(f"{folder} holds no {WEIGHTS}.", value=str(folder), cure=cure)
    fingerprint = records.read_json(folder / "provenance.json")["data"]["fingerprint"]
    return Asked(folder, fingerprint, hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())


def run_id(folder: Path) -> str:
    return str(records.read_json(folder / "provenance.json")["run_id"])


def finished(looks: Sequence[Look], checkpoint: str) -> Look | None:
    """The last look at the split with these weights that has a result."""
    done = [look for look in looks if look.result is not None and look.checkpoint == checkpoint]
    return done[-1] if done else None


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
    recorded = records.read_json(folder / "result.json")
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
    cure = "Restore what the run left and the file that it read; nothing was claimed."
    return RunError(problem, value=value, cure=cure)


def hashed(subject: Subject, ledger: Ledger) -> Items:
    """The test lines as prefixes of hashes, which is no look. Looks from before these were kept
    get theirs, where the file of this run gives their split."""
    from nplm import sealed
    from nplm.data import reproduced

    data = subject.config.data
    older = reproduced(data, ledger.without_keys())
    ledger.add_keys({name: sealed.hashed(one, name).keys for name, one in older.items()})
    return sealed.hashed(data, subject.asked.fingerprint)


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
    """Into the study, W&B (as a run of its own) and, last, the run's result.json: what is there
    already stays. The ledger has it before."""
    path = asked.folder / "result.json"
    assert look.result is not None
    test = {"look": look.number, "claimed": look.claimed, "reason": look.reason, **look.result}
    known = records.read_json(path)
    if known.get("test", {}).get("look", 0) >= look.number:
        return
    from sweepmore.runs.tracking import track

    group = None
    if asked.study is not None:
        from sweepmore.storage.opening import storage_errors  # Optuna's, as the study is
        from sweepmore.study.attributes import StudyAttributes

        with storage_errors(url, KEPT):
            StudyAttributes(test=test).keep(asked.study)
        group = asked.study.study_name
    settings = from_hydra(records.read_config(asked.folder)).wandb
    settings = dataclasses.replace(settings, group=group or settings.group)
    record = records.Record(asked.folder, f"{run_id(asked.folder)[:50]}-test{look.number}")
    with track(settings, record, look.about, "test") as tracker:
        tracker.summarise(dotted({"test": test}))
    records.write_json(path, {**known, "test": test})


def show_asked(asked: Asked) -> None:
    print(
        f"run      {shown_path(asked.folder)}\n"
        f"settings {' '.join(records.read_overrides(asked.folder)) or 'the defaults'}\n"
        f"split    fingerprint {asked.fingerprint}"
    )
    if asked.since:
        print(f"since    {asked.since}")


def show_subject(subject: Subject) -> None:
    show_asked(subject.asked)
    mixed = ", mixed with counting" if subject.config.mix else ""
    told = subject.splits.vocabulary.unit.told(subject.dev_loss)
    print(
        f"model    {subject.config.model}{mixed}; {subject.model.size:,} parameters\n"
        f"dev      {decimals(subject.dev_loss)} nats/token{told}, as recorded\n"
        f"counting Kneser-Ney of order {subject.order} on {subject.splits.name}\n"
        f"         its {subject.splits.test_lines:,} test lines are read now",
        flush=True,
    )


def show_result(look: Look, known: Sequence[Look]) -> None:
    """A number, and beside it all looks that the split has had."""
    from nplm.vocabulary import unit_of

    assert look.result is not None
    result, unit = look.result, unit_of(look.about.get("unit", "char"))  # once there were no words
    unseen, counting = (
        f"{_estimate(result[key])}{unit.told(result[key]['mean']) if result[key] else ''}"
        for key in ("unseen", "counting")
    )
    print(
        f"test     {_estimate(result['loss'])} nats/token · {result['bits_per_token']:.3f} bits · "
        f"perplexity {result['perplexity']:.2f}\n"
        f"unseen   {unseen} on the {result['unseen_lines']:,} of "
        f"{result['lines']:,} lines that stand in neither train nor dev\n"
        f"counting {counting} (Kneser-Ney, order {result['counting_order']}); "
        f"the model's difference {_estimate(result['difference'], signed=True)}\n"
        f"         intervals: 95 %, bootstrap over lines; run {look.about['run']}"
    )
    for line in told_overlap(look.overlap or {}):
        print(line)
    for one in sorted(known, key=lambda one: one.number != look.number):  # its own first
        after = "later" if one.number > look.number else "earlier"
        which = "look" if one.number == look.number else after
        why = f": {one.reason}" if one.reason else ""
        print(f"{which:<8} {one.number} of {known[-1].number}{why} ({one.claimed[:10]})")
    sys.stdout.flush()


def told_overlap(overlap: Mapping[str, Any]) -> Iterator[str]:
    """How many of its lines earlier looks had seen, each and all together."""
    items = overlap.get("items", 0)
    for one in overlap.get("looks", ()):
        yield (
            f"seen     {one['shared']:,} of {items:,} distinct lines by look {one['number']} at "
            f"{one['fingerprint'][:8]} ({one['claimed'][:10]}); by chance {one['by_chance']:,.0f}"
        )
    if len(overlap.get("looks", ())) > 1:
        yield f"seen     {overlap['union']:,} of {items:,} distinct lines by any of these looks"
    for one in overlap.get("unknown", ()):
        yield (
            f"unknown  what look {one['number']} at {one['fingerprint'][:8]} saw: it kept no keys, "
            "and this file does not give its split"
        )


def _estimate(estimate: Mapping[str, float] | None, signed: bool = False) -> str:
    if estimate is None:
        return "-"
    sign = "+" if signed else ""
    return bounds(estimate["mean"], estimate["low"], estimate["high"], sign=sign)


if __name__ == "__main__":
    cli.require("torch")  # of the extra [nplm]
    cli.command(Arguments, main)
