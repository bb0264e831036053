"""The training loop: it takes config and splits, and returns a trained model with its losses.

``fit`` opens and closes a run; ``_descend`` is the loop of the lecture.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nplm import blocks
from nplm.config import Config
from nplm.data import Split, Splits
from nplm.gradients import gradients_of
from nplm.losses import divergence, split_loss
from nplm.mixture import mixed
from nplm.optim import clip, learning_rate
from nplm.result import Progress, Result
from nplm.state import State, begin, save_state
from sweepmore.runs.record import Status

# The most seconds of training that a kill can cost, besides one evaluation interval.
CHECKPOINT_SECONDS = 5.0
# The smoothed loss forgets over this share of the steps: guess, so that a run shows 20 turns.
SMOOTHING = 0.02


@dataclass(frozen=True)
class Run:
    """What a run is given and never changes; ``train`` and ``dev`` are on the run's device."""

    config: Config
    splits: Splits
    train: Split
    dev: Split
    report: Callable[[Progress], bool | None]
    folder: Path | None
    stop: Callable[[], int | None]


@dataclass(frozen=True)
class Ending:
    """Why a run takes no further step; ``signum`` is the signal that interrupted it."""

    status: Status
    reason: str | None = None
    signum: int | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the training state is saved: nobody resumes a run that diverged or was pruned."""
        return self.status in ("ok", "interrupted")


def fit(
    config: Config,
    splits: Splits,
    report: Callable[[Progress], bool | None] = lambda progress: None,
    *,
    state: State | None = None,
    folder: Path | None = None,
    stop: Callable[[], int | None] = lambda: None,
) -> Result:
    """Train a model, and evaluate it after each share ``config.eval_every`` of the steps.

    ``report`` is called a few hundred times a run; when it returns True, the run ends as pruned.
    ``stop`` is called at each step; when it returns a signal's number, the run is checkpointed and
    ends as interrupted. With ``folder``, training states and the best weights are saved there.
    ``state`` is where the run starts (default: fresh parameters) and is changed in place; a state
    from ``resume`` gives, on the CPU, the bits of a run that was never interrupted. Sets torch's
    number of threads. Losses are in nats per token; one that is not finite or above
    ``DIVERGED_ABOVE`` ends the run with the status diverged and raises nothing. Raises ConfigError
    and RunError as ``begin`` does, before the first step.
    """
    torch.set_num_threads(config.threads)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    if state is None:
        state = begin(config, splits, folder=folder or Path())
    train, dev = splits.train.to(state.device), splits.dev.to(state.device)
    run = Run(config, splits, train, dev, report, folder, stop)
    way = _descend if state.model.takes_steps else _count
    result = _result(state, way(run, state))
    return _mixed(result, splits) if config.mix and result.status == "ok" else result


def _descend(run: Run, state: State) -> Ending:
    """Run gradient descent on minibatches: the loop of the lecture, with evaluations in between."""
    config, optim, noise = run.config, run.config.optim, torch.Generator(state.device)
    reports, evaluations = blocks.reports(config), blocks.evaluations(config)
    loss_and_gradients = gradients_of(state.model, noise)
    # before the first step: evaluate and report the initialisation
    if state.step == 0:
        if reason := _evaluate(run, state):
            return Ending("diverged", reason)
        _report(run, state, learning_rate(optim, 0))

    kept_at, began = time.monotonic(), time.perf_counter()
    drawn = blocks.minibatches(config, run.train, len(run.splits.vocabulary), state, noise)
    for step, contexts, targets in drawn:
        # forward and backward pass
        loss, gradients = loss_and_gradients(contexts, targets)
        # update the parameters, and their average
        if optim.clip is not None:
            gradients = clip(gradients, optim.clip)
        state.optimiser.step(gradients, learning_rate(optim, step))
        if state.average is not None:
            state.average.update()
        # track the loss; most steps end here
        state.losses.append(loss)
        signum = run.stop()
        if signum is None and step + 1 not in reports:
            continue

        # once in a while: evaluate and report; the clock stands still meanwhile
        mean = (
            torch.stack(state.losses).mean().item()
        )  # waits for the GPU, so that the seconds are right
        state.step, state.seconds = step + 1, state.seconds + time.perf_counter() - began
        evaluated, pruned = state.step in evaluations, False
        if state.step in reports:
            reason = _track(run, state, mean) or (_evaluate(run, state) if evaluated else None)
            if reason is not None:
                return Ending("diverged", reason)
            if evaluated:
                _remember_best(state)
            pruned = _report(run, state, learning_rate(optim, step), mean, evaluated)
        # now and then, and before stopping: save what a kill must not cost
        ending = _ending(state.step == optim.steps, pruned, signum)
        overdue = evaluated and time.monotonic() - kept_at > CHECKPOINT_SECONDS
        if overdue if ending is None else ending.is_kept:
            _keep(run, state)
            kept_at = time.monotonic()
        if ending is not None:
            return ending
        began = time.perf_counter()
    return _ended_before(run, state)


def _track(run: Run, state: State, mean: float) -> str | None:
    """Update the smoothed loss with ``mean``, the minibatch loss since the last report, and forget
    the losses of single steps. Returns why the run has diverged, or None."""
    share, state.losses = len(state.losses) / run.config.optim.steps, []
    reason = divergence("minibatch", mean, state.step)
    if reason is None:
        before = mean if state.smoothed is None else state.smoothed
        state.smoothed = mean + (before - mean) * math.exp(-share / SMOOTHING)
    return reason


def _evaluate(run: Run, state: State) -> str | None:
    """Compute the losses of the whole splits. Returns why the run has diverged, or None.

    Over counts both are cheap: 10 ms together at block size 3, 200 ms at 8 (names.txt).
    """
    model = state.evaluated()
    state.dev_loss = split_loss(model, run.dev)
    if reason := divergence("dev", state.dev_loss, state.step):
        return reason
    state.train_loss = split_loss(model, run.train)
    return None


def _report(
    run: Run, state: State, rate: float, mean: float | None = None, evaluated: bool = True
) -> bool:
    """Report progress to the caller. Returns whether the study prunes the run."""
    dev, train = (state.dev_loss, state.train_loss) if evaluated else (None, None)
    smoothed = None if mean is None else state.smoothed
    progress = Progress(state.step, rate, state.seconds, mean, smoothed, dev, train)
    return bool(run.report(progress))


def _remember_best(state: State) -> None:
    """Copy the evaluated weights if their dev loss is the lowest so far."""
    assert state.dev_loss is not None
    if state.dev_loss < state.best_loss:
        state.best_loss = state.dev_loss
        state.best = {k: v.detach().clone() for k, v in state.averaged.tensors().items()}


def _keep(run: Run, state: State) -> None:
    """Save the training state if the run has a folder."""
    if run.folder is not None:
        save_state(state, run.splits, run.folder)


def _ending(finished: bool, pruned: bool, signum: int | None) -> Ending | None:
    """Return why the run stops, or None: a finished run is neither pruned nor interrupted."""
    if finished:
        return Ending("ok")
    if pruned:
        return Ending("pruned", "stopped by the study")
    if signum is not None:
        return Ending("interrupted", f"by {signal.Signals(signum).name}", signum)
    return None


def _ended_before(run: Run, state: State) -> Ending:
    """End a run that had no step left: a kill came between its last checkpoint and its result."""
    state.train_loss = split_loss(state.evaluated(), run.train)
    return Ending("ok")


def _count(run: Run, state: State) -> Ending:
    """Count, where the model does: it takes no steps, and is evaluated once."""
    began = time.perf_counter()
    state.model.count(run.splits)
    state.seconds += time.perf_counter() - began
    if reason := _evaluate(run, state):
        return Ending("diverged", reason)
    _report(run, state, rate=0.0)
    _remember_best(state)
    _keep(run, state)
    return Ending("ok")


def _result(state: State, ending: Ending) -> Result:
    """Return the result with the losses of the final model: a diverged run has none, and only a
    run that took all its steps has a train loss."""
    return Result(
        ending.status,
        ending.reason,
        state.evaluated(),
        state.step,
        state.seconds,
        dev_loss=None if ending.status == "diverged" else state.dev_loss,
        train_loss=state.train_loss if ending.status == "ok" else None,
        signum=ending.signum,
    )


def _mixed(result: Result, splits: Splits) -> Result:
    """Mix the net with counting, weighted on dev, and replace the net's losses by the mixture's."""
    model = mixed(result.model.cpu(), splits)
    train, dev = split_loss(model, splits.train), split_loss(model, splits.dev)
    return replace(
        result,
        model=model,
        dev_loss=dev,
        train_loss=train,
        net_dev_loss=result.dev_loss,
        net_train_loss=result.train_loss,
    )
