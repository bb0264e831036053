"""The budget of a study as slots, and how they are planned, claimed, retried and given up.

A slot becomes a WAITING trial with its fixed parameters (an enqueued configuration, a grid point,
or none). A worker claims it by one conditional UPDATE from WAITING to RUNNING. Two processes may
plan or retry the same slot; the trial's number decides afterwards which counts, see
``view.without_void``. So nobody needs a lock, and only the storage is shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from sweepmore.process import ray_cluster
from sweepmore.process.identity import is_alive, on_this_host, this_process
from sweepmore.process.slurm import is_gone
from sweepmore.storage.opening import start
from sweepmore.storage.optuna_internals import id_of, storage_of, trial_id
from sweepmore.study.attempts import Attempt, attempt_of
from sweepmore.study.attributes import Reason, StudyAttributes, TrialAttributes
from sweepmore.study.view import StudyView, attempts_of, view, without_void

# How many trials wait ahead of the workers. More would slow every reader: Optuna's cache holds only
# finished trials, and the others are read again each time.
AHEAD = 8
# A process on another host is considered dead after this; it renews its lease ten times as often.
LEASE_SECONDS = 600.0
# After this nobody waits any longer for a parent that plans, although its process exists, as after
# Ctrl-Z. That holds on its own host, whose clock it shares. It also renews ten times as often.
LEADER_SECONDS = 120.0
# A trial that is RUNNING without an owner was claimed by another program's ``ask``, which has this
# long to mark it.
OWNERLESS_SECONDS = 60.0

# The error of a trial whose worker ended so: it could not say anything itself.
KILLED = "killed by the kernel for lack of memory"

# From the first free slot and the parameters of all trials so far: the parameters of the slots from
# that one on, in order.
FixedParams = Callable[[int, Iterable[Mapping[str, Any]]], Iterator[Mapping[str, Any]]]


def plan(study: optuna.Study, snapshot: StudyView, n_trials: int, fixed: FixedParams) -> int:
    """Enqueue the next slots of the budget, so that ``AHEAD`` wait; returns how many were added.

    ``fixed`` may end before the budget does, as a grid may. Slots that were given up make room
    for later ones.
    """
    slots = {attempt.slot for attempt in snapshot.attempts}
    missing = n_trials - (len(slots) - len(snapshot.given_up))
    room = AHEAD - len(snapshot.waiting)
    first, added = _first_free(snapshot), 0
    for parameters in islice(fixed(first, _tried(snapshot)), max(0, min(missing, room))):
        study.enqueue_trial(
            dict(parameters), user_attrs=TrialAttributes(slot=first + added).written()
        )
        added += 1
    return added


def _first_free(snapshot: StudyView) -> int:
    return max((attempt.slot for attempt in snapshot.attempts), default=-1) + 1


def _tried(snapshot: StudyView) -> Iterator[Mapping[str, Any]]:
    return ({**attempt.fixed, **attempt.params} for attempt in snapshot.attempts)


def is_all_taken(snapshot: StudyView, n_trials: int, fixed: FixedParams) -> bool:
    """Whether no worker would find a trial: every slot of the budget has one, and none waits."""
    if snapshot.waiting:
        return False
    slots = {attempt.slot for attempt in snapshot.attempts}
    if len(slots) - len(snapshot.given_up) >= n_trials:
        return True
    return next(fixed(_first_free(snapshot), _tried(snapshot)), None) is None


def claim(
    study: optuna.Study, begin: Callable[[int], TrialAttributes] = lambda root: TrialAttributes()
) -> Attempt | None:
    """Claim the next waiting trial for this process; None where there is none. Never blocks.

    ``begin`` says what else to store with a trial, by its root, in the same transaction.
    """
    storage = storage_of(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        waiting = attempt_of(trial)
        if waiting is None:
            continue  # another program enqueued it: it is not part of our budget
        mine = TrialAttributes(owner=this_process(), lease=time.time())
        if not start(storage, id_of(trial), {**begin(waiting.root).written(), **mine.written()}):
            continue
        claimed = attempt_of(storage.get_trial(id_of(trial)))
        assert claimed is not None
        if is_void(study, claimed):
            fail(study, claimed.number, "void")
            continue
        return claimed
    return None


def is_void(study: optuna.Study, claimed: Attempt) -> bool:
    """Whether another trial of the same slot and attempt has precedence, or used the slot up."""
    valid = without_void([a for a in attempts_of(study) if a.slot == claimed.slot])
    return claimed.number not in {attempt.number for attempt in valid}


def fail(study: optuna.Study, number: int, reason: Reason, error: str | None = None) -> None:
    """Mark a trial as failed for this reason, unless somebody else has finished it."""
    storage, failed = storage_of(study), trial_id(study, number)
    try:
        for key, value in TrialAttributes(reason=reason, error=error).written().items():
            storage.set_trial_user_attr(failed, key, value)
        storage.set_trial_state_values(failed, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return


def retry(
    study: optuna.Study, attempt: Attempt, *, died: bool = False, alone: bool = False
) -> None:
    """Enqueue the next attempt with the same slot, root and parameters.

    It has its GPU for itself if ``alone``, or if this attempt was to have it.
    Parameters that a dead worker had not suggested yet are those that the slot was planned with.
    Call this before the old trial is failed: a crash in between leaves it RUNNING, its next reaper
    enqueues a second retry, and one of the two is void.
    """
    study.enqueue_trial(
        {**attempt.fixed, **attempt.params},
        user_attrs=TrialAttributes(
            slot=attempt.slot,
            root=attempt.root,
            attempt=attempt.attempt + 1,
            deaths=attempt.deaths + died,
            retry_of=attempt.number,
            alone=alone or attempt.attrs.alone or None,
        ).written(),
    )


def reap(
    study: optuna.Study,
    snapshot: StudyView,
    max_retries: int,
    lacked_memory: Callable[[Attempt], bool] = lambda attempt: False,
) -> list[Attempt]:
    """Fail the trials whose worker is dead, and enqueue their retries; returns these trials.

    A trial is retried ``max_retries`` times at most, and once more where its worker
    ``lacked_memory`` or was stopped. A worker may have handed its trial back and ended since
    ``snapshot`` was read. So the trial is read again after its worker was found dead, when only
    another reaper can change it.
    """
    suspects = [attempt for attempt in snapshot.running if _is_dead(attempt)]
    running = {attempt.number for attempt in view(study).running} if suspects else set()
    dead = [attempt for attempt in suspects if attempt.number in running]
    for attempt in dead:
        if lacked_memory(attempt):
            if not attempt.attrs.alone:
                retry(study, attempt, alone=True)
            fail(study, attempt.number, "out_of_memory", KILLED)
        elif was_stopped(attempt):
            retry(study, attempt)
            fail(study, attempt.number, "handed_back")
        else:
            if attempt.deaths < max_retries:
                retry(study, attempt, died=True)
            fail(study, attempt.number, "died")
    return dead


def was_stopped(attempt: Attempt) -> bool:
    """Whether a dead worker was ended from outside in order, with its node of Ray's cluster."""
    node = (attempt.owner or {}).get("ray")
    return node is not None and ray_cluster.has_left(node)


