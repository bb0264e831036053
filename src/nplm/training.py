"""The training loop: config and splits in, a trained model and what happened out."""

from __future__ import annotations

import copy
import hashlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nplm import checkpoint as files
from nplm.building import build_model, size_of
from nplm.checkpoint import Checkpoint
from nplm.config import AnyModel, Bigram, Config, model_from
from nplm.data import Splits
from nplm.gradients import Gradients, gradients_of
from nplm.losses import split_loss
from nplm.minibatches import check_table, drawing
from nplm.mixture import Mixture, mixed
from nplm.model import LanguageModel
from nplm.optim import Average, Optimiser, build_optimiser, clip, learning_rate
from sweepmore.errors import ConfigError, RunError
from sweepmore.runs.record import Status

# A run reports about this often: as many points as a figure of its loss can show.
REPORTS = 500
# Indices drawn at once; bounds the memory of a block of minibatches (2**18 · b int64 numbers).
MAX_DRAWN = 2**18
# The first loss of a net with h standard-normal units is about 2.6·sqrt(h); this is reached by
# none that fits in memory, so a loss above it is a divergence even while it is finite.
DIVERGED_ABOVE = 1e4
MAX_PARAMETERS = 2**30
# Of a table of all pairs of tokens: 512 MiB of float64, of which counting holds four at a time.
MAX_PAIRS = 2**26
# Most training time that a kill can cost, beside one evaluation interval.
CHECKPOINT_SECONDS = 5.0
# The smoothed loss forgets over this share of the steps: guess, 20 visible turns a run.
SMOOTHING = 0.02


@dataclass(frozen=True)
class Progress:
    """Where a run stands after ``step`` steps. Losses in nats per token.

    ``minibatch_loss`` is the mean over the steps since the last report, ``smoothed_loss`` its
    exponential average; ``dev_loss`` and ``train_loss``, over the whole splits, are there at
    evaluations. ``seconds`` is all but evaluations.
    """

    step: int
    lr: float
    seconds: float
    minibatch_loss: float | None = None
    smoothed_loss: float | None = None
    dev_loss: float | None = None
    train_loss: float | None = None


@dataclass(frozen=True)
class Result:
    """How a run ended. ``signum`` says by which signal it was interrupted."""

    status: Status
    reason: str | None
    model: LanguageModel
    steps: int
    seconds: float
    dev_loss: float | None
    train_loss: float | None
    signum: int | None = None
    # before the net was mixed with counting
    net_dev_loss: float | None = None
    net_train_loss: float | None = None


