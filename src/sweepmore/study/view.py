"""A study at one moment: its attempts as frozen records, and the rules by which they count."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from sweepmore.errors import StudyError
from sweepmore.statistics.directions import sign_of
from sweepmore.storage.optuna_internals import id_of, storage_of
from sweepmore.study.attempts import Attempt, attempt_of, key_of

# How many of the best are shown, and asked how noisy a run is.
SHOWN = 5


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
        return sign_of(self.directions[objective])

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
        """Of several objectives: the trials that no other beats in all of them.

        Not ``study.best_trials``, which also counts what is no result here: void and foreign
        trials, and those that diverged: infinite in one objective, they may lead in another.
        """
        ranked = self.ranked
        return [a for a in ranked if not any(self._beats(b, a) for b in ranked)]

    def _beats(self, a: Attempt, b: Attempt) -> bool:
        signs = [self.sign(k) for k in range(len(self.directions))]
        pairs = [(s * x, s * y) for s, x, y in zip(signs, a.values or (), b.values or ())]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def directions_of(study: optuna.Study) -> tuple[str, ...]:
    """As hydra.sweeper.direction has them: minimize or maximize, for each objective."""
    return tuple(direction.name.lower() for direction in study.directions)


def view(study: optuna.Study) -> StudyView:
    """Read a study; attempts in order of their number, without void and foreign ones."""
    return StudyView(study.study_name, directions_of(study), without_void(attempts_of(study)))


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


def best_of(seen: StudyView) -> Attempt:
    """The first of the ranked; StudyError where no trial is complete."""
    ranked = seen.ranked
    if not ranked:
        cure = "Run more of it: the command that began it goes on."
        raise StudyError(f"No trial of {seen.name} is complete.", value=seen.name, cure=cure)
    return ranked[0]
