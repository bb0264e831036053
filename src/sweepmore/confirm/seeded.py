"""A command, run with one seed after another: the runs of a challenger, or of its champion.

The runs are the trials of a study whose space is the seed alone, so they have what trials have:
workers, retries after a death, a folder, W&B. The seeds are enqueued in order, and each call asks
for as many trials as seeds are wanted so far.
"""

from __future__ import annotations

import math
import re
import shlex
import signal
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from sweepmore.confirm.retrain import (
    AS_FOUND,
    Plan,
    Workers,
    again,
    choices,
    of_again,
    own_hydra_words,
    own_start,
    sweeper_words,
)
from sweepmore.confirm.snapshot import Snapshot
from sweepmore.errors import Interrupted, StudyError, UserError
from sweepmore.process.invocation import flag_words, split_flags
from sweepmore.process.signals import stop_signals
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.campaigns import Campaign
from sweepmore.study.terms import TERMS_VARIABLE
from sweepmore.study.view import directions_of, view
from sweepmore.wording import shown_path

# How often a child process is looked at, in seconds.
_LOOK = 0.05
# What begins a message of ours, but not one of argparse: `app.py: error: …`.
_OWN_ERROR = re.compile(r"^error: ", re.MULTILINE)
# How many lines of a failed command's log a message repeats.
_SHOWN = 12


@dataclass(frozen=True)
class Runs:
    """The runs of a command with the first so many of its seeds.

    ``values`` ends before the first run that failed or diverged, of which ``failure`` tells;
    ``seconds`` is what each of all runs took, and ``training`` what of it the application calls
    training, where it keeps ``seconds`` with its results.
    """

    values: tuple[float, ...]
    seconds: tuple[float, ...]
    failure: str = ""
    training: tuple[float, ...] = ()

    @property
    def usual(self) -> float | None:
        """What one run takes, the median: the first of a process is slower."""
        each = self.training or self.seconds
        return statistics.median(each) if each else None


@dataclass(frozen=True)
class Seeded:
    """A command whose runs differ in their seed alone, and the study that holds them."""

    name: str  # of the study
    words: tuple[str, ...]  # of a search over the seed, see `asking`
    seeds: tuple[int, ...]  # in their order
    folder: Path  # where it runs
    snapshot: Snapshot
    campaign: Campaign
    log: Path

    def trained(self, database: optuna.storages.BaseStorage) -> Runs:
        """The runs that have ended so far."""
        if not self._has_begun(database):
            return Runs((), ())
        study = optuna.load_study(study_name=self.name, storage=database)
        return _runs(view(study).counted, self.campaign.seed_key, self.seeds)

    def train(self, database: optuna.storages.BaseStorage, count: int, jobs: int) -> Runs:
        """Run the command until ``count`` seeds have ended, and return all their runs.

        Raises Interrupted after a signal, once the workers have handed their trials back. Raises
        StudyError where the command fails; what it said is in ``log``.
        """
        runs = self.trained(database)
        if len(runs.seconds) < count and not runs.failure:
            self._run(asking(self.words, count, jobs), lambda: self._has_begun(database))
        return self.trained(database)

    def hand_over(self, database: optuna.storages.BaseStorage) -> None:
        """Let the application's commands be those of the original: its code is the copy's now."""
        study = optuna.load_study(study_name=self.name, storage=database)
        application = StudyAttributes.of(study).application
        if application is not None and application.root is not None:
            original = self.snapshot.origin(Path(application.root))
            StudyAttributes(application=replace(application, root=str(original))).write(study)

    def _run(self, words: Sequence[str], has_begun: Callable[[], bool]) -> None:
        environment = {
            **self.snapshot.environment(),
            TERMS_VARIABLE: self.campaign.terms.written(),
        }
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log, stop_signals() as stop:
            begins = log.tell()
            child = self._started(words, environment, log)
            try:
                signum = _followed(child, stop)
            finally:
                if child.poll() is None:  # a second signal: it is left to die, as is its sweep
                    child.kill()
        if signum is not None:
            raise Interrupted(signum)
        if child.returncode:
            raise self._failed(child.returncode, begins, has_begun())
        if not has_begun():
            problem = f"The command ended well, but it is no search: {shlex.join(words[:3])} …"
            cure = "Give the command of a Hydra application, as you would type it for one run."
            raise StudyError(problem, value=words[0], cure=cure)

    def _started(
        self, words: Sequence[str], environment: dict[str, str], log: Any
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                words,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it once, through us
            )
        except OSError as error:
            problem = f"{words[0]} cannot be started: {error.strerror}."
            cure = "Give the command as you would type it, after --."
            raise StudyError(problem, value=words[0], cure=cure) from error

    def _has_begun(self, database: optuna.storages.BaseStorage) -> bool:
        return self.name in optuna.get_all_study_names(database)

    def _failed(self, code: int, begins: int, has_begun: bool) -> UserError:
        text = self.log.read_bytes()[begins:].decode(errors="replace").strip()
        lines = text.splitlines()
        *said, cure = _OWN_ERROR.split(text)[-1].splitlines()[-_SHOWN:] or [""]
        if code == UserError.exit_code and said:  # its own message, which names value and cure
            return StudyError("\n".join(said), value=code, cure=cure.strip())
        problem = "\n    ".join([f"The command ended with exit code {code}:", *lines[-_SHOWN:]])
        cure = "Correct it; nothing was trained or recorded."
        if has_begun:
            log = shown_path(self.log)
            cure = f"Its whole output is in {log}. After the repair the same command continues."
        return StudyError(problem, value=code, cure=cure)