@dataclass
class State:
    """What the loop carries from step to step; all of it is in a checkpoint.

    Changed in place by ``fit``: begin a new one for each run.
    """

    model: LanguageModel
    optimiser: Optimiser
    generator: torch.Generator
    device: torch.device
    average: Average | None
    averaged: LanguageModel  # what is evaluated and kept: ``model`` itself where none is averaged
    step: int = 0
    seconds: float = 0.0
    smoothed: float | None = None
    dev_loss: float | None = None
    best_loss: float = math.inf
    best: dict[str, Tensor] | None = None  # weights of the best evaluation, not yet on disk
    losses: list[Tensor] | None = None  # of the steps since the last report

    def evaluated(self) -> LanguageModel:
        """The model with the averaged weights of this step."""
        if self.average is not None:
            with torch.no_grad():
                for parameter, value in zip(self.averaged.parameters(), self.average.values()):
                    parameter.copy_(value)
        return self.averaged


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
    ``state`` is where to start (default: fresh); one from ``resume`` gives, on the CPU, the bits
    of a run that was never interrupted. Sets torch's number of threads.
    """
    torch.set_num_threads(config.threads)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    state = begin(config, splits) if state is None else state
    train, dev = splits.train.to(state.device), splits.dev.to(state.device)
    if state.model.is_counted:
        return _counted(config, splits, state, report, folder)
    loss_and_gradients: Gradients | None = None
    noise, noise_seed = torch.Generator(state.device), derived_seed(config.seed, "dropout")
    noisy = not state.model.recordable
    began = time.perf_counter()
    draw = drawing(config.optim, train, len(splits.vocabulary))
    state.seconds += time.perf_counter() - began
    saved = time.monotonic()
    train_loss: float | None = None

    if state.step == 0:
        state.dev_loss = split_loss(state.model, dev)
        if reason := _divergence("dev", state.dev_loss, 0):
            return _ended("diverged", reason, state, None, None)
        report(
            Progress(
                0,
                learning_rate(config.optim, 0),
                0.0,
                dev_loss=state.dev_loss,
                train_loss=split_loss(state.model, train),
            )
        )

    for first, end in _blocks(config):
        if end <= state.step:
            continue
        began = time.perf_counter()
        drawn_from = state.generator.get_state()
        batch = draw(end - first, state.generator)
        losses = state.losses or []
        if loss_and_gradients is None:
            left = config.optim.steps - state.step
            loss_and_gradients = gradients_of(state.model, noise, *batch(0), steps=left)
        for step in range(state.step, end):
            contexts, targets = batch(step - first)
            if noisy:  # masks are a function of the step: nothing to keep in a checkpoint
                noise.manual_seed(noise_seed + step)
            loss, gradients = loss_and_gradients(contexts, targets)
            if config.optim.clip is not None:
                gradients = clip(gradients, config.optim.clip)
            state.optimiser.step(gradients, learning_rate(config.optim, step))
            if state.average is not None:
                state.average.update()
            losses.append(loss)
            if (signum := stop()) is not None and step + 1 < end:
                state.step, state.losses = step + 1, losses
                state.seconds += time.perf_counter() - began
                return _interrupted(state, config, splits, folder, drawn_from, signum)
        mean = torch.stack(losses).mean().item()  # waits for a GPU, so the clock is honest
        state.seconds += time.perf_counter() - began
        state.step, state.losses = end, None
        if reason := _divergence("minibatch", mean, state.step):
            return _ended("diverged", reason, state, None, None)
        state.smoothed = _smooth(state.smoothed, mean, (end - first) / config.optim.steps)

        # on counts both splits are cheap: 10 ms together at block size 3, 200 ms at 8 (names.txt)
        evaluated = end == config.optim.steps or end in _evaluations(config)
        if evaluated:
            model = state.evaluated()
            state.dev_loss = split_loss(model, dev)
            if reason := _divergence("dev", state.dev_loss, state.step):
                return _ended("diverged", reason, state, None, None)
            train_loss = split_loss(model, train)
            _remember_best(state)
        pruned = report(
            Progress(
                end,
                learning_rate(config.optim, end - 1),
                state.seconds,
                mean,
                state.smoothed,
                state.dev_loss if evaluated else None,
                train_loss if evaluated else None,
            )
        )
        finished = end == config.optim.steps
        if pruned and not finished:
            return _ended("pruned", "stopped by the study", state, state.dev_loss, None)
        if signum is not None and not finished:
            state_now = state.generator.get_state()
            return _interrupted(state, config, splits, folder, state_now, signum)
        if evaluated and (finished or time.monotonic() - saved > CHECKPOINT_SECONDS):
            _save(state, config, splits, folder, state.generator.get_state())
            saved = time.monotonic()
    if train_loss is None:  # resumed after the last step, before the result was written
        train_loss = split_loss(state.evaluated(), train)
    ended = _ended("ok", None, state, state.dev_loss, train_loss)
    return _mixed(ended, splits) if config.mix else ended


def _counted(
    config: Config,
    splits: Splits,
    state: State,
    report: Callable[[Progress], bool | None],
    folder: Path | None,
) -> Result:
    """Count once: no steps, one evaluation."""
    began = time.perf_counter()
    state.model.count(splits)
    state.seconds += time.perf_counter() - began
    state.dev_loss = split_loss(state.model, splits.dev.to(state.device))
    train_loss = split_loss(state.model, splits.train.to(state.device))
    if reason := _divergence("dev", state.dev_loss, 0):
        return _ended("diverged", reason, state, None, None)
    report(Progress(0, 0.0, state.seconds, dev_loss=state.dev_loss, train_loss=train_loss))
    _remember_best(state)
    _save(state, config, splits, folder, state.generator.get_state())
    return _ended("ok", None, state, state.dev_loss, train_loss)


def _mixed(ended: Result, splits: Splits) -> Result:
    """With counting, weighted on dev: its losses instead of the net's."""
    model = mixed(ended.model.cpu(), splits)
    train, dev = split_loss(model, splits.train), split_loss(model, splits.dev)
    return replace(
        ended,
        model=model,
        dev_loss=dev,
        train_loss=train,
        net_dev_loss=ended.dev_loss,
        net_train_loss=ended.train_loss,
    )


