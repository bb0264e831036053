"""What ``sample.py`` prints: new lines of a run, or its predictions along a given line."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nplm.config import Data, from_hydra
from sweepmore.errors import DataError
from sweepmore.runs.files import read_json
from sweepmore.runs.names import name_of
from sweepmore.runs.record import read_config

if TYPE_CHECKING:  # torch is imported once the arguments are read
    from nplm.vocabulary import Vocabulary


@dataclass(frozen=True)
class Draw:
    """How lines are drawn: ``n`` of them, each beginning with ``prompt``."""

    n: int
    seed: int
    temperature: float
    prompt: str


def new_lines(folder: Path, draw: Draw, same_run: str) -> None:
    """Print new lines from the run in ``folder``; a star marks those that appear in train.

    ``same_run`` holds the words that name this run in the next command.
    """
    from nplm.sampling import load_trained, sample

    trained = load_trained(folder)
    lines_in_train = trained.vocabulary.spelt(train_lines(folder))
    lines = sample(trained, draw.n, draw.seed, draw.temperature, draw.prompt)
    name_unknown(trained.vocabulary, draw.prompt)
    for line in lines:
        print(f"{line} *" if line in lines_in_train else line)
    share = sum(line in lines_in_train for line in lines) / len(lines)
    star = " (*)" if share else ""
    print(f"\n{share:.0%} of {len(lines)} appear in train{star} · {name_of(folder)}")
    again = f"python sample.py{same_run} explain=LINE"
    print(f"next: {again} shows what the model predicts, token by token")


def name_unknown(vocabulary: Vocabulary, text: str) -> None:
    """Warn of words of ``text`` that the model does not know; it refuses unknown characters."""
    if unknown := vocabulary.unknown(text):
        problem = f"not in the vocabulary and read as {vocabulary.unit.unknown}"
        print(f"warning: {problem}: {' '.join(unknown)}", file=sys.stderr)


def data_of(folder: Path) -> Data:
    """Return the data settings of the run in ``folder``."""
    return from_hydra(read_config(folder)).data


def train_lines(folder: Path) -> set[str]:
    """Return the run's train lines; none, with a warning, where its data are gone or changed."""
    from nplm.lines import fingerprint, read_lines, split_lines

    data = data_of(folder)
    recorded = read_json(folder / "provenance.json")["data"]["fingerprint"]
    try:
        lines = read_lines(data)
        if fingerprint(lines, data) == recorded:
            return set(split_lines(lines, data)[0])
        reason = "have changed since the run."
    except DataError as error:
        reason = f"cannot be read: {error.problem}"
    warnings.warn(f"No line is marked as one of train: the run's data {reason}", stacklevel=2)
    return set()


def explain(folder: Path, line: str) -> None:
    """Print a row for each token of ``line``: context, token, the model's best guess with its
    probability, and the token's loss in nats. Raises DataError for a character that the model
    does not know."""
    from nplm.sampling import explain, load_trained

    trained = load_trained(folder)
    positions = explain(trained, line)
    name_unknown(trained.vocabulary, line)
    wide, token, guess = (
        max(len(title), *map(len, column))
        for title, column in (
            ("context", [at.context for at in positions]),
            ("token", [at.token for at in positions]),
            ("guess", [at.guess for at in positions]),
        )
    )
    print(f"{'context':<{wide}}  {'token':<{token}}  {'guess':<{guess}}  probability   nats")
    for at in positions:
        print(
            f"{at.context:<{wide}}  {at.token:<{token}}  {at.guess:<{guess}}  "
            f"{at.guess_probability:>11.1%}  {at.nats:>5.2f}"
        )
    mean = sum(at.nats for at in positions) / len(positions)
    note = trained.vocabulary.unit.loss_note(mean)
    print(f"mean {mean:.3f} nats/token over {len(positions)} tokens{note} · {name_of(folder)}")
    if (
        data_of(folder) == Data()
    ):  # sweeps=minute searches given_names: on other data it would not find a better model
        print("next: python train.py -m sweeps=minute searches for a better model")
