"""A study as plain frozen records, and the rules by which its trials count.

A slot is a place in the budget: trial k of ``n_trials``. Its first attempt's number is the root
that names the trial; a retry after a death or an interruption has the same slot and root and the
next attempt. Two trials of one slot and attempt (two parents planned at once): the lower number
counts, the other is void.
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from sweepmore.errors import StudyError
from sweepmore.optuna_internals import id_of, storage_of
from sweepmore.record import CONFIRM, NOISE, ending

# how a trial ended, beside Optuna's state
Reason = Literal["exception", "died", "handed_back", "void"]

# Best five are shown; a best value within this share of its range's end is "at the edge" (guess).
SHOWN, EDGE = 5, 0.02


@dataclass(frozen=True)
class Attempt:
    """One trial of Optuna's, with our bookkeeping."""

    number: int
    slot: int
    root: int
    attempt: int
    deaths: int
    state: TrialState
    reason: Reason | None
    status: str | None
    values: tuple[float, ...] | None
    params: Mapping[str, Any]
    owner: Mapping[str, Any] | None
    started: datetime | None
    seconds: float | None
    attrs: Mapping[str, Any] = field(repr=False)
    fixed: Mapping[str, Any] = field(default_factory=dict, repr=False)  # what it was planned with

    @property
    def counts(self) -> bool:
        """Whether it uses up its slot: complete, pruned, or failed by an exception."""
        return self.state in (TrialState.COMPLETE, TrialState.PRUNED) or (
            self.state is TrialState.FAIL and self.reason == "exception"
        )

    @property
    def open(self) -> bool:
        return self.state in (TrialState.WAITING, TrialState.RUNNING)

    @property
    def last_sign(self) -> float:
        """When its worker claimed it or last renewed its lease (Unix time); now, if none did.

        Optuna's start is in the local time of its host, which may be of another zone: it counts
        only where another program left no lease.
        """
        started = time.time() if self.started is None else self.started.timestamp()
        return float(self.attrs.get("lease", started))

    @property
    def infeasible(self) -> bool:
        """Complete without a finite value: it diverged."""
        return self.state is TrialState.COMPLETE and not all(map(math.isfinite, self.values or ()))


def attempt_of(trial: FrozenTrial) -> Attempt | None:
    """None for a trial that was not planned by sweepmore (a foreign program's)."""
    attrs = trial.user_attrs
    if "slot" not in attrs:
        return None
    seconds = trial.duration.total_seconds() if trial.duration is not None else None
    return Attempt(
        number=trial.number,
        slot=attrs["slot"],
        root=attrs.get("root", trial.number),
        attempt=attrs.get("attempt", 0),
        deaths=attrs.get("deaths", 0),
        state=trial.state,
        reason=attrs.get("reason"),
        status=attrs.get("status"),
        values=None if trial.values is None else tuple(trial.values),
        params=trial.params,
        owner=attrs.get("owner"),
        started=trial.datetime_start,
        seconds=seconds,
        attrs=attrs,
        fixed=trial.system_attrs.get("fixed_params", {}),
    )