def _followed(child: subprocess.Popen[bytes], stop: Callable[[], int | None]) -> int | None:
    """Wait for a child's end; the signal that asked us to stop is passed on to it, once."""
    passed = None
    while True:
        try:
            child.wait(_LOOK)
            return passed
        except subprocess.TimeoutExpired:
            if passed is None and (passed := stop()) is not None:
                child.send_signal(signal.SIGTERM)


def of_typed(
    searched: optuna.Study,
    typed: Sequence[str],
    seed_key: str,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
) -> tuple[str, ...]:
    """The words that search a typed command of a single run over ``seeds``, in their order.

    Its sweeper and launcher are those of the study that it challenges.
    """
    flags, others = split_flags(typed)
    points = [{seed_key: seed} for seed in seeds]
    ours = {**settings, **_OF_SEEDS, "params": None, "custom_search_space": None, "enqueue": points}
    keys = {_key(word) for word in others}
    own = [word for word in own_hydra_words(searched, ours) if _key(word) not in keys]
    row = [*own, _choice(seed_key, seeds), *sweeper_words(ours)]
    return (*others, *row, *flag_words(flags), "--multirun")


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def of_winner(
    searched: optuna.Study, plan: Plan, snapshot: Snapshot, workers: Workers, name: str
) -> tuple[str, ...]:
    """The words that search the configuration of the plan's trial over its seeds, in their order.

    The plan names that trial once for each seed.
    """
    attributes, chosen = StudyAttributes.of(searched), plan.chosen(searched)[:1]
    keys = [key for key in attributes.question["space"] if key != plan.seed_key]
    words, (point,) = choices(chosen, keys)
    settings = {
        **of_again(name, [{**point, plan.seed_key: seed} for seed in plan.seeds],
                   directions_of(searched)[0], workers),
        **_OF_SEEDS,
        "custom_search_space": attributes.question["custom_search_space"] and AS_FOUND,
    }  # fmt: skip
    start = snapshot.words(own_start(attributes.command))
    seeds = _choice(plan.seed_key, plan.seeds)
    return tuple(again(searched, start, [*words, seeds], settings, workers))


# Every run counts, a failed one too; only the best one's checkpoint stays.
_OF_SEEDS = {
    "repeats": None,
    "max_failure_rate": 1.0,
    "keep": "best",
    "n_trials": 1,
    "n_jobs": 1,
}


def asking(words: Sequence[str], n_trials: int, n_jobs: int) -> list[str]:
    """``words`` with these numbers, in their place: Hydra accepts overrides in one row only."""
    numbers = {"n_trials": n_trials, "n_jobs": n_jobs}
    asked = {f"hydra.sweeper.{key}=1": f"hydra.sweeper.{key}={n}" for key, n in numbers.items()}
    return [asked.get(word, word) for word in words]


def _choice(seed_key: str, seeds: Sequence[int]) -> str:
    return f"{seed_key}=choice({','.join(map(str, seeds))})"


def _runs(counted: Sequence[Attempt], seed_key: str, seeds: Sequence[int]) -> Runs:
    by_seed = {{**each.fixed, **each.params}.get(seed_key): each for each in counted}
    begun = [seed for seed in seeds if seed in by_seed]
    last = seeds.index(begun[-1]) + 1 if begun else 0
    values: list[float] = []
    for seed in seeds[:last]:
        if failure := _failure(by_seed.get(seed)):
            failed = f"with seed {seed} {failure}"
            return Runs(tuple(values), _seconds(by_seed, begun), failed, _training(by_seed, begun))
        values.append((by_seed[seed].values or (math.nan,))[0])
    return Runs(tuple(values), _seconds(by_seed, begun), "", _training(by_seed, begun))


def _seconds(by_seed: Mapping[Any, Attempt], begun: Sequence[int]) -> tuple[float, ...]:
    return tuple(by_seed[seed].seconds or 0.0 for seed in begun)


def _training(by_seed: Mapping[Any, Attempt], begun: Sequence[int]) -> tuple[float, ...]:
    kept = [(by_seed[seed].attrs.result or {}).get("seconds") for seed in begun]
    return tuple(float(seconds) for seconds in kept if isinstance(seconds, int | float))


def _failure(attempt: Attempt | None) -> str:
    """How a run ended that has no finite value; an empty string for one that has."""
    if attempt is None:  # and later ones have ended: it was given up
        return "its worker died again and again"
    if attempt.state is not TrialState.COMPLETE:
        # of a syntax error, the first lines are the place
        return f"it failed: {(attempt.attrs.error or 'its worker died').splitlines()[-1].strip()}"
    return "" if math.isfinite((attempt.values or (math.nan,))[0]) else "it diverged"
