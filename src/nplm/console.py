"""What a run prints: a header, a live bar and the answer. Without a terminal, it prints lines.

One file, because its lines share their columns and their words.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from nplm import config
from nplm.averaging import Ensemble, ensemble_in
from nplm.baselines import least_rival
from nplm.config import Config, Data, Model
from nplm.data import Splits
from nplm.lineage import of_another_split, start_record
from nplm.losses import least_loss
from nplm.mixture import Mixture
from nplm.model import LanguageModel
from nplm.optim import decay_step
from nplm.result import Progress as Report
from nplm.result import Result
from nplm.state import State
from nplm.vocabulary import Unit
from sweepmore.consoles import stdout_console
from sweepmore.runs.offline import is_synced, offline_runs
from sweepmore.runs.places import Place, find_place
from sweepmore.wording import decimals, fitted, plural, shown_path

# The fingerprint of the split behind the lecture's loss of 2.17: data=names with its defaults.
LECTURE_FINGERPRINT = "6fdda8d384094015051b519143392eeb"
LECTURE_LOSS = 2.17
# The most characters of the line that shows an example as contexts and targets.
WIDEST = 110
# Columns of the bar: with both losses and the time left, a line of 200,000 steps fits in 80.
BAR_WIDTH = 15


def header(config: Config, splits: Splits, state: State, looks: str) -> None:
    """Print data, split, overlap, seal, an example, model and optimiser, one line each.

    ``looks`` says how often the test split has been looked at. Warnings go to stderr.
    """
    train, dev = splits.train, splits.dev
    total = len(train.lines) + len(dev.lines) + splits.test_lines
    block = config.model.block_size
    lines = [
        f"data     {splits.name}: {total:,} lines, {len(splits.vocabulary):,} tokens",
        f"split    train {len(train.lines):,} · dev {len(dev.lines):,} · "
        f"test {splits.test_lines:,} lines; {len(train):,} and {len(dev):,} examples; "
        f"fingerprint {splits.fingerprint[:8]}",
        f"overlap  {splits.dev_in_train:,} of {plural(len(dev.lines), 'dev line')} "
        f"({splits.dev_in_train / len(dev.lines):.1%}) also appear in train",
        *_unknown(splits),
        f"test     sealed, {looks}",
        f"example  {_cut(splits, block)}",
        f"model    {config.model}; {_parameters(state)}{state.device.type}, "
        f"{plural(config.threads, 'thread')}",
        f"optim    {_optim(config, state.model)}",
    ]
    if state.step:
        lines.append(f"resumed  after step {state.step:,} of {config.optim.steps:,}")
    if config.start_from is not None:
        lines.append(f"weights  from {shown_path(Path(config.start_from))}")
    print("\n".join(map(fitted, lines)), flush=True)
    for warning in _warnings(config, splits):
        print(f"warning: {warning}", file=sys.stderr)


def _warnings(config: Config, splits: Splits) -> Iterator[str]:
    """Yield a warning for each reason why the dev loss means less than it seems to."""
    if config.start_from is not None:
        start = start_record(Path(config.start_from))
        if warning := of_another_split(start, splits.fingerprint):
            yield warning
    if splits.dev_in_train > len(splits.dev.lines) / 2:
        yield (
            "most dev lines also appear in train, so the dev loss says little about new lines: "
            "set data.duplicates=drop to keep one copy of each line"
        )
    if isinstance(config.model, Model) and config.model.direct and not config.model.layers:
        yield (
            "model.direct=true adds nothing to model.layers=0, which already connects the "
            "embeddings to the output: drop it to halve the cost"
        )
    if splits.vocabulary.unit.of_words and not config.overfit_batch:
        (in_train, in_dev), token = _unknown_shares(splits), splits.vocabulary.unit.unknown
        if in_dev > in_train == 0:
            yield (
                f"train contains no {token}, so the model cannot learn it: "
                f"set data.min_count={config.data.min_count + 1} to give it examples"
            )


def _cut(splits: Splits, block: int) -> str:
    """Return the first training line, cut into examples: ``... → e, ..e → m`` …"""
    vocabulary, train = splits.vocabulary, splits.train
    line, examples = train.lines[0], int((train.targets == 0).nonzero()[0]) + 1
    shown = [
        f"{vocabulary.text(train.contexts[at].tolist())} → {vocabulary.tokens[train.targets[at]]}"
        for at in range(min(examples, 6))
    ]
    while len(", ".join(shown)) > WIDEST and len(shown) > 1:  # words are longer than letters
        shown.pop()
    more = ", …" if examples > len(shown) else ""
    return f"{_short(line, 20)}: {', '.join(shown)}{more}" if block <= 12 else _short(line)


def _unknown(splits: Splits) -> list[str]:
    """Return a line on what train cannot teach: characters that are not in it, or the share of
    unknown tokens; none where it has every character."""
    vocabulary, unknown = splits.vocabulary, splits.vocabulary.unit.unknown
    if not vocabulary.unit.of_words:
        numbers = torch.bincount(splits.train.targets, minlength=len(vocabulary)).tolist()
        absent = [token for token, number in zip(vocabulary.tokens, numbers) if not number]
        return [f"unknown  train never contains {' '.join(absent)}"] if absent else []
    train, dev = _unknown_shares(splits)
    return [f"unknown  {train:.1%} of train's and {dev:.1%} of dev's tokens are {unknown}"]


def _unknown_shares(splits: Splits) -> tuple[float, float]:
    """Return the shares of train's and of dev's tokens that are unknown."""
    at = splits.vocabulary.tokens.index(splits.vocabulary.unit.unknown)
    train, dev = ((part.targets == at).double().mean() for part in (splits.train, splits.dev))
    return train.item(), dev.item()


def _parameters(state: State) -> str:
    """Return the number of parameters; a counting model has none before it has counted."""
    return f"{state.model.size:,} parameters; " if state.model.size else ""


def _optim(run: Config, model: LanguageModel) -> str:
    if isinstance(model, Ensemble):
        return "none: its members were trained"
    if not model.takes_steps:
        return "none: train is counted once"
    optim = run.optim
    if isinstance(optim, config.Sgd) and optim.schedule == "drop":
        rate = f"lr {optim.lr:g}, {optim.lr * optim.decay_factor:g} from step {decay_step(optim):,}"
    elif isinstance(optim, config.Sgd):
        rate = f"lr {optim.lr:g} / (1 + {optim.decay_rate:g} · step)"
    else:
        rate = f"lr {optim.lr:g} ({optim.schedule})"
    minibatch = "all contexts" if optim.draw == "full" else f"{optim.batch_size:,} {optim.draw}"
    return f"{optim.name} {rate}; {optim.steps:,} steps of {minibatch}"


def answer(config: Config, splits: Splits, result: Result, samples: Sequence[str]) -> None:
    """Print the loss, what to compare it with, and ``samples``; or why there is no loss."""
    if result.status != "ok" or result.dev_loss is None or result.train_loss is None:
        print(f"{result.status}: {result.reason}, after {plural(result.steps, 'step')}")
        return
    if config.overfit_batch:
        print(
            f"loss     {decimals(result.train_loss)} nats/token on the batch of "
            f"{plural(len(splits.train), 'example')}; no model with these contexts can go below "
            f"{decimals(least_loss(splits.train))}"
        )
        return
    unit, model = splits.vocabulary.unit, result.model
    seconds = f"{result.seconds:.{0 if result.seconds >= 10 else 1}f} s"
    if isinstance(model, Mixture):  # its train loss means nothing: counting knows train by heart
        assert result.net_dev_loss is not None
        assert result.net_train_loss is not None
        print(
            f"dev loss {_loss(result.dev_loss, unit)} · {seconds}\n"
            f"mixed    {model.weight:.3f} Kneser-Ney of order {model.ngram.shape.order} "
            f"({model.ngram.size:,} numbers), the rest the net ({model.net.size:,} parameters)\n"
            f"net      alone dev {_on_both(result.net_dev_loss, result.net_train_loss, unit)}"
        )
    else:
        print(f"dev loss {_on_both(result.dev_loss, result.train_loss, unit)} · {seconds}")
    if (averaged := ensemble_in(model)) is not None:
        print(f"members  {len(averaged.members)}, alone dev {_range(averaged.dev_losses)}")
    rival, loss = least_rival(splits)
    print(
        fitted(
            f"compare  {rival} {_three(loss)}{unit.loss_note(loss)} on this split"
            f"{_lecture(config, splits)}"
        )
    )
    print(fitted(f"samples  {' · '.join(map(_short, samples))}"))


def _on_both(dev: float, train: float, unit: Unit) -> str:
    """Return the losses of dev and train, and their gap."""
    losses = f"{_loss(dev, unit)} · train {_three(train)}{unit.loss_note(train)}"
    return f"{losses} · gap {decimals(dev - train, dev, places=3)}"


def _range(losses: Sequence[float]) -> str:
    """Return the mean of losses, the lowest and the highest."""
    mean = sum(losses) / len(losses)
    return f"{_three(mean)} on average, {_three(min(losses))} to {_three(max(losses))}"


def _loss(loss: float, unit: Unit) -> str:
    return f"{_three(loss)} nats/token{unit.loss_note(loss)}"


def _three(loss: float) -> str:
    return decimals(loss, places=3)


def _short(line: str, width: int = 60) -> str:
    """Return the beginning of the line, cut between words where it can be."""
    if len(line) <= width:
        return line
    begun = line[: width - 1]
    cut = begun if line[width - 1] == " " else begun.rpartition(" ")[0] or begun
    return f"{cut}…"


def ways_on(folder: Path, config: Config, result: Result) -> None:
    """Print where the run lies, which is said once, and which commands come next."""
    inside = folder.parent.name == "runs"  # else hydra.run.dir leads somewhere else
    place = Place(folder.parent.parent) if inside else find_place()
    name = "last" if inside else shown_path(folder)
    if result.status == "interrupted":
        print(f"go on    python train.py {shlex.quote(f'resume={shown_path(folder)}')}")
    else:
        print(f"folder   {shown_path(folder)}")
    if not all(map(is_synced, offline_runs(folder))):
        print(f"W&B      offline; to upload it to your account: {place.verb('wandb', name)}")
    if result.status == "ok":
        # sweeps=minute searches given_names: on other data it would not find a better model
        search = " · python train.py -m sweeps=minute" if config.data == Data() else ""
        print(f"next     python sample.py · {place.verb('report', name)}{search}")


def _lecture(config: Config, splits: Splits) -> str:
    """Return the lecture's loss, or why this one cannot be compared with it; nothing for words."""
    if splits.vocabulary.unit.of_words:
        return ""
    if splits.fingerprint == LECTURE_FINGERPRINT:
        return f"; the lecture's net {LECTURE_LOSS}"
    same = "another split" if config.data.name == "names" else "other data"
    return f"; not comparable with the lecture's {LECTURE_LOSS}: {same}"