@dataclass(frozen=True)
class StudyView:
    """All attempts of a study at one moment, void ones left out."""

    name: str
    directions: tuple[str, ...]
    attempts: tuple[Attempt, ...]

    @property
    def counted(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.counts]

    @property
    def running(self) -> list[Attempt]:
        return [a for a in self.attempts if a.state is TrialState.RUNNING]

    @property
    def waiting(self) -> list[Attempt]:
        return [a for a in self.attempts if a.state is TrialState.WAITING]

    @property
    def given_up(self) -> list[int]:
        """Slots whose every attempt died, without one left to come."""
        alive = {a.slot for a in self.attempts if a.counts or a.open}
        return sorted({a.slot for a in self.attempts} - alive)

    @functools.cached_property
    def _spent(self) -> Mapping[int, float]:
        """Seconds by slot, see ``seconds_of``."""
        spent: dict[int, float] = {}
        for attempt in self.attempts:
            if attempt.seconds is not None and (attempt.counts or attempt.reason == "handed_back"):
                spent[attempt.slot] = spent.get(attempt.slot, 0.0) + attempt.seconds
        return spent

    def seconds_of(self, attempt: Attempt) -> float | None:
        """What a trial took so far, the attempts that were handed back among it: it goes on where
        they stopped. When a dead one stopped is not known."""
        return self._spent.get(attempt.slot)

    def seconds_left(self, n_trials: int) -> float | None:
        """Work to come, by the mean of what a trial took (the mean, because the sum is what is
        waited for), without what those that go on have behind them. None before a trial is done."""
        done = {attempt.slot: self._spent.get(attempt.slot) for attempt in self.counted}
        known = [seconds for seconds in done.values() if seconds is not None]
        if not known:
            return None
        each = statistics.fmean(known)
        begun = {attempt.slot for attempt in self.attempts if attempt.open} - done.keys()
        behind = sum(min(each, self._spent.get(slot, 0.0)) for slot in begun)
        return max(0.0, (n_trials - len(self.counted)) * each - behind)

    def count(self, state: TrialState) -> int:
        return sum(attempt.state is state for attempt in self.counted)

    @property
    def failed(self) -> list[Attempt]:
        return [a for a in self.counted if a.state is TrialState.FAIL]

    @property
    def infeasible(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.infeasible]

    def sign(self, objective: int = 0) -> float:
        """1 where lower is better, -1 where higher is."""
        return -1.0 if self.directions[objective] == "maximize" else 1.0

    @functools.cached_property
    def ranked(self) -> list[Attempt]:
        """Complete trials with finite values, best first (of several objectives: by the first)."""
        sign = self.sign()
        done = [a for a in self.attempts if a.state is TrialState.COMPLETE and not a.infeasible]
        return sorted(done, key=lambda a: (sign * (a.values or (0.0,))[0], a.root))

    def best_in(self, objective: int) -> Attempt:
        """The complete trial that is best in one of several objectives; there must be one."""
        sign = self.sign(objective)
        return min(self.ranked, key=lambda a: (sign * (a.values or ())[objective], a.root))

    @property
    def repeated(self) -> list[Attempt]:
        """Trials that count, of whose parameters an earlier one had each."""
        seen, found = set[str](), list[Attempt]()
        for attempt in self.counted:
            key = key_of(attempt.params)
            if key in seen:
                found.append(attempt)
            seen.add(key)
        return found

    @functools.cached_property
    def front(self) -> list[Attempt]:
        """Of several objectives: the trials that no other beats in all of them."""
        ranked = self.ranked
        return [a for a in ranked if not any(self._beats(b, a) for b in ranked)]

    def _beats(self, a: Attempt, b: Attempt) -> bool:
        signs = [self.sign(k) for k in range(len(self.directions))]
        pairs = [(s * x, s * y) for s, x, y in zip(signs, a.values or (), b.values or ())]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def view(study: optuna.Study) -> StudyView:
    """Read a study; attempts in order of their number, without void and foreign ones."""
    directions = tuple(direction.name.lower() for direction in study.directions)
    return StudyView(study.study_name, directions, without_void(attempts_of(study)))


# Attempts of finished trials by the trial's id, as long as their storage is open.
_finished: WeakKeyDictionary[BaseStorage, dict[int, tuple[FrozenTrial, Attempt | None]]]
_finished = WeakKeyDictionary()


def attempts_of(study: optuna.Study) -> list[Attempt]:
    """All attempts, void ones too.

    A finished trial never changes, and Optuna's storage gives the same object again: so its
    attempt is built once for each storage that is open. At 10,000 trials that is 35 of the 45 ms
    of a view, which workers and parents take again and again.
    """
    known = _finished.setdefault(storage_of(study), {})
    found = []
    for trial in study.get_trials(deepcopy=False):
        of, attempt = known.get(id_of(trial), (None, None))
        if of is not trial:
            attempt = attempt_of(trial)
            if trial.state.is_finished():
                known[id_of(trial)] = trial, attempt
        if attempt is not None:
            found.append(attempt)
    return found