def pick_device(name: str) -> torch.device:
    """``auto`` is the first of cuda, mps, cpu that is there; one that is not raises ConfigError."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    there["cpu"] = True
    if name == "auto":
        return torch.device(next(device for device, usable in there.items() if usable))
    if not there[name]:
        usable = ", ".join(device for device, is_there in there.items() if is_there)
        cure = f"Here: {usable}; device=auto takes the first."
        raise ConfigError(f"device={name} is not available.", value=name, cure=cure)
    return torch.device(name)


def check_size(config: Config, splits: Splits) -> None:
    """ConfigError for a model or a table of counts that no memory holds."""
    size = len(splits.vocabulary)
    parameters = size_of(config.model, size)
    if parameters > MAX_PARAMETERS:
        raise ConfigError(
            f"{config.model} makes {parameters:,} parameters.",
            value=parameters,
            cure=f"At most {MAX_PARAMETERS:,}: 4 GiB, and an optimiser needs three times that.",
        )
    if isinstance(config.model, Bigram) and parameters > MAX_PAIRS:
        raise ConfigError(
            f"{size:,} tokens make {parameters:,} pairs, too many for model=bigram.",
            value=parameters,
            cure="Take model=ngram model.order=2, which holds the pairs that occur.",
        )
    if config.optim.draw != "examples":
        check_table(splits.train, size)


def derived_seed(seed: int, purpose: str) -> int:
    """Another seed for another stream: minibatches must not repeat the initialisation's draws."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8]) >> 1


def begin(config: Config, splits: Splits, weights: Checkpoint | None = None) -> State:
    """A run's first state: freshly drawn parameters, or the ``weights`` of another run.

    Raises ConfigError for a device that is not there, RunError for weights that do not fit.
    """
    device = pick_device(config.device)
    check_size(config, splits)
    initialisation = torch.Generator().manual_seed(config.seed)
    model = build_model(config.model, len(splits.vocabulary), initialisation)
    if weights is not None:
        load_weights(model, weights, splits)
    model.to(device)
    parameters = list(model.parameters())
    optimiser = build_optimiser(config.optim, parameters)
    generator = torch.Generator().manual_seed(derived_seed(config.seed, "minibatches"))
    average = Average(parameters, config.optim.ema) if config.optim.ema else None
    averaged = model if average is None else copy.deepcopy(model)
    return State(model, optimiser, generator, device, average, averaged)


def resume(config: Config, splits: Splits, saved: Checkpoint) -> State:
    """The state of an interrupted run; RunError where it is not of this config and these data."""
    about = saved.about
    if about["data"]["fingerprint"] != splits.fingerprint:
        raise RunError(
            f"The data have changed since the run began ({splits.name}).",
            value=splits.fingerprint,
            cure="Restore the file, or begin a new run with start_from=FOLDER.",
        )
    state = begin(config, splits, saved)
    state.optimiser.load(saved.part("optim"))
    if state.average is not None:
        state.average.load(saved.part("ema"))
    state.generator.set_state(saved.tensors["minibatches"])
    state.losses = list(saved.tensors["losses"]) if "losses" in saved.tensors else None
    state.step, state.seconds = about["step"], about["seconds"]
    state.smoothed, state.dev_loss = about["smoothed"], about["dev_loss"]
    state.best_loss = math.inf if about["best_loss"] is None else about["best_loss"]
    return state


def load_weights(model: LanguageModel, source: Checkpoint, splits: Splits) -> None:
    """Copy a checkpoint's weights into ``model``; RunError where they are of another shape."""
    kept = model_from(source.about["model"])
    ours, theirs = _weights_of(model.shape), _weights_of(kept)
    differing = [
        f"model.{key}={theirs.get(key)} there, {ours.get(key)} here"
        for key in {**theirs, **ours}
        if theirs.get(key) != ours.get(key)
    ]
    if tuple(source.about["vocabulary"]) != splits.vocabulary.tokens:
        differing.append("its vocabulary is another one")
    if differing:
        raise RunError(
            f"The weights do not fit: {'; '.join(differing)}.",
            value=differing,
            cure="Give the settings of the run that made them, on its data.",
        )
    # a training state names its weights model.C, a file of weights C, that of a mixture net.C
    model.load(source.part("model") or source.part("net") or source.tensors)


