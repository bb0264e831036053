"""The training loop: config and splits in, a trained model and what happened out.

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

# Most training time that a kill can cost, beside one evaluation interval.
CHECKPOINT_SECONDS = 5.0
# The smoothed loss forgets over this share of the steps: guess, 20 visible turns a run.
SMOOTHING = 0.02


@dataclass(frozen=True)
class Run:
    """What a run is given and never changes; ``train`` and ``dev`` lie on the run's device."""

    config: Config
    splits: Splits
    train: Split
    dev: Split
    report: Callable[[Progress], bool | None]
    folder: Path | None
    stop: Callable[[], int | None]


@dataclass(frozen=True)
class Ending:
    """Why a run takes no further step."""

    status: Status
    reason: str | None = None
    signum: int | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the training state is saved: a run that diverged or was pruned is not resumed."""
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
    """Train, and evaluate on dev every ``config.eval_every`` of the steps.

    ``report`` is called a few hundred times a run; when it returns True the run ends as pruned.
    ``stop`` is asked at each step; when it returns a signal's number the run is checkpointed and
    ends as interrupted. With ``folder``, training states go there and the best weights too.
    ``state`` is where to start (default: fresh) and is changed in place; one from ``resume``
    gives, on the CPU, the bits of a run that was never interrupted. Sets torch's number of
    threads. A loss that is not finite or above ``DIVERGED_ABOVE`` nats is the status diverged and
    raises nothing. Raises ConfigError and RunError as ``begin`` does, before the first step.
    """
    torch.set_num_threads(config.threads)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    state = begin(config, splits) if state is None else state
    train, dev = splits.train.to(state.device), splits.dev.to(state.device)
    run = Run(config, splits, train, dev, report, folder, stop)
    if state.model.is_counted:
        return _result(state, _count(run, state))
    result = _result(state, _descend(run, state))
    return _mixed(result, splits) if config.mix and result.status == "ok" else result


def _descend(run: Run, state: State) -> Ending:
    """Gradient descent on minibatches: the loop of the lecture, which looks up once in a while."""
    config, optim, noise = run.config, run.config.optim, torch.Generator(state.device)
    reports, evaluations = blocks.reports(config), blocks.evaluations(config)
    loss_and_gradients = gradients_of(state.model, noise, optim.steps - state.step)
    # before the first step: the losses that the initialisation gives
    if state.step == 0:
        if reason := _evaluate(run, state):
            return Ending("diverged", reason)
        _report(run, state, learning_rate(optim, 0))

    kept, began = time.monotonic(), time.perf_counter()
    drawn = blocks.minibatches(config, run.train, len(run.splits.vocabulary), state, noise)
    for step, contexts, targets in drawn:
        # forward and backward pass
        loss, gradients = loss_and_gradients(contexts, targets)
        # update
        if optim.clip is not None:
            gradients = clip(gradients, optim.clip)
        state.optimiser.step(gradients, learning_rate(optim, step))
        if state.average is not None:
            state.average.update()
        # track stats
        state.losses.append(loss)
        signum = run.stop()
        if signum is None and step + 1 not in reports:
            continue

        # once in a while: evaluate and report, off the clock
        mean = torch.stack(state.losses).mean().item()  # waits for a GPU, so the clock is honest
        state.step, state.seconds = step + 1, state.seconds + time.perf_counter() - began
        evaluated, pruned = state.step in evaluations, False
        if state.step in reports:
            reason = _track(run, state, mean) or (_evaluate(run, state) if evaluated else None)
            if reason is not None:
                return Ending("diverged", reason)
            if evaluated:
                _remember_best(state)
            pruned = _report(run, state, learning_rate(optim, step), mean, evaluated)
        # keep what a kill must not cost, and stop where there is reason to
        ending = _ending(state.step == optim.steps, pruned, signum)
        overdue = evaluated and time.monotonic() - kept > CHECKPOINT_SECONDS
        if overdue if ending is None else ending.is_kept:
            _keep(run, state)
            kept = time.monotonic()
        if ending is not None:
            return ending
        began = time.perf_counter()
    return _ended_before(run, state)


def _track(run: Run, state: State, mean: float) -> str | None:
    """Take the steps since the last report into the smoothed loss; returns why the run has
    diverged, if it has. The losses of the single steps are forgotten."""
    share, state.losses = len(state.losses) / run.config.optim.steps, []
    reason = divergence("minibatch", mean, state.step)
    if reason is None:
        before = mean if state.smoothed is None else state.smoothed
        state.smoothed = mean + (before - mean) * math.exp(-share / SMOOTHING)
    return reason


def _evaluate(run: Run, state: State) -> str | None:
    """Take the losses of the whole splits; returns why the run has diverged, if it has.

    On counts both are cheap: 10 ms together at block size 3, 200 ms at 8 (names.txt).
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
    """Tell the caller where the run stands; returns whether the study prunes it."""
    dev, train = (state.dev_loss, state.train_loss) if evaluated else (None, None)
    smoothed = None if mean is None else state.smoothed
    progress = Progress(state.step, rate, state.seconds, mean, smoothed, dev, train)
    return bool(run.report(progress))


def _remember_best(state: State) -> None:
    """Copy the weights that were evaluated where no evaluation has had a lower dev loss."""
    assert state.dev_loss is not None
    if state.dev_loss < state.best_loss:
        state.best_loss = state.dev_loss
        state.best = {k: v.detach().clone() for k, v in state.averaged.tensors().items()}


def _keep(run: Run, state: State) -> None:
    """Save the training state, where the run has a folder."""
    if run.folder is not None:
        save_state(state, run.splits, run.folder)


def _ending(finished: bool, pruned: bool, signum: int | None) -> Ending | None:
    """Decide whether to stop: a run that is finished is neither pruned nor interrupted any more."""
    if finished:
        return Ending("ok")
    if pruned:
        return Ending("pruned", "stopped by the study")
    if signum is not None:
        return Ending("interrupted", f"by {signal.Signals(signum).name}", signum)
    return None


def _ended_before(run: Run, state: State) -> Ending:
    """No step was left: a kill came between the last checkpoint and the result."""
    state.train_loss = split_loss(state.evaluated(), run.train)
    return Ending("ok")


def _count(run: Run, state: State) -> Ending:
    """Count once: no steps, one evaluation."""
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
    """Name the losses that are of the model at its end: a diverged run has none, and train's is
    of a whole run only."""
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
    """Mix the net with counting, weighted on dev: the mixture's losses instead of the net's."""
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