def without_void(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """One trial for each slot and attempt: the lowest number, and none after a slot is used up.

    Every process that looks sees the same, because a trial's number is there before its state
    changes: so nobody needs a lock to plan or to retry.
    """
    kept: dict[tuple[int, int], Attempt] = {}
    for attempt in sorted(attempts, key=lambda a: a.number):
        if attempt.reason != "void":
            kept.setdefault((attempt.slot, attempt.attempt), attempt)
    used = {a.slot: a.number for a in kept.values() if a.counts}
    return tuple(a for a in kept.values() if used.get(a.slot, a.number) == a.number or not a.open)


def key_of(params: Mapping[str, Any]) -> str:
    """The same for equal parameters, among which 1, 1.0 and True are not."""
    return repr(sorted(params.items()))


def run_of(attempt: Attempt) -> Path:
    """The folder of a trial's run, of several repeats the first."""
    folder = Path(attempt.attrs["folder"])
    own = (folder / "result.json").exists() or not (folder / "0").is_dir()
    return folder if own else folder / "0"


def runs_each(repeats: Mapping[str, Sequence[Any]] | None) -> int:
    """Runs of a trial: one for each combination of the repeated settings."""
    return math.prod(len(values) for values in (repeats or {}).values())


def confirmation_of(study: optuna.Study) -> optuna.Study | None:
    """The study that confirm.py begins with, which keeps the winner of all rounds; None where it
    has not begun."""
    name = study.study_name + CONFIRM
    if name not in optuna.get_all_study_names(storage_of(study)):
        return None
    return optuna.load_study(study_name=name, storage=storage_of(study))


# What a page says where ``tested`` is "another".
TESTED_BEFORE = "the look at test was of an earlier winner: the present one has not been tested"


def tested(confirmed: Mapping[str, Any]) -> Literal["winner", "another"] | None:
    """Whose look at test these attributes of a confirmation hold: its winner's, or an earlier one's
    that a later round has replaced. A look whose run was not kept counts as the winner's."""
    if "test" not in confirmed:
        return None
    run = confirmed.get("tested_run")
    return "winner" if run is None or run == confirmed["winner"]["run"] else "another"


def parts_of(study: optuna.Study) -> list[optuna.Study]:
    """All studies of its confirmation: the rounds, and the final seeds of each winner."""
    storage, name = storage_of(study), study.study_name
    ends = {one: ending(one) for one in optuna.get_all_study_names(storage)}
    found = [one for one, end in ends.items() if end not in ("", NOISE) and one == name + end]
    return [optuna.load_study(study_name=one, storage=storage) for one in sorted(found)]


def best_of(seen: StudyView) -> Attempt:
    """The first of the ranked; StudyError where no trial is complete."""
    ranked = seen.ranked
    if not ranked:
        cure = "Run more of it: the command that began it goes on."
        raise StudyError(f"No trial of {seen.name} is complete.", value=seen.name, cure=cure)
    return ranked[0]


def best_run(study: optuna.Study) -> Path:
    """The run of the confirmed winner, else of the best trial."""
    confirmed = confirmation_of(study)
    winner = None if confirmed is None else confirmed.user_attrs.get("winner")
    return run_of(best_of(view(study))) if winner is None else Path(winner["run"])


def words(params: Mapping[str, Any]) -> str:
    """Parameters as they are typed, floats to three digits."""
    return " ".join(f"{name}={short(value)}" for name, value in params.items())


def short(value: Any) -> str:
    """As Hydra writes it where Python would not: null, true, and the empty text in quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.3g}" if isinstance(value, float) else str(value) or "''"


def noise(ranked: Sequence[Attempt]) -> float | None:
    """Standard error of a trial's mean over its repeats, pooled over trials; None without repeats.

    The root of the mean of s²/k over trials with k ≥ 2 repeats of standard deviation s.
    """
    errors = [
        a.attrs["std"] ** 2 / len(a.attrs["repeats"])
        for a in ranked
        if len(a.attrs.get("repeats", ())) > 1
    ]
    return math.sqrt(sum(errors) / len(errors)) if errors else None


@dataclass(frozen=True)
class Noise:
    """One run's standard deviation, and the degrees of freedom that it is known with."""

    deviation: float
    freedom: int


# Of a noise that an older confirm.py measured: by its default of 8 seeds.
_OLD_FREEDOM = 7


def known_noise(study: optuna.Study) -> Noise | None:
    """As the repeats of the best tell it, else the confirmation, else ``confirm.py noise=true``.

    A bad setting is noisier than a good one, so the best are asked.
    """
    confirmed = confirmation_of(study)
    found = _pooled(view(study).ranked[:SHOWN])
    if found is None and confirmed is not None:
        found = _pooled(view(confirmed).ranked)
    measured = study.user_attrs.get("noise")
    if found is None and measured is not None:
        found = Noise(measured, study.user_attrs.get("noise_freedom", _OLD_FREEDOM))
    return found


def _pooled(trials: Sequence[Attempt]) -> Noise | None:
    """Over the repeats of each; None without repeats."""
    known = [(a.attrs["std"], len(a.attrs["repeats"]) - 1) for a in trials if "std" in a.attrs]
    if not known:
        return None
    freedom = sum(each for _, each in known)
    return Noise(math.sqrt(sum(each * std**2 for std, each in known) / freedom), freedom)


def at_edge(params: Mapping[str, Any], space: Mapping[str, Any]) -> list[str]:
    """Parameters whose value lies at an end of its searched range, with the end named. A choice
    among numbers has ends too, if it has three members at least."""
    found = []
    for name, value in params.items():
        ends = _ends(space.get(name))
        if ends is None or not _is_number(value):
            continue
        low, high, log = ends
        share = (value - low) / (high - low)
        if log:
            share = math.log(value / low) / math.log(high / low)
        if share <= EDGE or share >= 1 - EDGE:
            end = "lowest" if share <= EDGE else "highest"
            found.append(f"{name}={value:g} is the {end} of its range")
    return found


def _ends(distribution: Any) -> tuple[float, float, bool] | None:
    """Lowest, highest, and whether the scale is logarithmic; None where there are no ends."""
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        numbers = [choice for choice in choices if _is_number(choice)]
        return (min(numbers), max(numbers), False) if len(numbers) == len(choices) > 2 else None
    if distribution is None or distribution.low == distribution.high:
        return None
    return distribution.low, distribution.high, distribution.log


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