def _weights_of(shape: AnyModel) -> dict[str, Any]:
    """The settings that say what the weights are; init and dropout do not."""
    apart = ("init", "dropout", "emb_dropout")
    return {key: value for key, value in asdict(shape).items() if key not in apart}


def about_model(model: LanguageModel, splits: Splits) -> dict[str, Any]:
    """What stands beside weights, so that they can be used without anything else."""
    mix = {"order": model.ngram.shape.order} if isinstance(model, Mixture) else None
    return {
        "model": asdict(model.shape),
        "mix": mix,
        "vocabulary": list(splits.vocabulary.tokens),
        "unit": {"name": splits.vocabulary.unit.name, "lower": splits.vocabulary.unit.lower},
        "data": {"name": splits.name, "fingerprint": splits.fingerprint},
    }


def _blocks(config: Config) -> Iterator[tuple[int, int]]:
    """Steps (begin, end) between two reports: a function of the config alone, so that a resumed
    run draws the same minibatches."""
    steps = config.optim.steps
    length = max(1, min(steps // REPORTS, MAX_DRAWN // config.optim.batch_size))
    ends = sorted({*range(length, steps, length), *_evaluations(config), steps})
    return zip([0, *ends], ends, strict=False)


def _evaluations(config: Config) -> range:
    """Steps after which dev is evaluated; the last step is, whatever this says."""
    every = max(1, round(config.optim.steps * config.eval_every))
    return range(every, config.optim.steps + 1, every)


def _smooth(smoothed: float | None, mean: float, share: float) -> float:
    if smoothed is None:
        return mean
    return mean + (smoothed - mean) * math.exp(-share / SMOOTHING)


def _divergence(which: str, loss: float, step: int) -> str | None:
    if math.isfinite(loss) and loss <= DIVERGED_ABOVE:
        return None
    what = "not finite" if not math.isfinite(loss) else f"above {DIVERGED_ABOVE:g}"
    return f"{which} loss {loss:g} at step {step} is {what}"


def _remember_best(state: State) -> None:
    assert state.dev_loss is not None
    if state.dev_loss < state.best_loss:
        state.best_loss = state.dev_loss
        state.best = {k: v.detach().clone() for k, v in state.averaged.tensors().items()}


def _save(
    state: State, config: Config, splits: Splits, folder: Path | None, drawn_from: Tensor
) -> None:
    """Best weights first: if only they reach the disk, the resumed run writes them again."""
    if folder is None:
        return
    about = about_model(state.model, splits) | {"step": state.step, "dev_loss": state.dev_loss}
    if state.best is not None:
        best = {f"model.{name}": tensor for name, tensor in state.best.items()}
        files.save(folder / files.BEST, Checkpoint(best, about | {"dev_loss": state.best_loss}))
        state.best = None
    tensors = {f"model.{name}": tensor for name, tensor in state.model.tensors().items()}
    if state.average is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in state.average.state().items()}
    tensors |= {f"optim.{name}": tensor for name, tensor in state.optimiser.state().items()}
    tensors["minibatches"] = drawn_from
    if state.losses:
        tensors["losses"] = torch.stack(state.losses)
    about |= {
        "seconds": state.seconds,
        "smoothed": state.smoothed,
        "best_loss": state.best_loss if math.isfinite(state.best_loss) else None,
    }
    files.save_last(folder, Checkpoint(tensors, about))


def _interrupted(
    state: State,
    config: Config,
    splits: Splits,
    folder: Path | None,
    drawn_from: Tensor,
    signum: int,
) -> Result:
    _save(state, config, splits, folder, drawn_from)
    ended = _ended("interrupted", f"by {signal.Signals(signum).name}", state, state.dev_loss, None)
    return replace(ended, signum=signum)


def _ended(
    status: Status, reason: str | None, state: State, dev: float | None, train: float | None
) -> Result:
    return Result(status, reason, state.evaluated(), state.step, state.seconds, dev, train)


def save_weights(
    folder: Path, model: LanguageModel, splits: Splits, dev_loss: float | None
) -> None:
    """``model.safetensors``: C, W1, b1, W2, b2 … as they are evaluated at the run's end, shaped as
    in the lecture."""
    about = about_model(model, splits) | {"dev_loss": dev_loss}
    files.save(folder / files.WEIGHTS, Checkpoint(model.tensors(), about))
