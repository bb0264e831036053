"""A worker's life: take a trial, run it, take the next; end on a signal, or when none is left.

``one_trial`` tells what happens to a single trial; ``watch`` renews its lease meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

import optuna
from hydra.types import HydraContext, TaskFunction
from optuna.exceptions import UpdateFinishedTrialError

from sweepmore.compose.samplers import build_sampler
from sweepmore.compose.settings import Sweep
from sweepmore.errors import Interrupted, StudyError
from sweepmore.process.identity import on_this_host
from sweepmore.process.signals import Stop, handled
from sweepmore.process.state import working_folder
from sweepmore.storage.patience import Outage
from sweepmore.study import crews, slots
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import StudyAttributes, TrialAttributes
from sweepmore.study.view import view
from sweepmore.sweep.claimed_trial import ClaimedTrial, ObjectiveNames
from sweepmore.sweep.context import StudyContext, context_of, freeze, load_study, must_end
from sweepmore.sweep.one_trial import OneTrial, Workplace
from sweepmore.sweep.seat import Seat
from sweepmore.sweep.task import TaskRunner
from sweepmore.sweep.watch import Watch

# How long a worker sleeps when no trial waits although the budget is not planned yet. The longer it
# has waited, the longer it sleeps, because its parent may be stopped for hours.
POLL_SECONDS, LONGEST_POLL = 0.02, 0.5
# After this a waiting worker checks whether any parent still plans. The storage has to say so,
# because the process of a parent on another host cannot be seen.
LOOK_SECONDS = 10.0


@dataclass(frozen=True)
class ParentHere:
    """A worker's parent, where both are the same process.

    ``gone`` returns an error once the parent has noticed that the study was removed. Nothing must
    be written then, because another study may have its number. ``outage`` is what the parent's own
    connection says about the database, so that an outage is reported once.
    """

    gone: Callable[[], StudyError | None] = lambda: None
    outage: Outage | None = None


def work(
    asked: Sweep,
    part: Mapping[str, Any],
    context: HydraContext,
    task: TaskFunction,
    here: ParentHere = ParentHere(),
) -> int | None:
    """Work on a study until its end; return the number of the signal that ended it, or None.

    ``part`` is what the parent says about this worker, with the keys "study", "index", "parent",
    "since" and, in a process of its own, "quiet", "seat" and "placed" (see
    ``processes.WORKER_VARIABLE``), or "crew" (see ``launcher_jobs``). Raises what ends a worker
    early: StudyError when the study, its folder or the database is gone, and the error of a disk.
    """
    stop = Stop()
    # Open the study with a sampler of this worker's own: its seed depends on the worker and on the
    # trials so far, because equal samplers would propose equal points.
    study = load_study(asked, part["study"], stop, here.outage)
    study.sampler = build_sampler(
        asked.sampler,
        asked.space,
        worker=part["index"],
        trials_so_far=len(study.get_trials(deepcopy=False)),
        base_seed=StudyAttributes.of(study).seed or 0,
    )
    # Take the config sources as the study froze them, whatever was edited since.
    shared = context_of(asked, study, freeze(asked, study), part["since"])
    worker = Worker(
        shared,
        study,
        task,
        context,
        parent=part["parent"],
        seat=Seat(shared.folder / "workers", part.get("seat"), part.get("placed")),
        crew=part.get("crew"),
        own_callbacks=bool(part.get("quiet")),
        gone=here.gone,
        stop=stop,
    )
    worker.run()
    return stop.signum


@dataclass(frozen=True)
class Worker:
    """One process's part of a sweep."""

    shared: StudyContext
    study: optuna.Study
    task: TaskFunction
    context: HydraContext
    parent: Mapping[str, Any]  # its identity; on the same host, the worker ends with its parent
    seat: Seat  # its part of the machine
    crew: str | None = None  # the launcher's jobs to which it belongs
    own_callbacks: bool = False  # Hydra's are not in its context yet; the first config names them
    gone: Callable[[], StudyError | None] = lambda: None  # see ParentHere
    stop: Stop = field(default_factory=Stop)  # the signals that this process has received

    def run(self) -> None:
        """Work until the budget is planned and taken, a signal comes, or too many trials fail.

        Raises as ``work`` does.
        """
        place = self._workplace()
        watch = Watch(self.study, self.parent, self.gone, self.crew, self.stop)
        with self._signals(place.runner), watch:
            self.seat.take(self.stop)
            self._take_trials(place, watch)

    def _workplace(self) -> Workplace:
        """Make what all trials of this worker share; configs come from the frozen sources."""
        uid = StudyAttributes.of(self.study).uid
        home = working_folder()
        composer = self.shared.frozen.composer()
        context = replace(self.context, config_loader=composer.loader)
        return Workplace(
            shared=self.shared,
            study=self.study,
            uid=uid,
            composer=composer,
            runner=TaskRunner(self.task, context, home, self.stop, self.own_callbacks),
            names=ObjectiveNames(self.study),
            gone=self.gone,
            stop=self.stop,
            seat=self.seat,
        )

    def _take_trials(self, place: Workplace, watch: Watch) -> None:
        """Take one trial after another, and return when there will be no more."""
        worked = looked = time.monotonic()
        while self.stop.signum is None and not self._must_end():
            # Another worker of this GPU needs all of its memory: make room.
            if self.seat.is_wanted():
                self.seat.leave(self.stop)
                return
            # As a rule: take the next trial that waits, and run it to its end.
            attempt = slots.claim(self.study, self._begun)
            if attempt is not None:
                self._work_while_mine(attempt, place, watch)
                worked = looked = time.monotonic()
            # None waits: every trial of the budget may be taken …
            elif slots.is_all_taken(
                view(self.study), self.shared.n_trials, self.shared.fixed_params
            ):
                return
            # … or the next trials are not planned yet, which takes the parent a moment.
            elif time.monotonic() - looked < LOOK_SECONDS:
                idle = time.monotonic() - worked
                time.sleep(min(LONGEST_POLL, max(POLL_SECONDS, idle / 20)))
            # Once in a while: nothing has been planned for long. Does anybody still plan?
            elif on_this_host(self.parent) or slots.leader(self.study) is not None:
                looked = time.monotonic()  # its parent is on this host, or another one plans
            else:
                return

    def _must_end(self) -> bool:
        """Whether this worker shall take no further trial, as one that begins while others stop."""
        if self.crew is not None and crews.is_asked_to_stop(self.study, self.crew):
            return True
        return must_end(self.study, self.shared)

    def _begun(self, root: int) -> TrialAttributes:
        """Say which code runs a trial, where it lies and on what, before anything can fail."""
        folder = self.shared.folder / f"{root:04d}"
        return TrialAttributes(
            folder=folder, code=self.shared.code, placed=self.seat.placed, crew=self.crew
        )

    def _work_while_mine(self, attempt: Attempt, place: Workplace, watch: Watch) -> None:
        """Run one trial, unless it turns out to be another worker's by now.

        When this worker was taken for dead in the meantime, as after its machine has slept, the
        trial was given to somebody else, and what this one would still write is dropped.
        """
        try:
            claimed = ClaimedTrial.of(attempt, self.study, place.uid, self.shared)
            with watch.leasing(attempt.number):
                self._run(claimed, place)
        except UpdateFinishedTrialError:
            print(
                f"trial {attempt.root} was reassigned: this worker had not been heard from",
                flush=True,
            )

    def _run(self, claimed: ClaimedTrial, place: Workplace) -> None:
        """Run a claimed trial; alone on the GPU, where the attempt before ran out of memory."""
        if not claimed.attempt.attrs.alone:
            OneTrial(place, claimed).run()
            return
        # The time of waiting for the others counts as the trial's: it was claimed before.
        if self.seat.clear(self.stop):
            OneTrial(place, claimed).run()
        else:
            claimed.hand_back()
        if self.seat.is_shared:
            self.seat.leave(self.stop)

    @contextmanager
    def _signals(self, runner: TaskRunner) -> Iterator[None]:
        """Answer signals, inside the block.

        After the first, no new trial starts, and the running task is asked to stop, by its own
        handler or by ``report``; a task that uses neither is interrupted at once. After the second,
        every task is.
        """

        def answer(signum: int, frame: FrameType | None) -> None:
            which = self.stop.hear(signum)
            at_once = which == "second" or (which == "first" and not runner.cooperates)
            if runner.is_running and at_once:
                raise Interrupted(signum)

        with handled(answer):
            yield