@dataclass
class Follower:
    """Shows each report of a run on the bar; without one, prints a line at each evaluation.

    ``uniform`` is the loss of a uniform guess, ln V, in nats per token.
    """

    steps: int
    uniform: float
    bar: Progress | None = None
    task: TaskID | None = None
    dev_loss: float | None = None

    def __call__(self, report: Report) -> None:
        if report.step == 0 and report.dev_loss is not None:
            text = (
                f"start    dev loss {_three(report.dev_loss)} at step 0; "
                f"a uniform guess has ln V = {self.uniform:.3f}"
            )
            print(text, flush=True)
        self.dev_loss = report.dev_loss if report.dev_loss is not None else self.dev_loss
        if self.bar is not None and self.task is not None:
            status = self.status(report, self.room())
            self.bar.update(self.task, completed=report.step, status=status)
        elif report.dev_loss is not None and report.step:
            print(f"step {report.step:,}/{self.steps:,} · {self.status(report)}", flush=True)

    def room(self) -> float:
        """Return the columns that step, bar and time left leave for the status."""
        if self.bar is None:
            return math.inf
        others = len(f"step {self.steps:,}/{self.steps:,}") + BAR_WIDTH + len("-:--:--")
        return self.bar.console.width - others - 3  # one blank between two columns

    def status(self, report: Report, room: float = math.inf) -> str:
        """Return losses (nats per token), learning rate and speed, for the end of a line.

        Where ``room`` is short, the last of them go first: speed, then learning rate.
        """
        speed = report.step / report.seconds if report.seconds else 0.0
        parts = [
            f"minibatch {_three(report.smoothed_loss)}" if report.smoothed_loss is not None else "",
            f"dev {_three(self.dev_loss)}" if self.dev_loss is not None else "",
            f"lr {report.lr:.2g}",
            f"{speed:,.0f} steps/s",
        ]
        shown = [part for part in parts if part]
        while len(" · ".join(shown)) > room and len(shown) > 1:
            shown.pop()
        return " · ".join(shown)


@contextmanager
def silent() -> Iterator[Callable[[Report], None]]:
    """Yield a follower that shows nothing: a trial's study shows its progress."""
    yield lambda report: None


@contextmanager
def following(config: Config, splits: Splits, state: State) -> Iterator[Follower]:
    """Yield a follower, with a live bar where stdout is a terminal."""
    console, steps = stdout_console(), config.optim.steps
    uniform = math.log(len(splits.vocabulary))
    if not console.is_terminal:
        yield Follower(steps, uniform)
        return
    columns = (
        TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
        BarColumn(bar_width=BAR_WIDTH, complete_style="cyan", finished_style="green"),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=steps, completed=state.step, status="")
        yield Follower(steps, uniform, bar, task)
