"""The budget of a study as slots, and how they are planned, claimed, retried and given up.

A slot becomes a WAITING trial with its fixed parameters (an enqueued configuration, a grid point,
or none); a worker claims it by one conditional UPDATE from WAITING to RUNNING. What two
processes may do twice (plan, retry) is told apart afterwards by the trial's number, see
``view.without_void``: no lock, and nothing but the storage is shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from sweepmore.process.identity import is_alive, on_this_host, this_process
from sweepmore.process.slurm import is_gone
from sweepmore.storage.opening import start
from sweepmore.storage.optuna_internals import id_of, storage_of, trial_id
from sweepmore.study.attempts import Attempt, attempt_of
from sweepmore.study.attributes import Reason, StudyAttributes, TrialAttributes
from sweepmore.study.view import StudyView, attempts_of, view, without_void

# Trials that wait ahead of the workers. More would cost every reader: Optuna's cache holds
# finished trials only, and reads the others anew each time.
AHEAD = 8
# A process on another host is taken for dead after this; it renews its lease ten times as often.
LEASE_SECONDS = 600.0
# A parent that plans is no longer waited for after this, although its process is there, as after
# Ctrl-Z: on its own host, whose clock it shares. It too renews ten times as often.
LEADER_SECONDS = 120.0
# A trial that is RUNNING without an owner was not claimed here: a foreign program's ``ask`` took
# one of ours, and gets this long to mark it.
OWNERLESS_SECONDS = 60.0

# The parameters of the slots from the given one on, in order, by those of all trials so far.
FixedParams = Callable[[int, Iterable[Mapping[str, Any]]], Iterator[Mapping[str, Any]]]


def plan(study: optuna.Study, seen: StudyView, n_trials: int, fixed: FixedParams) -> int:
    """Enqueue the next slots, as far as the budget goes and up to ``AHEAD``; how many were.

    ``fixed`` may end before the budget, as a grid does. Slots that were given up make room for
    later ones.
    """
    slots = {attempt.slot for attempt in seen.attempts}
    missing = n_trials - (len(slots) - len(seen.given_up))
    room = AHEAD - len(seen.waiting)
    first, added = _first_free(seen), 0
    for parameters in islice(fixed(first, _tried(seen)), max(0, min(missing, room))):
        study.enqueue_trial(
            dict(parameters), user_attrs=TrialAttributes(slot=first + added).written()
        )
        added += 1
    return added


def _first_free(seen: StudyView) -> int:
    return max((attempt.slot for attempt in seen.attempts), default=-1) + 1


def _tried(seen: StudyView) -> Iterator[Mapping[str, Any]]:
    return ({**attempt.fixed, **attempt.params} for attempt in seen.attempts)


def is_all_taken(seen: StudyView, n_trials: int, fixed: FixedParams) -> bool:
    """Whether no worker would find a trial: every slot of the budget has one, and none waits."""
    if seen.waiting:
        return False
    slots = {attempt.slot for attempt in seen.attempts}
    if len(slots) - len(seen.given_up) >= n_trials:
        return True
    return next(fixed(_first_free(seen), _tried(seen)), None) is None


def claim(study: optuna.Study) -> Attempt | None:
    """Take the next waiting trial, or None where there is none. Never blocks."""
    storage = storage_of(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        if TrialAttributes.read(trial.user_attrs).slot is None:
            continue  # enqueued by another program: not in our budget
        claim = TrialAttributes(owner=this_process(), lease=time.time())
        if not start(storage, id_of(trial), claim.written()):
            continue
        claimed = attempt_of(storage.get_trial(id_of(trial)))
        assert claimed is not None
        if is_void(study, claimed):
            fail(study, claimed.number, "void")
            continue
        return claimed
    return None


def is_void(study: optuna.Study, claimed: Attempt) -> bool:
    """Whether another trial of the same slot and attempt goes before, or used the slot up."""
    kept = without_void([a for a in attempts_of(study) if a.slot == claimed.slot])
    return claimed.number not in {attempt.number for attempt in kept}


def fail(study: optuna.Study, number: int, reason: Reason) -> None:
    """Mark a trial as failed with the reason; nothing where somebody else finished it."""
    storage, of = storage_of(study), trial_id(study, number)
    try:
        for key, value in TrialAttributes(reason=reason).written().items():
            storage.set_trial_user_attr(of, key, value)
        storage.set_trial_state_values(of, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return


def retry(study: optuna.Study, attempt: Attempt, *, died: bool) -> None:
    """Enqueue the next attempt of the same slot, root and parameters; of a worker that died before
    it had suggested them all, those that the slot was planned with.

    To be called before the old trial is failed: a crash in between leaves it RUNNING, its next
    reaper enqueues a second retry, and one of the two is void.
    """
    study.enqueue_trial(
        {**attempt.fixed, **attempt.params},
        user_attrs=TrialAttributes(
            slot=attempt.slot,
            root=attempt.root,
            attempt=attempt.attempt + 1,
            deaths=attempt.deaths + died,
            retry_of=attempt.number,
        ).written(),
    )


def reap(study: optuna.Study, seen: StudyView, max_retries: int) -> list[Attempt]:
    """Fail the trials whose worker is dead and enqueue their retries; returns them.

    A worker may have handed its trial back and ended since ``seen`` was read: what counts is the
    trial as it is after the worker was found dead, for then only another reaper can change it.
    """
    suspects = [attempt for attempt in seen.running if _is_dead(attempt)]
    running = {attempt.number for attempt in view(study).running} if suspects else set()
    dead = [attempt for attempt in suspects if attempt.number in running]
    for attempt in dead:
        if attempt.deaths < max_retries:
            retry(study, attempt, died=True)
        fail(study, attempt.number, "died")
    return dead


def _is_dead(attempt: Attempt) -> bool:
    """Whether the worker of a trial that runs is gone, as far as can be told here."""
    if attempt.owner is None:
        return time.time() - attempt.last_sign > OWNERLESS_SECONDS
    return not lives(attempt.owner, attempt.last_sign)


def lives(owner: Mapping[str, Any], leased: float) -> bool:
    """As far as can be told here: by this host's processes, by Slurm for another host's job, else
    by the lease that it last renewed at ``leased`` (Unix time)."""
    if on_this_host(owner):
        return is_alive(owner)
    if "slurm" in owner and is_gone(owner["slurm"]):
        return False
    return time.time() - leased < LEASE_SECONDS


def leader(study: optuna.Study) -> Mapping[str, Any] | None:
    """The parent that plans, or None where none does."""
    named = StudyAttributes.of(study).leader
    if not named or not lives(named, named["time"]):
        return None
    silent = time.time() - named["time"]
    return None if on_this_host(named) and silent > LEADER_SECONDS else named


def renew_lease(study: optuna.Study, number: int) -> None:
    """Say that the trial's worker lives, for readers on other hosts."""
    for key, value in TrialAttributes(lease=time.time()).written().items():
        storage_of(study).set_trial_user_attr(trial_id(study, number), key, value)


def failure_share(study: optuna.Study, since: float) -> tuple[int, int]:
    """Failed and finished slots among the attempts that were worked on after ``since`` (Unix
    time), by whatever host."""
    recent = _since(study, since)
    failed = sum(a.state is TrialState.FAIL and a.reason == "exception" for a in recent)
    return failed, sum(attempt.counts for attempt in recent)


def without_objective(study: optuna.Study, since: float) -> Attempt | None:
    """The first attempt that was worked on after ``since`` (Unix time) and gave no number."""
    return next((a for a in _since(study, since) if a.attrs.no_objective), None)


def _since(study: optuna.Study, since: float) -> list[Attempt]:
    return [attempt for attempt in view(study).attempts if attempt.last_sign >= since]