def _is_dead(attempt: Attempt) -> bool:
    """Whether the worker of a running trial is gone, as far as this host can tell."""
    if attempt.owner is None:
        return time.time() - attempt.last_sign > OWNERLESS_SECONDS
    return not lives(attempt.owner, attempt.last_sign)


def lives(owner: Mapping[str, Any], leased: float) -> bool:
    """Whether a process is alive, as far as this host can tell.

    This host's processes say so, or Slurm or Ray for one on another host; else it is the lease,
    which was last renewed at ``leased`` (Unix time).
    """
    if on_this_host(owner):
        return is_alive(owner)
    if "slurm" in owner and is_gone(owner["slurm"]):
        return False
    if "ray" in owner and ray_cluster.is_gone(owner["ray"], owner, is_alive):
        return False
    return time.time() - leased < LEASE_SECONDS


def leader(study: optuna.Study) -> Mapping[str, Any] | None:
    """The parent that plans this study; None where nobody does."""
    named = StudyAttributes.of(study).leader
    if not named or not lives(named, named["time"]):
        return None
    silent = time.time() - named["time"]
    return None if on_this_host(named) and silent > LEADER_SECONDS else named


def renew_lease(study: optuna.Study, number: int) -> None:
    """Record that the trial's worker is alive, for readers on other hosts."""
    for key, value in TrialAttributes(lease=time.time()).written().items():
        storage_of(study).set_trial_user_attr(trial_id(study, number), key, value)


def failure_share(recent: Sequence[Attempt]) -> tuple[int, int]:
    """How many slots of these attempts failed and how many finished, on any host."""
    failed = sum(a.state is TrialState.FAIL and a.counts for a in recent)
    return failed, sum(attempt.counts for attempt in recent)


def without_objective(recent: Sequence[Attempt]) -> Attempt | None:
    """The first of these attempts that returned no number; None without one."""
    return next((attempt for attempt in recent if attempt.attrs.no_objective), None)


def active_since(study: optuna.Study, since: float) -> list[Attempt]:
    """The attempts that somebody has worked on since then (Unix time)."""
    return [attempt for attempt in view(study).attempts if attempt.last_sign >= since]
