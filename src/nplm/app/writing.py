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
    """Print lines of the run in ``folder``; a star marks those that appear in train. ``same_run``
    are the words that mean this run in the next command."""
    from nplm.sampling import load_trained, sample

    trained = load_trained(folder)
    seen = trained.vocabulary.spelt(lines_seen(folder))
    lines = sample(trained, draw.n, draw.seed, draw.temperature, draw.prompt)
    name_unknown(trained.vocabulary, draw.prompt)
    for line in lines:
        print(f"{line} *" if line in seen else line)
    share = sum(line in seen for line in lines) / len(lines)
    print(f"\n{share:.0%} of {len(lines)} stand in train (*) · {name_of(folder)}")
    again = f"python sample.py{same_run} explain=LINE"
    print(f"next: {again} tells what the model predicts, token by token")


def name_unknown(vocabulary: Vocabulary, text: str) -> None:
    """Say which words of ``text`` the model does not know; an unknown character was refused."""
    if unknown := vocabulary.unknown(text):
        taken = f"not in the vocabulary, taken as {vocabulary.unit.unknown}"
        print(f"warning: {taken}: {' '.join(unknown)}", file=sys.stderr)


def data_of(folder: Path) -> Data:
    return from_hydra(read_config(folder)).data


def lines_seen(folder: Path) -> set[str]:
    """The run's train lines; none, with a warning, where its data are gone or have changed."""
    from nplm.data import fingerprint, read_lines, split_lines

    data = data_of(folder)
    recorded = read_json(folder / "provenance.json")["data"]["fingerprint"]
    try:
        lines = read_lines(data)
        if fingerprint(lines, data) == recorded:
            return set(split_lines(lines, data)[0])
        reason = "have changed since"
    except DataError as error:
        reason = f"cannot be read: {error.problem}"
    warnings.warn(f"The run's data {reason}; nothing is marked.", stacklevel=2)
    return set()


def explain(folder: Path, line: str) -> None:
    """Print a table: context, true token, top guess with its probability, nats."""
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
    told = trained.vocabulary.unit.loss_note(mean)
    print(f"mean {mean:.3f} nats/token over {len(positions)} tokens{told} · {name_of(folder)}")
    if data_of(folder) == Data():  # of other data that search would find no better model
        print("next: python train.py -m sweeps=minute searches for a better model")
