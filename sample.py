"""New lines from a trained run, or its predictions along a given line."""

from __future__ import annotations

try:
    from sweepmore.compose import cli
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: run `make setup`, then `. .venv/bin/activate`"
    ) from None

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nplm.config import Data, from_hydra
from sweepmore.errors import ConfigError, DataError
from sweepmore.runs.record import find_named, name_of, read_config, read_json, require
from sweepmore.typed import setting

if TYPE_CHECKING:  # torch is imported once the arguments are read
    from nplm.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parent
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Arguments:
    """python sample.py [key=value …]: new lines from a run, or its predictions along a line."""

    run: str | None = setting(None, "a run's folder or name; null or last: the newest")
    study: str | None = setting(None, "instead: its confirmed winner, else its best; or last")
    trial: int | None = setting(None, "of study= (null: the last): that trial's run", at_least=0)
    n: int = setting(20, "how many lines", at_least=1, at_most=100_000)
    seed: int = setting(0, "of the draws", at_least=0, below=2**63)
    temperature: float = setting(1.0, "below 1 safer, above 1 wilder", above=0, at_most=100)
    # a blank that is typed comes as null
    prompt: str | None = setting("", "how each line begins")
    explain: str | None = setting("", "a line: what the model predicts at each position")
    storage: str | None = setting(None, "study='s database URL; null: studies.db in outputs")
    outputs: str = setting("outputs", "the folder of runs and studies, relative to this one")

    def __post_init__(self) -> None:
        for name in ("prompt", "explain"):
            if getattr(self, name) is None:
                cure = f"Give some text, or leave {name}= out."
                raise ConfigError(f"{name}= is empty.", value=None, cure=cure)


def main(arguments: Arguments) -> None:
    folder = asked_for(arguments)
    if arguments.explain:
        explain(folder, arguments.explain)
    else:
        new_lines(folder, arguments)


def asked_for(arguments: Arguments) -> Path:
    """The run that the arguments mean."""
    outputs, study = ROOT / arguments.outputs, arguments.study
    if study is None or arguments.trial is not None:
        wanted = (arguments.run, study, arguments.trial)
        return find_named(*wanted, outputs, holding=WEIGHTS)
    if arguments.run is not None:
        problem = f"run={arguments.run} and study={study} are two runs."
        raise ConfigError(problem, value=study, cure="Give one of them.")
    from sweepmore.compose.script_storage import opened
    from sweepmore.confirm.confirmation import load
    from sweepmore.study.parts import best_run

    with opened(arguments.storage, outputs) as database:
        folder = best_run(load(database, study))
    return require(folder, WEIGHTS)


def same_run(arguments: Arguments) -> str:
    """The words that mean the same run in the next command."""
    return cli.given(arguments, "run", "study", "trial", "storage", "outputs")


def new_lines(folder: Path, arguments: Arguments) -> None:
    """Print ``n`` lines; a star marks those that stand in train."""
    from nplm.sampling import load_trained, sample

    trained = load_trained(folder)
    seen = trained.vocabulary.spelt(lines_seen(folder))
    prompt = arguments.prompt or ""
    lines = sample(trained, arguments.n, arguments.seed, arguments.temperature, prompt)
    name_unknown(trained.vocabulary, prompt)
    for line in lines:
        print(f"{line} *" if line in seen else line)
    share = sum(line in seen for line in lines) / len(lines)
    print(f"\n{share:.0%} of {len(lines)} stand in train (*) · {name_of(folder)}")
    again = f"python sample.py{same_run(arguments)} explain=LINE"
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
    told = trained.vocabulary.unit.told(mean)
    print(f"mean {mean:.3f} nats/token over {len(positions)} tokens{told} · {name_of(folder)}")
    if data_of(folder) == Data():  # of other data that search would find no better model
        print("next: python train.py -m sweeps=minute searches for a better model")


if __name__ == "__main__":
    cli.require("torch")  # of the extra [nplm]
    cli.command(Arguments, main)
